# SPDX-License-Identifier: GPL-2.0-or-later
"""Writing all reports of a run. Needs nothing but the run folder; may be done again at any time."""

from __future__ import annotations

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
