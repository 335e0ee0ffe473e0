# SPDX-License-Identifier: GPL-2.0-or-later
"""All numbers of a run as CSV (RFC 4180): one line for each measurement, with all that says what it means."""

from __future__ import annotations

import csv
import io
import math

from lab.report.clean import one_line
from lab.report.findings import Findings
from lab.results.models import Measurement, Trial

COLUMNS = (
    "run",
    "role",
    "kernel",
    "kernel_id",
    "case",
    "machine",
    "boot",
    "outcome",
    "metric",
    "value",
    "unit",
    "clock",
    "accelerator",
    "nesting",
    "traced",
    "started",
)
"""`clock` and `unit` are the number's own; `accelerator` and what follows are of its guest."""

_FORMULA = ("=", "+", "-", "@", "|", "%")


def measurements_csv(findings: Findings) -> str:
    """The newest attempt at each trial; a number that is none (NaN) is "n/a". Spreadsheets run no cell:
    a text that looks like a formula begins with an apostrophe."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for trial in findings.current:
        for measured in trial.measurements:
            writer.writerow(_row(findings, trial, measured))
    return out.getvalue()


def _row(findings: Findings, trial: Trial, measured: Measurement) -> list[str]:
    kernel = findings.kernels.get(trial.kernel)
    environment = trial.environment
    about = (
        (environment.accelerator, str(environment.nesting), str(environment.traced)) if environment else ()
    )
    texts = [
        findings.run.path.name,
        trial.role,
        kernel.name if kernel else "",
        trial.kernel,
        trial.case,
        trial.machine,
        str(trial.repeat),
        str(trial.outcome),
        measured.metric,
    ]
    ends = [measured.unit, str(measured.clock), *about, trial.started]
    return [*map(_text, texts), _number(measured.value), *map(_text, ends)]


def _text(value: str) -> str:
    """One visible line that no spreadsheet takes for a formula."""
    shown = one_line(value)
    return f"'{shown}" if shown.startswith(_FORMULA) else shown


def _number(value: float) -> str:
    """All digits that it has: whole numbers without a point."""
    if not math.isfinite(value):
        return "n/a"
    return str(int(value)) if value == int(value) and abs(value) < 2**53 else repr(value)
