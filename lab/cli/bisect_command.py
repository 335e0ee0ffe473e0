# SPDX-License-Identifier: GPL-2.0-or-later
"""lab bisect"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from lab.cli.options import (
    accelerator_option,
    as_json,
    case_argument,
    dry_run_option,
    executor_option,
    kconfig_option,
    machine_option,
    resume_option,
    scheduler_option,
    typed_command,
)

if TYPE_CHECKING:
    from lab.workflow.bisect_ask import Asked


@click.command("bisect")
@case_argument
@click.option("--good", metavar="KERNEL", help="Where it works: debian:6.12.43, or a revision of --tree.")
@click.option("--bad", metavar="KERNEL", help="Where it is broken.")
@click.option("--find-fix", is_flag=True, help="The bad one is older: find what mended it.")
@click.option(
    "--tree",
    type=click.Path(path_type=Path),
    help="Search the commits of this kernel tree (default: the one we are in).",
)
@click.option("--first-parent", is_flag=True, help="Of merges, follow the branch that was merged into.")
@click.option("--path", "paths", multiple=True, metavar="P", help="Only commits that change P (repeatable).")
@click.option("--series", metavar="SERIES", help="Search the patches of this series, on top of --base.")
@click.option("-b", "--base", metavar="KERNEL", help="What the series is for (default: as for lab validate).")
@click.option(
    "--signature", default="", metavar="TEXT", help="Only a complaint of the kernel with TEXT is bad."
)
@click.option("--metric", default="", metavar="NAME", help="Bad is what is beyond --threshold.")
@click.option("--threshold", default="midway", metavar="VALUE", help="A number, or midway between the ends.")
@click.option(
    "--error", type=click.FloatRange(1e-6, 0.5), default=0.01, help="Chance of a wrong answer (0.01)."
)
@click.option("--always", is_flag=True, help="It shows in every boot, on any clock: one boot is proof.")
@machine_option(multiple=True)
@click.option("--clock", type=click.Choice(["virtual", "real"]), default="virtual", help="As for lab run.")
@accelerator_option
@executor_option
@scheduler_option
@kconfig_option
@resume_option("bisection")
@click.option("--replay", metavar="LOG", help="A RUN or its bisect.log: take what was seen, and search on.")
@dry_run_option("Print what would be searched; boot nothing.")
@as_json
def command(resume: str | None, dry_run: bool, json_wanted: bool, replay: str | None, **asked: object) -> int:
    """Find the first bad (or first fixed) version, commit or patch by booting CASE.

    Packaged kernels: --good debian:6.12.43 --bad debian:6.12.117. Commits: --tree PATH --good REV --bad REV.
    Patches: --series SERIES --base KERNEL. Ends with 0 when it is found, with 125 when that cannot be told.
    """
    from lab.errors import UserError
    from lab.workflow.bisect import bisect, start_bisect
    from lab.workflow.bisect_ask import Wanted, ask, replayed
    from lab.workflow.campaigns import resumable

    if resume is not None or replay is not None:
        _alone(asked, resume, replay)
    if resume is not None:
        return _finish(bisect(resumable(resume, "bisect")).run.path, json_wanted)
    if replay is not None:
        return _finish(bisect(start_bisect(replayed(replay, typed_command()))).run.path, json_wanted)
    if not asked["case"]:
        raise UserError(
            "no case was named", hint="lab bisect CASE --good KERNEL --bad KERNEL; lab list cases"
        )
    found = ask(Wanted(**asked, command=typed_command()))  # type: ignore[arg-type]
    if dry_run:
        return _show(found, json_wanted)
    return _finish(bisect(start_bisect(found)).run.path, json_wanted)


def _alone(asked: dict[str, object], resume: str | None, replay: str | None) -> None:
    """--resume and --replay take what is asked from the run."""
    from lab.errors import UserError

    given = [name for name in ("case", "good", "bad", "tree", "series", "base", "paths") if asked[name]]
    if given or (resume and replay):
        hint = f"lab bisect --resume {resume}" if resume else f"lab bisect --replay {replay}"
        raise UserError("--resume and --replay take what is asked from the run", hint=hint)


def _finish(path: Path, json_wanted: bool) -> int:
    """Print report.txt, or one JSON object, and return the exit code."""
    from lab.cli.options import print_json
    from lab.report.findings import examine
    from lab.report.summary import summary
    from lab.results.runfolder import RunFolder

    findings = examine(RunFolder(path))
    if json_wanted:
        print_json(summary(findings))
    else:
        click.echo((path / "report.txt").read_text(), nl=False)
        click.echo(f"\nrun: {path}")
    return findings.verdict.exit_code


def _show(found: Asked, json_wanted: bool) -> int:
    """What would be searched."""
    from math import ceil, log2

    from lab.cli.options import print_json

    nodes, asked = found.nodes, found.question
    usable = [node for node in nodes[1:-1] if not node.lost]
    steps = ceil(log2(max(len(usable) + 1, 1))) + 2
    if json_wanted:
        rows = [{"name": node.name, "kernel": node.subject.kernel, "lost": node.lost} for node in nodes]
        print_json({"question": asked.model_dump(mode="json"), "history": rows, "kernels": steps})
        return 0
    click.echo(f"{asked.case} on {asked.machine}, clock {asked.clock}")
    for node in nodes:
        told = f"  cannot be had: {node.lost}" if node.lost else ""
        click.echo(f"{node.name}  {node.title}{told}".rstrip())
    click.echo(
        f"to be booted: {steps} kernels, if the failure shows in every boot and none has to be skipped"
    )
    return 0
