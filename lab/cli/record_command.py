# SPDX-License-Identifier: GPL-2.0-or-later
"""lab record"""

from __future__ import annotations

from pathlib import Path

import click

from lab.cli.options import accelerator_option, kconfig_option, machine_option, typed_command
from lab.cli.run_command import DashDash


@click.command("record", cls=DashDash)
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="The trace to write.")
@click.option("--case", metavar="CASE", help="Record this case in a guest, instead of this machine.")
@click.option(
    "-k", "--kernel", metavar="KERNEL", help="Of the guest (default: the tree we are in, else stock)."
)
@machine_option(multiple=True)
@accelerator_option
@kconfig_option
@click.option("--seconds", type=click.IntRange(1, 3600), help="Record this machine for so long.")
@click.option("--rate", type=click.IntRange(1, 1000), help="Frames a second (default: as seen).")
@click.pass_obj
def command(
    words: list[str] | None,
    output: Path,
    case: str | None,
    kernel: str | None,
    machine: tuple[str, ...],
    accel: str,
    kconfig: str,
    seconds: int | None,
    rate: int | None,
) -> int:
    """Record a frame trace: what programs do with BOs, frame by frame, for `lab replay` on any kernel.

    `lab record -o my.trace -- COMMAND` records this machine while COMMAND runs, `--seconds N` for a time;
    both need root. `lab record -o my.trace --case CASE` records a case in a guest.
    """
    from lab.errors import UserError
    from lab.kernel.sources import default_source
    from lab.results.models import Clock
    from lab.workflow.campaigns import Options
    from lab.workflow.record import Wanted, record_case, record_here, save
    from lab.workload.frame_trace import summary

    wanted = Wanted(rate, seconds or 0)
    status = 0
    if case is not None:
        if words or seconds:
            raise UserError("--case records a guest until the case ends: neither --seconds nor COMMAND")
        options = Options(machine, Clock.VIRTUAL, accel, 1, kconfig, typed_command())  # type: ignore[arg-type]
        recorded, comments = record_case(case, kernel or default_source(Path.cwd()), options, wanted)
    else:
        if kernel or machine:
            raise UserError("--kernel and --machine are of a guest", hint="they go with --case")
        if not words and not seconds:
            raise UserError("for how long?", hint="lab record -o my.trace --seconds 10, or -- COMMAND")
        recorded, comments, status = record_here(words or [], wanted)
    save(recorded, comments, output)
    click.echo(f"{output}: {summary(recorded.trace)}")
    for note in recorded.notes:
        click.echo(f"note: {note}")
    return status
