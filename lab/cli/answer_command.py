# SPDX-License-Identifier: GPL-2.0-or-later
"""lab answer"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from lab.cli.options import (
    accelerator_option,
    as_json,
    dry_run_option,
    executor_option,
    print_json,
    resume_option,
    scheduler_option,
    typed_command,
)

if TYPE_CHECKING:
    from lab.workflow.answer import Answers, TopicResult
    from lab.workflow.answer_plan import Planned

SHOWN_OPEN = 10
"""Reasons told for a topic whose tables were not written; all of them are in the run's reports."""


def _complete_topics(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from lab.spec.answer import topics
    from lab.spec.catalog import Catalog

    return [CompletionItem(name) for name in topics(Catalog.load()) if name.startswith(incomplete)]


@click.command("answer")
@click.argument("topics", nargs=-1, shell_complete=_complete_topics)
@click.option("--all", "everything", is_flag=True, help="Every topic with an answer.yaml, in one run.")
@accelerator_option
@executor_option
@scheduler_option
@resume_option()
@dry_run_option("Print what would be built and booted; do neither.")
@as_json
def command(
    topics: tuple[str, ...],
    everything: bool,
    accel: str,
    executor: str,
    scheduler: str,
    resume: str | None,
    dry_run: bool,
    json_wanted: bool,
) -> int:
    """Run what the tables of TOPICs tell of, and write them into testcases/TOPIC/README.md.

    A kernel that crashes is part of an answer. Where the lab itself fails, the README keeps its old tables,
    and the command ends with 125.
    """
    from lab.errors import UserError
    from lab.workflow.answer import answer, plan, start_answer
    from lab.workflow.campaigns import Options, resumable

    if bool(topics) + everything + (resume is not None) > 1:
        raise UserError("TOPICs, --all and --resume exclude each other", hint="lab answer --all")
    if resume is not None:
        return _finish(answer(resumable(resume, "answer", scheduler)), json_wanted)
    if executor == "nested":
        hint = "leave --executor out: what needs the nested lab host runs there"
        raise UserError("tables count instructions, which KVM in the nested lab host cannot", hint=hint)
    planned = plan(topics, everything=everything)
    if dry_run:
        return _show_plan(planned, json_wanted)
    options = Options(
        accelerator=accel,  # type: ignore[arg-type]
        executor=executor,  # type: ignore[arg-type]
        scheduler=scheduler,
        command=typed_command(),
    )
    return _finish(answer(start_answer(planned, options)), json_wanted)


def _show_plan(planned: Planned, json_wanted: bool) -> int:
    if json_wanted:
        kernels = {role: subject.model_dump() for role, subject in planned.subjects.items()}
        print_json({"kernels": kernels, "plan": [trial.model_dump(mode="json") for trial in planned.trials]})
        return 0
    for role, subject in planned.subjects.items():
        with_series = f" with {subject.series}: builds what it changes" if subject.series else ""
        click.echo(f"kernel {role}: {subject.kernel}{with_series}")
    for trial in planned.trials:
        click.echo(
            f"boot {trial.number}: {trial.case} on {trial.machine}, kernel {trial.role}, clock {trial.clock}"
        )
    return 0


def _finish(answers: Answers, json_wanted: bool) -> int:
    """Tell of each topic, print the tables that have no README, and return the exit code."""
    if json_wanted:
        print_json({"run": str(answers.run.path), "topics": [_as_data(topic) for topic in answers.topics]})
        return answers.exit_code
    for topic in answers.topics:
        if topic.readme is None and not topic.open:
            click.echo(
                f"{topic.block}\nthe tree of testcases is not to be written: these tables went nowhere else\n"
            )
    for topic in answers.topics:
        click.echo(_line(topic))
        for reason in topic.open[:SHOWN_OPEN]:
            click.echo(f"  - {reason}")
        if len(topic.open) > SHOWN_OPEN:
            click.echo(f"  - and {len(topic.open) - SHOWN_OPEN} more")
    click.echo(f"in all {sum(topic.seconds for topic in answers.topics):.0f} s; run: {answers.run.path}")
    return answers.exit_code


def _line(topic: TopicResult) -> str:
    ends = ", ".join(f"{number} {outcome}" for outcome, number in sorted(topic.outcomes.items()))
    where = f"-> {topic.readme}" if topic.readme else "printed above"
    if topic.open:
        where = "no answer yet, the README keeps its tables:"
    return f"{topic.topic}: {topic.trials} trials ({ends or 'none ran'}), {topic.seconds:.0f} s, {where}"


def _as_data(topic: TopicResult) -> dict[str, object]:
    return {
        "topic": topic.topic,
        "seconds": topic.seconds,
        "trials": topic.trials,
        "outcomes": topic.outcomes,
        "open": list(topic.open),
        "readme": str(topic.readme) if topic.readme else None,
        "markdown": topic.block,
    }
