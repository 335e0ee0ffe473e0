# SPDX-License-Identifier: GPL-2.0-or-later
"""What is the measured answer to a topic's question? Runs what its tables tell of and writes them down."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lab import files, log
from lab.campaign.execute import run_campaign
from lab.campaign.executor import Elsewhere
from lab.compare.answer import WORKFLOW
from lab.errors import InfraError, Interrupted, LabError, UserError
from lab.guest.prepare import Bench
from lab.kernel.kernel import Kernel
from lab.report.answer import answer_block
from lab.report.answer_readme import check_markers, with_answer
from lab.results.answer import TopicAnswer, read_answer, write_answer
from lab.results.models import PlannedTrial, RunRecord
from lab.results.runfolder import RunFolder
from lab.spec.answer import load_answer, topics
from lab.spec.catalog import Catalog
from lab.spec.loader import shown
from lab.spec.series_index import shipped_indexes
from lab.workflow.answer_plan import Planned, plan_answers
from lab.workflow.campaigns import (
    Options,
    carrying_out,
    conclude,
    lab_host,
    new_record,
    open_campaign,
    set_up,
)
from lab.workflow.subjects import SERIES_FOLDER, kept_series, obtain_subject, subject_of

TABLES_FOLDER = "answers"
"""Of a run: holds the tables of each topic, as they were written into its README."""


@dataclass(frozen=True)
class TopicResult:
    """What came of one topic."""

    topic: str
    seconds: float  # of this process: builds and boots that an earlier one made took none
    trials: int
    outcomes: dict[str, int]
    block: str  # the tables
    open: tuple[str, ...]  # why the README keeps its old tables; empty when it has the new ones
    readme: Path | None  # where they were written; None: nowhere but in the run folder


@dataclass(frozen=True)
class Answers:
    """A run that was carried out."""

    run: RunFolder
    topics: tuple[TopicResult, ...]

    @property
    def exit_code(self) -> int:
        """How kernels fared is what the tables tell; only what the lab failed at counts here."""
        return InfraError.exit_code if any(topic.open for topic in self.topics) else 0


def plan(names: Sequence[str], *, everything: bool) -> Planned:
    """What is to be built and booted for these topics, or for all.

    Raises SpecError for an answer.yaml that is wrong, UserError for a topic without one or for a README
    without a place for the tables.
    """
    catalog = Catalog.load()
    wanted = topics(catalog) if everything else tuple(dict.fromkeys(name.rstrip("/") for name in names))
    if not wanted:
        raise UserError(
            "no topic was named", hint=f"lab answer TOPIC, or --all; known: {', '.join(topics(catalog))}"
        )
    indexes = shipped_indexes(catalog.root)
    answers = {name: load_answer(catalog, name, indexes) for name in wanted}
    for name in wanted:
        readme = _readme(name)
        check_markers(_read(readme), name=shown(readme))
    return plan_answers(catalog, indexes, answers, folder=SERIES_FOLDER)


def start_answer(planned: Planned, options: Options) -> RunFolder:
    """Write down what is to be done; nothing is built yet."""
    record = _record(planned, options)
    run = RunFolder.create(record)
    for name, path in planned.mboxes.items():
        files.write_whole(run.path / name, path.read_bytes())
    write_answer(run, planned.record)
    return run


def _record(planned: Planned, options: Options) -> RunRecord:
    names = [topic.topic for topic in planned.record.topics]
    roles = tuple(planned.subjects)
    record = new_record(
        WORKFLOW, names[0] if len(names) == 1 else "all", Catalog.load(), planned.cases, roles, options
    )
    title = f"answers: {', '.join(names)}"
    return record.model_copy(
        update={"plan": planned.trials, "title": title, "subjects": dict(planned.subjects)}
    )


def answer(run: RunFolder) -> Answers:
    """Carry out what `start_answer` wrote down, or go on where it was interrupted."""
    with carrying_out(run):
        record = read_answer(run)
        bench = set_up(run)
        kernels: dict[str, Kernel] = {}
        with lab_host(bench, run) as host:
            results = [_answer_topic(bench, run, topic, kernels, host) for topic in record.topics]
        conclude(run)
        return Answers(run, tuple(results))


def _answer_topic(
    bench: Bench,
    run: RunFolder,
    topic: TopicAnswer,
    kernels: dict[str, Kernel],
    host: Elsewhere,
) -> TopicResult:
    """Build and boot what the topic still lacks, then write its tables."""
    started = time.monotonic()
    planned = trials_of(topic, run.read().plan)
    lacking = _obtain_all(run, topic, kernels)
    ready = [trial for trial in planned if trial.role in kernels]
    if ready:
        run_campaign(open_campaign(bench, run, kernels, host), ready)
    return _concluded(run, topic, lacking, started)


def trials_of(topic: TopicAnswer, plan: Sequence[PlannedTrial]) -> list[PlannedTrial]:
    """The planned trials that the topic's tables tell of."""
    wanted = topic.wanted
    return [trial for trial in plan if (trial.case, trial.role, trial.machine) in wanted]


def _obtain_all(run: RunFolder, topic: TopicAnswer, kernels: dict[str, Kernel]) -> list[str]:
    """Add the topic's kernels to `kernels`, each obtained once in a run; a sentence for each that is not."""
    lacking = []
    for role in topic.roles:
        if role in kernels:
            continue
        try:
            subject = subject_of(run, role)
            kernels[role] = obtain_subject(subject, kept_series(run, subject))
        except Interrupted:
            raise
        except LabError as error:
            lacking.append(f"kernel {role}: {error.message}")
            log.info(lacking[-1])
    return lacking


def _concluded(run: RunFolder, topic: TopicAnswer, lacking: Sequence[str], started: float) -> TopicResult:
    """The topic's tables in the run folder and, if nothing is open, in its README."""
    trials, damaged = run.readable_trials()
    mine = trials_of(topic, run.read().plan)
    told = [trial for trial in trials if trial.key in {planned.key for planned in mine}]
    answered = answer_block(topic, run.read(), told, run.kernels())
    files.write_whole(run.path / TABLES_FOLDER / f"{topic.topic}.md", answered.block)
    holes = (*lacking, *damaged, *answered.open)
    return TopicResult(
        topic=topic.topic,
        seconds=round(time.monotonic() - started, 1),
        trials=len(mine),
        outcomes=dict(Counter(str(trial.outcome) for trial in told)),
        block=answered.block,
        open=holes,
        readme=None if holes else _publish(topic.topic, answered.block),
    )


def _publish(topic: str, block: str) -> Path | None:
    """Write the tables into the topic's README; None if the tree is installed, or not ours to write."""
    readme = _readme(topic)
    if not writable(readme):
        return None
    files.write_whole(readme, with_answer(_read(readme), block, name=shown(readme)))
    return readme


def writable(readme: Path) -> bool:
    """Is it part of a checkout that we may write? What a wheel has installed is left as it is."""
    return "_shipped" not in readme.parts and os.access(readme, os.W_OK) and os.access(readme.parent, os.W_OK)


def _readme(topic: str) -> Path:
    return files.shipped("testcases") / topic / "README.md"


def _read(readme: Path) -> str:
    try:
        return readme.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {shown(readme)}: {error}") from error
