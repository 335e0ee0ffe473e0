# SPDX-License-Identifier: GPL-2.0-or-later
"""lab validate"""

from __future__ import annotations

from pathlib import Path

import click

from lab.cli.options import campaign_options, cases_argument, typed_command


@click.command("validate")
@click.argument("series", required=False, type=click.Path(path_type=Path))
@cases_argument
@click.option(
    "-b", "--base", metavar="KERNEL", help="The kernel to compare with (default: the stock kernel)."
)
@campaign_options
def command(
    series: Path | None,
    cases: tuple[str, ...],
    base: str | None,
    machine: tuple[str, ...],
    clock: str,
    accel: str,
    trials: int,
    resume: str | None,
    dry_run: bool,
    json_wanted: bool,
) -> int:
    """Build SERIES (an mbox or a patch file) on its base, run the cases on both, and judge.

    Without CASEs, those are run that are about the paths the series touches.
    """
    from lab.cli.campaign_output import finish, options_of, show_plan
    from lab.errors import UserError
    from lab.workflow.campaigns import resumable
    from lab.workflow.validate import preview, start_validation, validate

    if resume is None and series is None:
        raise UserError("no series was given", hint="lab validate SERIES.mbox, or lab validate --resume RUN")
    if resume is not None:
        if series is not None:
            hint = f"lab validate --resume {resume}"
            raise UserError("--resume takes series and cases from the run", hint=hint)
        return finish(validate(resumable(resume, "validate")), json_wanted)
    assert series is not None
    options = options_of(machine, clock, accel, trials, typed_command())
    if dry_run:
        return show_plan(preview(series, base, cases, options), json_wanted)
    return finish(validate(start_validation(series, base, cases, options)), json_wanted)
