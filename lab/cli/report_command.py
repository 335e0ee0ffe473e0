# SPDX-License-Identifier: GPL-2.0-or-later
"""lab report"""

from __future__ import annotations

import click

from lab.cli.options import as_json, run_argument


@click.command("report")
@run_argument()
@as_json
def command(run: str, json_wanted: bool) -> int:
    """Write report.txt, report.html, junit.xml and verdict.json of RUN again, and print report.txt.

    RUN is a path, an id, the beginning of one, or `latest`. Needs no guest.
    """
    from lab.cli.options import print_json
    from lab.report.findings import examine
    from lab.report.summary import summary
    from lab.report.write import write_findings
    from lab.results.runfolder import RunFolder

    folder = RunFolder.find(run)
    findings = examine(folder)
    write_findings(findings)
    if json_wanted:
        print_json(summary(findings))
    else:
        click.echo((folder.path / "report.txt").read_text(), nl=False)
        click.echo(f"\nwritten: {folder.path}/report.txt report.html junit.xml verdict.json", err=True)
    return findings.verdict.exit_code
