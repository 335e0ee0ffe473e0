# SPDX-License-Identifier: GPL-2.0-or-later
"""Writing all reports of a run. Needs nothing but the run folder; may be done again at any time."""

from __future__ import annotations

import re

from lab.errors import UserError
from lab.files import write_whole
from lab.report.b4 import b4_json
from lab.report.cover import cover_text
from lab.report.findings import Findings, examine
from lab.report.html import report_html
from lab.report.junit import junit_xml
from lab.report.summary import summary_json
from lab.report.text import report_text
from lab.results.models import Verdict
from lab.results.runfolder import RunFolder


def write_reports(run: RunFolder) -> Verdict:
    """Compare, judge and write report.txt, report.html, junit.xml and verdict.json; returns the verdict.

    A damaged trial is named in the reports and counts as missing. Raises InfraError if run.json cannot be
    read or a report cannot be written.
    """
    findings = examine(run)
    write_findings(findings)
    return findings.verdict


def write_findings(findings: Findings) -> None:
    """Write the reports of findings that were gathered before."""
    folder = findings.run.path
    write_whole(folder / "report.txt", report_text(findings))
    write_whole(folder / "report.html", report_html(findings))
    write_whole(folder / "junit.xml", junit_xml(findings))
    write_whole(folder / "verdict.json", summary_json(findings))
    if findings.is_pair:
        write_whole(folder / "b4-check.json", b4_json(findings))
        write_whole(folder / "cover.txt", cover_text(findings))


def formatted(findings: Findings, wanted: str, origin: str) -> bytes:
    """The run in one format for other programs; `origin` is for kcidb alone. UserError if it has no mail."""
    from lab.report.kcidb import kcidb_json
    from lab.report.ktap import ktap_text
    from lab.report.measurements import measurements_csv
    from lab.report.run_mail import run_mail

    if not re.fullmatch(r"[a-z0-9_]{1,40}", origin):
        raise UserError(f"{origin!r:.60} is no origin", hint="small letters, digits and _")
    match wanted:
        case "junit":
            return junit_xml(findings)
        case "kcidb":
            return kcidb_json(findings, origin).encode()
        case "ktap":
            return ktap_text(findings).encode()
        case "csv":
            return measurements_csv(findings).encode()
        case "mail":
            return run_mail(findings).encode()
        case _:
            return report_text(findings).encode()
