# SPDX-License-Identifier: GPL-2.0-or-later
"""lab doctor"""

from __future__ import annotations

import dataclasses

import click

from lab.cli.options import as_json, print_json


@click.command("doctor")
@click.option("--no-probe", is_flag=True, help="Do not boot a guest to find out whether KVM works.")
@as_json
def command(no_probe: bool, json_wanted: bool) -> int:
    """Say what this host can do, what each missing thing costs, and what to type.

    Ends with 0 if the main job can be done here, else with 125.
    """
    from lab.workflow.doctor import examine

    findings = examine(probe=not no_probe)
    if json_wanted:
        print_json([dataclasses.asdict(finding) for finding in findings])
    else:
        for finding in findings:
            click.echo(f"{finding.state:8} {finding.what:14} {finding.detail}")
            if finding.cost:
                click.echo(f"{'':23} without it: {finding.cost}")
            if finding.fix:
                click.echo(f"{'':23} to do: {finding.fix}")
    return 125 if any(finding.state == "missing" for finding in findings) else 0
