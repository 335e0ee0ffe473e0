# SPDX-License-Identifier: GPL-2.0-or-later
"""The JSON object of `--json`, also kept as verdict.json. Its fields are a promise to scripts."""

from __future__ import annotations

import json
import math
from typing import Any

from lab.report.bisect import bisect_data
from lab.report.findings import BEFORE_TRIALS, Findings
from lab.report.repro import repro_data
from lab.results.models import Comparison, Trial


def summary(findings: Findings) -> dict[str, Any]:
    """The verdict as plain data: "comparisons" for two kernels, "trials" for one; "regressions" too
    where they were to be confirmed.

    Numbers are JSON integers where they are whole; a number that is not there is null, never 0.
    """
    verdict = findings.verdict
    answer: dict[str, Any] = {
        "verdict": str(verdict.verdict),
        "stage": verdict.stage,
        "reasons": list(verdict.reasons),
        "run": str(findings.run.path),
        "clock": ", ".join(findings.clocks),
    }
    if findings.confirmations:
        answer["regressions"] = repro_data(findings.confirmations)
    if findings.night is not None:
        answer["night"] = findings.night.model_dump(mode="json")
    if findings.bisection is not None:
        answer["bisect"] = bisect_data(findings.bisection)
    if findings.is_pair or verdict.stage in BEFORE_TRIALS:
        answer["comparisons"] = [_comparison(c) for c in findings.comparisons]
    else:
        answer["trials"] = [_trial(t) for t in findings.current]
    return answer


def summary_json(findings: Findings) -> str:
    """The summary as one line of JSON."""
    return json.dumps(summary(findings), allow_nan=False) + "\n"


def _comparison(c: Comparison) -> dict[str, Any]:
    return {
        "case": c.case,
        "machine": c.machine,
        "metric": c.metric,
        "unit": c.unit,
        "clock": str(c.clock),
        "base": _number(c.base),
        "patched": _number(c.patched),
        "change": _finite(c.change),
        "better": c.better,
        "decision": str(c.decision),
        "mde": _finite(c.mde),
        "interval": None if c.interval is None else [_finite(bound) for bound in c.interval],
        "gate": c.gate,
        "note": c.note,
    }


def _trial(t: Trial) -> dict[str, Any]:
    return {
        "case": t.case,
        "role": t.role,
        "machine": t.machine,
        "clock": str(t.clock),
        "repeat": t.repeat,
        "outcome": str(t.outcome),
        "reason": t.reason,
        "as_expected": t.as_expected,
        "stage": t.stage,
        "folder": f"trials/{t.key}",
        "measurements": [
            {"metric": m.metric, "value": _number(m.value), "unit": m.unit, "clock": str(m.clock)}
            for m in t.measurements
        ],
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _number(value: float | None) -> float | int | None:
    finite = _finite(value)
    if finite is not None and finite == int(finite) and abs(finite) < 2**53:
        return int(finite)
    return finite
