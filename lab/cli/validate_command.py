# SPDX-License-Identifier: GPL-2.0-or-later
"""lab validate"""

from __future__ import annotations

import click

from lab.cli.options import campaign_options, cases_argument


@click.command("validate")
@click.argument("series", required=False)
@cases_argument
@click.option("-b", "--base", metavar="KERNEL", help="The kernel to compare with (default: see below).")
@click.option("--each-patch", is_flag=True, help="Boot the smoke case after every patch as well.")
@click.option("--b4", "b4_wanted", is_flag=True, help="Print the JSON list that b4's review checks expect.")
@campaign_options
def command(
    series: str | None,
    cases: tuple[str, ...],
    base: str | None,
    each_patch: bool,
    b4_wanted: bool,
    machine: tuple[str, ...],
    clock: str,
    accel: str,
    executor: str,
    scheduler: str,
    host_kernel: str,
    trials: int,
    kconfig: str,
    resume: str | None,
    dry_run: bool,
    json_wanted: bool,
) -> int:
    """Build SERIES on its base, patch by patch, run the cases on both ends, and judge.

    SERIES is an mbox, a patch file, a folder of patches, a commit range of the tree we are in, `-` for
    standard input, or a message-id (fetched by b4). Without --base: its base-commit or the tree we are in,
    else the stock kernel. Without CASEs: those about the paths that the series touches.
    """
    from lab.cli.campaign_output import finish, options_of, show_plan
    from lab.errors import UserError
    from lab.workflow.campaigns import resumable
    from lab.workflow.validate import Question, preview, start_validation, validate

    if resume is None and series is None:
        raise UserError("no series was given", hint="lab validate SERIES.mbox, or lab validate --resume RUN")
    if resume is not None:
        if series is not None:
            hint = f"lab validate --resume {resume}"
            raise UserError("--resume takes series and cases from the run", hint=hint)
        return finish(validate(resumable(resume, "validate", scheduler)), json_wanted, b4_wanted=b4_wanted)
    assert series is not None
    question = Question(series, base, cases, each_patch)
    options = options_of(machine, clock, accel, executor, scheduler, trials, kconfig, host_kernel)
    if dry_run:
        return show_plan(preview(question, options), json_wanted)
    return finish(validate(start_validation(question, options)), json_wanted, b4_wanted=b4_wanted)
