# SPDX-License-Identifier: GPL-2.0-or-later
"""lab report"""

from __future__ import annotations

import click

from lab.cli.options import as_json, run_argument

FORMATS = ("text", "junit", "kcidb", "ktap", "csv", "mail")


@click.command("report")
@run_argument()
@click.option(
    "--format",
    "wanted",
    type=click.Choice(FORMATS),
    help="Print this, and write nothing. kcidb: for KernelCI; csv: all numbers; mail: a regression.",
)
@click.option(
    "--origin",
    metavar="NAME",
    default="faultlab",
    help="What KernelCI knows the submitter by (kcidb; default faultlab).",
)
@as_json
def command(run: str, wanted: str | None, origin: str, json_wanted: bool) -> int:
    """Write report.txt, report.html, junit.xml and verdict.json of RUN again, and print report.txt.

    RUN is a path, an id, the beginning of one, or `latest`. Needs no guest. With --format nothing is written,
    and the exit code says only whether it could be printed.
    """
    from lab.cli.options import print_json
    from lab.report.findings import examine
    from lab.report.summary import summary
    from lab.report.write import formatted, write_findings
    from lab.results.runfolder import RunFolder

    folder = RunFolder.find(run)
    findings = examine(folder)
    if wanted is not None:
        click.echo(formatted(findings, wanted, origin), nl=False)
        return 0
    write_findings(findings)
    if json_wanted:
        print_json(summary(findings))
    else:
        click.echo((folder.path / "report.txt").read_text(), nl=False)
        click.echo(f"\nwritten: {folder.path}/report.txt report.html junit.xml verdict.json", err=True)
    return findings.verdict.exit_code
