# SPDX-License-Identifier: GPL-2.0-or-later
"""What `run` and `validate` print."""

from __future__ import annotations

from collections.abc import Sequence

import click

from lab.campaign.nested import KERNEL as HOST_KERNEL
from lab.cli.options import print_json, typed_command
from lab.report.b4 import b4_checks
from lab.report.findings import Findings, examine
from lab.results.models import Clock
from lab.workflow.campaigns import Ended, Options, Previewed


def options_of(
    machines: tuple[str, ...],
    clock: str,
    accel: str,
    executor: str,
    scheduler: str,
    trials: int,
    kconfig: str,
    host_kernel: str = HOST_KERNEL,
    timeline: bool = False,
) -> Options:
    """The options of a campaign from what click parsed (and has checked), with what was typed."""
    return Options(
        machines=machines,
        clock=Clock(clock),
        accelerator=accel,  # type: ignore[arg-type]
        repeats=trials,
        kconfig=kconfig,
        command=typed_command(),
        executor=executor,  # type: ignore[arg-type]
        scheduler=scheduler,
        host_kernel=host_kernel,
        timeline=timeline,
    )


def finish(ended: Ended, json_wanted: bool, *, b4_wanted: bool = False) -> int:
    """Print the result and return the exit code."""
    if b4_wanted:
        print_json(b4_checks(examine(ended.run)))
    else:
        show(examine(ended.run), json_wanted)
    return ended.verdict.exit_code


def show(findings: Findings, json_wanted: bool) -> None:
    """A run's result on stdout: the table, or one JSON object."""
    from lab.report.summary import summary
    from lab.report.text import render_run, render_table

    if json_wanted:
        print_json(summary(findings))
    elif findings.is_pair:
        click.echo(render_table(findings), nl=False)
    else:
        click.echo(render_run(findings), nl=False)


def show_plan(previewed: Sequence[Previewed], json_wanted: bool) -> int:
    """Print what would be booted."""
    if json_wanted:
        rows = [
            {
                **item.planned.model_dump(mode="json"),
                "script": str(item.script or ""),
                "qemu": item.line,
                "where": item.where,
            }
            for item in previewed
        ]
        print_json({"plan": rows})
        return 0
    for item in previewed:
        planned = item.planned
        where = f"{planned.machine}, kernel {planned.role}, clock {planned.clock}"
        elsewhere = "" if item.where == "here" else f", {item.where}"
        click.echo(f"# {planned.number}: {planned.case} on {where}{elsewhere}")
        click.echo(f"sh {item.script}" if item.script else item.line)
        if item.script:
            click.echo(f"# which is: {item.line}")
    return 0
