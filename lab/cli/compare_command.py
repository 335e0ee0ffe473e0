# SPDX-License-Identifier: GPL-2.0-or-later
"""lab compare"""

from __future__ import annotations

import click

from lab.cli.options import as_json, run_argument


@click.command("compare")
@run_argument("first")
@run_argument("second", required=False)
@as_json
def command(first: str, second: str | None, json_wanted: bool) -> int:
    """Compare base and patched of one run, or the kernels of two runs (the FIRST is the base).

    Needs no guest: everything is computed again from the run folders.
    """
    from lab.cli.campaign_output import show
    from lab.workflow.compare import compare_runs

    findings = compare_runs(first, second)
    show(findings, json_wanted)
    return findings.verdict.exit_code
