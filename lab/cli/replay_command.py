# SPDX-License-Identifier: GPL-2.0-or-later
"""lab replay"""

from __future__ import annotations

from pathlib import Path

import click

from lab.cli.options import accelerator_option, as_json, kconfig_option, machine_option


@click.command("replay")
@click.argument("trace", type=click.Path(path_type=Path))
@click.option("-k", "--kernel", metavar="KERNEL", help="As for `lab run`.")
@click.option("--series", metavar="SERIES", default="", help="Applied to KERNEL, as for `lab run`.")
@click.option("--hz", type=click.IntRange(1, 1000), multiple=True, help="Frames a second (repeatable).")
@machine_option(multiple=True)
@click.option("--clock", type=click.Choice(["virtual", "real"]), default="virtual", help="As for `lab run`.")
@accelerator_option
@kconfig_option
@as_json
def command(
    trace: Path,
    kernel: str | None,
    series: str,
    hz: tuple[int, ...],
    machine: tuple[str, ...],
    clock: str,
    accel: str,
    kconfig: str,
    json_wanted: bool,
) -> int:
    """Play a frame trace of `lab record` on a kernel: which frames come too late, and how long is a touch?

    A trace becomes a case, whose path is printed: `lab validate SERIES PATH` compares kernels with it.
    """
    from lab.cli.campaign_output import finish, options_of
    from lab.kernel.sources import default_source
    from lab.workflow.replay import case_of_trace
    from lab.workflow.run import Subject, run_cases, start_run

    case = case_of_trace(trace, hz)
    click.echo(f"case: {case}", err=True)
    options = options_of(machine, clock, accel, "auto", "", 1, kconfig)
    subject = Subject(kernel or default_source(Path.cwd()), series)
    return finish(run_cases(start_run([str(case)], subject, options)), json_wanted)
