# SPDX-License-Identifier: GPL-2.0-or-later
"""b4-check.json: what b4's external review checks expect, a list of `tool, status, summary, url, details`.

One entry for the verdict, then one for each case that was compared.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from lab.report.findings import Findings
from lab.report.rows import rows
from lab.results.models import Comparison, Conclusion, Decision

TOOL = "faultlab"

STATUS = {Conclusion.PASS: "pass", Conclusion.FAIL: "fail", Conclusion.INCONCLUSIVE: "warn"}

Entry = dict[str, str]


def b4_checks(findings: Findings) -> list[Entry]:
    """The entries; `url` is empty, because a run folder has no address that others could open."""
    verdict = findings.verdict
    summary = (
        f"{verdict.verdict} at stage {verdict.stage}: {verdict.reasons[0]}"
        if verdict.reasons
        else str(verdict.verdict)
    )
    entries = [_entry(STATUS[verdict.verdict], summary, "\n".join(verdict.reasons))]
    for case in dict.fromkeys(comparison.case for comparison in findings.comparisons):
        of_case = [comparison for comparison in findings.comparisons if comparison.case == case]
        details = [" | ".join(row.texts) for row in rows(findings) if row.case.split(" [")[0] == case]
        entries.append(_entry(_status(of_case), f"{case}: {_summary(of_case)}", "\n".join(details)))
    return entries


def b4_json(findings: Findings) -> str:
    return json.dumps(b4_checks(findings), indent=2) + "\n"


def _entry(status: str, summary: str, details: str) -> Entry:
    return {"tool": TOOL, "status": status, "summary": summary, "url": "", "details": details}


def _status(comparisons: Iterable[Comparison]) -> str:
    decisions = {comparison.decision for comparison in comparisons if comparison.gate}
    if Decision.WORSE in decisions:
        return "fail"
    return "warn" if decisions & {Decision.UNDECIDED, Decision.NOT_JUDGED} else "pass"


def _summary(comparisons: Iterable[Comparison]) -> str:
    told = [f"{c.title} {c.decision}" for c in comparisons if c.gate and c.decision is not Decision.SAME]
    return ", ".join(told) or "no change"
