# SPDX-License-Identifier: GPL-2.0-or-later
"""lab nightly"""

from __future__ import annotations

import re
from pathlib import Path

import click

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

_PERIOD = re.compile(r"(?:([0-9]{1,4})h)?(?:([0-9]{1,5})m)?(?:([0-9]{1,6})s)?")


def _seconds(_ctx: click.Context, _param: click.Parameter, text: str | None) -> float | None:
    """`2h`, `90m`, `1h30m`, `45s` as seconds."""
    if text is None:
        return None
    match = _PERIOD.fullmatch(text)
    parts = match.groups() if match else ()
    seconds = sum(int(part or 0) * unit for part, unit in zip(parts, (3600, 60, 1), strict=False))
    if not seconds:
        raise click.BadParameter(f"{text} is no time; write 2h, 90m or 1h30m")
    return float(seconds)


@click.command("nightly")
@click.argument("matrix", required=False, type=click.Path(path_type=Path))
@click.option("--budget", metavar="TIME", callback=_seconds, help="Begin no trial after it: 2h, 90m, 1h30m.")
@click.option(
    "--skip-unchanged",
    is_flag=True,
    help="Run no cell again whose kernel, case and lab are those of its newest result.",
)
@accelerator_option
@executor_option
@scheduler_option
@resume_option("night")
@dry_run_option("Print cells, builds and the expected time; build nothing.")
@as_json
def command(
    matrix: Path | None,
    budget: float | None,
    skip_unchanged: bool,
    accel: str,
    executor: str,
    scheduler: str,
    resume: str | None,
    dry_run: bool,
    json_wanted: bool,
) -> int:
    """Run a MATRIX of kernels, machines and cases (default: ci/nightly.yaml, which ships with the lab).

    Each kernel is had once; one that cannot be had, or does not boot, is told once, and the night goes on.
    Ends with 0 if nothing broke that was not expected to, 1 if something did, 125 if cells have no result
    through a fault of the lab or of the host.
    """
    from lab.cli.campaign_output import finish
    from lab.errors import UserError
    from lab.spec.matrix_file import shipped_matrix
    from lab.workflow.campaigns import Options, resumable
    from lab.workflow.night_plan import plan
    from lab.workflow.nightly import run_night, start_night

    if resume is not None:
        if matrix or skip_unchanged or dry_run:
            told = "--resume takes its matrix and its options from the run; --budget alone can be given anew"
            raise UserError(told, hint=f"lab nightly --resume {resume}")
        return finish(run_night(resumable(resume, "nightly", scheduler), budget), json_wanted)
    options = Options(accelerator=accel, executor=executor, scheduler=scheduler, command=typed_command())  # type: ignore[arg-type]
    planned = plan(matrix or shipped_matrix(), options.executor)
    if dry_run:
        from lab.workflow.night_preview import as_data, as_text, preview

        found = preview(planned, options.executor)
        print_json(as_data(found)) if json_wanted else click.echo(as_text(found), nl=False)
        return 0
    return finish(
        run_night(start_night(planned, options, budget=budget, skip_unchanged=skip_unchanged)), json_wanted
    )
