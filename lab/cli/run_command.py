# SPDX-License-Identifier: GPL-2.0-or-later
"""lab run"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from lab.cli.options import campaign_options, cases_argument


class DashDash(click.Command):
    """Keeps apart what stands before and after `--`, which click would join."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        at = args.index("--") if "--" in args else len(args)
        ctx.obj = args[at + 1 :] if at < len(args) else None
        return super().parse_args(ctx, args[:at])


@click.command("run", cls=DashDash)
@cases_argument
@click.option(
    "-k",
    "--kernel",
    metavar="KERNEL",
    help="stock, debian:6.12, tree:PATH@REV, ... (default: the tree we are in, else stock)",
)
@click.option(
    "--series",
    metavar="SERIES",
    default="",
    help="Applied to KERNEL: an mbox or whatever else `lab validate` takes, or shipped: prefault/pmd-size.",
)
@campaign_options
@click.option(
    "--timeline",
    is_flag=True,
    help="Trace the measured span: touches, guest faults, exits, host faults, for ui.perfetto.dev.",
)
@click.option("--timeout", type=float, default=3600.0, help="Seconds for COMMAND (default 3600).")
@click.pass_obj
def command(
    shell_words: list[str] | None,
    cases: tuple[str, ...],
    kernel: str | None,
    series: str,
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
    timeline: bool,
    timeout: float,
) -> int:
    """Run CASEs (default: all) on a kernel; or, after `--`, one command in a guest.

    `lab run -- COMMAND` boots, runs COMMAND, passes its output on unchanged and ends with its exit code.
    """
    from lab.cli.campaign_output import finish, options_of, show_plan
    from lab.cli.guest_io import run_command
    from lab.errors import UserError
    from lab.kernel.sources import default_source
    from lab.workflow.campaigns import resumable
    from lab.workflow.guests import Wanted
    from lab.workflow.run import Subject, preview, run_cases, start_run

    kernel = kernel or default_source(Path.cwd())
    if shell_words is not None:
        if not shell_words or cases or len(machine) > 1 or timeline:
            raise UserError(
                "`lab run -- COMMAND` takes a command, at most one machine, no cases and no timeline",
                hint="lab run --machine qxl -- uname -r",
            )
        wanted = Wanted(kernel, machine[0] if machine else "qxl", accel, kconfig=kconfig, series=series)  # type: ignore[arg-type]
        return run_command(wanted, shell_words, timeout=timeout, dry_run=dry_run, stdin=sys.stdin)
    if resume is not None:
        if cases or series or timeline:
            told = "--resume takes its cases, its series and --timeline from the run"
            raise UserError(told, hint=f"lab run --resume {resume}")
        return finish(run_cases(resumable(resume, "run", scheduler)), json_wanted)
    options = options_of(machine, clock, accel, executor, scheduler, trials, kconfig, host_kernel, timeline)
    subject = Subject(kernel, series)
    if dry_run:
        return show_plan(preview(cases, subject, options), json_wanted)
    return finish(run_cases(start_run(cases, subject, options)), json_wanted)
