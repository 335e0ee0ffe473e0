# SPDX-License-Identifier: GPL-2.0-or-later
"""The rows of the one table, as text and HTML both show it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lab.compare.pairs import BASE, PATCHED, Cell, cells
from lab.compare.words import amount, change_short, counted, percent
from lab.report.findings import Findings
from lab.results.models import BROKEN, Clock, Comparison, Outcome, Trial

HEADER = ("case", "metric", "base", "patched", "change", "decision")
NUMERIC = (2, 3, 4)

CLOCK_WORDS = {
    Clock.VIRTUAL: "virtual: insn are guest instructions (1 insn = 1 virtual ns); exact and repeatable on "
    "any host, but a cost and not a time: caches and memory take none",
    Clock.REAL: "real: nanoseconds on hardware under KVM; judged over boots run in pairs, 95 % intervals",
    Clock.COUNT: "count: events; exact everywhere",
    Clock.FUNCTIONAL: "functional: wall time under emulation; recorded, never judged; counts are exact",
}
"""What a number on each clock means, in a line."""


@dataclass(frozen=True)
class Row:
    """One line of the table; `mark` is what stands in the last column."""

    case: str
    metric: str
    base: str
    patched: str
    change: str
    decision: str
    gate: bool = True
    note: str = ""

    @property
    def mark(self) -> str:
        return self.decision if self.gate or self.decision not in ("better", "worse") else f"{self.decision}*"

    @property
    def texts(self) -> tuple[str, str, str, str, str, str]:
        return self.case, self.metric, self.base, self.patched, self.change, self.mark


def rows(findings: Findings) -> list[Row]:
    """One row for each metric; one for the outcome where there are no metrics, or not all boots passed."""
    several = len(findings.machines) > 1
    found: list[Row] = []
    for cell in cells(findings.record, findings.trials):
        name = f"{cell.case} [{cell.machine}]" if several else cell.case
        metrics = [c for c in findings.comparisons if _belongs(c, cell)]
        spoiled = any(t.outcome is not Outcome.PASS for t in cell.base + cell.patched)
        if not metrics or spoiled or not (cell.base and cell.patched):
            found.append(_outcome_row(name, cell))
        if cell.passed(BASE) and cell.passed(PATCHED):
            found += [_metric_row(name, c) for c in metrics]
    return found


def _belongs(comparison: Comparison, cell: Cell) -> bool:
    if (comparison.case, comparison.machine) != (cell.case, cell.machine):
        return False
    # A case may run on two clocks; its counts then appear with both, its times with their own.
    return comparison.clock is Clock.COUNT or comparison.clock is cell.clock


def _metric_row(name: str, comparison: Comparison) -> Row:
    unit = "" if comparison.unit == "count" else f", {comparison.unit}"
    return Row(
        case=name,
        metric=comparison.title + unit,
        base=amount(comparison.base),
        patched=amount(comparison.patched),
        change=change_short(comparison.change),
        decision=str(comparison.decision),
        gate=comparison.gate,
        note="; ".join(part for part in (comparison.note, _evidence(comparison)) if part),
    )


def _evidence(comparison: Comparison) -> str:
    """What a change judged with statistics rests on: "no change" means little without it."""
    if comparison.clock is not Clock.REAL or comparison.interval is None or comparison.mde is None:
        return ""
    low, high = (percent(bound) for bound in comparison.interval)
    pairs = counted(comparison.trials, "pair")
    return (
        f"95 % interval {low} to {high}; {pairs} of boots can show a change of {percent(comparison.mde)[1:]}"
    )


def _outcome_row(name: str, cell: Cell) -> Row:
    base, patched = cell.outcomes(BASE), cell.outcomes(PATCHED)
    if cell.skipped:
        decision = "skipped"
    elif cell.as_expected:
        decision = "as expected"
    elif cell.mended:
        decision = "better"
    elif base == {Outcome.PASS} and patched & BROKEN:
        decision = "worse"
    elif base == patched == {Outcome.PASS}:
        decision = "same"
    else:
        decision = "undecided"
    note = next((t.reason for t in (*cell.patched, *cell.base) if t.reason), "")
    return Row(name, "outcome", _ends(cell.base), _ends(cell.patched), "", decision, note=note)


def _ends(trials: Sequence[Trial]) -> str:
    """PASS, or 2 CRASH + 4 PASS, or "not run"."""
    outcomes = [str(trial.outcome) for trial in trials]
    kinds = sorted(set(outcomes))
    if len(kinds) <= 1:
        return kinds[0] if kinds else "not run"
    return " + ".join(f"{outcomes.count(kind)} {kind}" for kind in kinds)


def notes(table: Sequence[Row]) -> list[str]:
    """One sentence for each thing that the table's decisions need said; metrics that share it, share it."""
    shared: dict[tuple[str, str], list[str]] = {}
    for row in table:
        if row.note:
            shared.setdefault((row.case, row.note), []).append(row.metric)
    sentences = [f"{case}: {', '.join(metrics)}: {note}" for (case, note), metrics in shared.items()]
    if any(row.mark.endswith("*") for row in table):
        sentences.append("a decision with * is shown, but cannot fail the verdict")
    return sentences
