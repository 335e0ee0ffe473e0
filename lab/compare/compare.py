# SPDX-License-Identifier: GPL-2.0-or-later
"""Base trials against patched trials, metric by metric. Pure: the same trials give the same comparisons."""

from __future__ import annotations

import datetime
import math
import statistics
from dataclasses import dataclass

from lab.compare.boots import compare_boots
from lab.compare.pairs import BASE, PATCHED, Cell, cells
from lab.compare.ranges import Finding, compare_ranges, relative
from lab.results.models import Clock, Comparison, Decision, Measurement, MetricRecord, RunRecord, Trial

PAIR_SECONDS = 3600.0
"""Boots of base and patched that began further apart are no pair. In a run they follow each other at once; a
run that was gone on with the next day has one on each side of the pause."""


class _CannotJudge(Exception):
    """Ends the judging of one metric with a decision other than a direction."""

    def __init__(self, decision: Decision, note: str) -> None:
        super().__init__(note)
        self.decision = decision
        self.note = note


@dataclass(frozen=True)
class _Numbers:
    """What both sides measured, in repeat order; `pairs` are the boots that ran next to each other."""

    clock: Clock
    base: tuple[float, ...]
    patched: tuple[float, ...]
    pairs: tuple[tuple[float, float], ...]


def compare(record: RunRecord, trials: list[Trial]) -> list[Comparison]:
    """Compare the roles "base" and "patched" for every metric of every case, in the case's order.

    Cases that both sides skipped have nothing to compare and do not appear.
    """
    found: list[Comparison] = []
    for cell in cells(record, trials):
        case = record.cases.get(cell.case)
        if case is None or cell.skipped:
            continue
        found += [_compare(cell, name, metric) for name, metric in case.metrics.items()]
    return found


def _compare(cell: Cell, name: str, metric: MetricRecord) -> Comparison:
    clock = Clock.COUNT if metric.unit != "time" else cell.clock
    numbers: _Numbers | None = None
    finding: Finding | None = None
    try:
        obstacle = cell.why_incomparable()
        if obstacle:
            raise _CannotJudge(Decision.UNDECIDED, obstacle)
        numbers = _numbers(cell, name, _unit(metric, cell.clock))
        clock = numbers.clock
        finding = _find(numbers, metric.tolerance)
        decision, note = finding.decision(metric.better), finding.note
    except _CannotJudge as reason:
        decision, note = reason.decision, reason.note
    if finding is None and numbers is not None:
        base, patched = statistics.median(numbers.base), statistics.median(numbers.patched)
        finding = Finding(base, patched, relative(base, patched), None)
    return Comparison(
        case=cell.case,
        machine=cell.machine,
        metric=name,
        title=metric.title,
        unit=_unit(metric, cell.clock),
        clock=clock,
        better=metric.better,
        gate=metric.gate,
        base=finding.base if finding else None,
        patched=finding.patched if finding else None,
        change=finding.change if finding else None,
        interval=finding.interval if finding else None,
        mde=finding.mde if finding else None,
        tolerance=metric.tolerance,
        trials=min(len(numbers.base), len(numbers.patched)) if numbers else 0,
        decision=decision,
        note=note,
    )


def _find(numbers: _Numbers, tolerance: float) -> Finding:
    if numbers.clock is Clock.FUNCTIONAL:
        raise _CannotJudge(Decision.NOT_JUDGED, "wall time under emulation")
    if numbers.clock is not Clock.REAL:
        return compare_ranges(numbers.base, numbers.patched, tolerance)
    if not numbers.pairs:
        raise _CannotJudge(Decision.UNDECIDED, "no two boots of base and patched ran as a pair")
    if any(value <= 0 for pair in numbers.pairs for value in pair):
        raise _CannotJudge(Decision.UNDECIDED, "a time of 0 ns: the guest's clock is too coarse for this")
    return compare_boots([b for b, _ in numbers.pairs], [p for _, p in numbers.pairs], tolerance)


def _unit(metric: MetricRecord, clock: Clock) -> str:
    if metric.unit != "time":
        return metric.unit
    return "insn" if clock is Clock.VIRTUAL else "ns"


def _numbers(cell: Cell, name: str, unit: str) -> _Numbers:
    """The metric's numbers on both sides.

    Raises _CannotJudge if a side has none, or has one that cannot be true.
    """
    trials = [{t.repeat: t for t in cell.passed(role)} for role in (BASE, PATCHED)]
    base, patched = ({r: m for r, t in side.items() if (m := t.value(name))} for side in trials)
    if not base and not patched:
        raise _CannotJudge(Decision.NOT_JUDGED, "n/a: neither kernel gave this number")
    for role, side in ((BASE, base), (PATCHED, patched)):
        if len(side) < len(cell.passed(role)):
            raise _CannotJudge(Decision.UNDECIDED, f"n/a on {role}: not every boot gave this number")
        for measurement in side.values():
            _check(measurement, role, unit)
    clocks = {m.clock for m in (*base.values(), *patched.values())}
    if len(clocks) > 1:
        raise _CannotJudge(Decision.UNDECIDED, "measured by different clocks: " + ", ".join(sorted(clocks)))
    return _Numbers(
        clock=clocks.pop(),
        base=tuple(m.value for m in base.values()),
        patched=tuple(m.value for m in patched.values()),
        pairs=tuple(
            (base[r].value, patched[r].value)
            for r in base
            if r in patched and _next_to_each_other(*(side[r] for side in trials))
        ),
    )


def _next_to_each_other(one: Trial, other: Trial) -> bool:
    """Was the host still the same, as far as the time between the two tells? Not after a pause of the run."""
    if not one.started or not other.started:
        return True
    try:
        begun = [datetime.datetime.fromisoformat(trial.started).timestamp() for trial in (one, other)]
    except ValueError:
        return False
    return abs(begun[0] - begun[1]) <= PAIR_SECONDS


def _check(measurement: Measurement, role: str, unit: str) -> None:
    """Numbers come from the guest: refuse those that no clock and no counter can show."""
    if not math.isfinite(measurement.value) or measurement.value < 0:
        raise _CannotJudge(Decision.UNDECIDED, f"{role} reported {measurement.value}, which cannot be true")
    if measurement.unit != unit:
        raise _CannotJudge(
            Decision.UNDECIDED, f"{role} reported the unit {measurement.unit!r:.20} instead of {unit!r}"
        )
