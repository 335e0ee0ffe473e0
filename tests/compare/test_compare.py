# SPDX-License-Identifier: GPL-2.0-or-later
"""Comparing trials: which stand against which, and what exact numbers say."""

from __future__ import annotations

import math
from typing import Any

import pytest
from made_up import ENVIRONMENT, FIRST, measurements, plan, record, trial

from lab.compare.compare import compare
from lab.results.models import Clock, Comparison, Decision, Measurement, MetricRecord, Outcome, Trial

CASE = "prefault/first-touch"
PLAN = plan((CASE, "base"), (CASE, "patched"))


def total(trials: list[Trial], **metric: Any) -> Comparison:
    """The comparison of the metric "total", declared as told."""
    declared = FIRST.metrics["total"].model_copy(update=metric)
    cases = {CASE: FIRST.model_copy(update={"metrics": {"total": declared}})}
    planned = PLAN if any(t.clock is Clock.VIRTUAL for t in trials) else ()
    (found,) = compare(record(planned, cases=cases), trials)
    return found


def pair(base: float, patched: float, **more: Any) -> list[Trial]:
    return [trial(PLAN[0], {"total": base}, **more), trial(PLAN[1], {"total": patched}, **more)]


def boots(base: list[float], patched: list[float], clock: Clock = Clock.VIRTUAL) -> list[Trial]:
    entries = [(CASE, role) for role, side in (("base", base), ("patched", patched)) for _ in side]
    planned = plan(*entries, clock=clock)
    return [trial(p, {"total": value}) for p, value in zip(planned, base + patched, strict=True)]


@pytest.mark.parametrize(
    ("base", "patched", "better", "decision"),
    [
        (1000, 1000, "lower", Decision.SAME),
        (1000, 1020, "lower", Decision.SAME),
        (1000, 1021, "lower", Decision.WORSE),
        (1000, 980, "lower", Decision.SAME),
        (1000, 979, "lower", Decision.BETTER),
        (1000, 1021, "higher", Decision.BETTER),
        (1000, 979, "higher", Decision.WORSE),
        (0, 0, "lower", Decision.SAME),
        (0, 1, "lower", Decision.WORSE),
        (0, 1, "higher", Decision.BETTER),
        (1, 0, "lower", Decision.BETTER),
    ],
)
def test_exact_numbers(base: float, patched: float, better: str, decision: Decision) -> None:
    """On an exact clock a change beyond the tolerance counts, in the direction of the metric."""
    found = total(pair(base, patched), better=better)
    assert found.decision is decision
    assert found.mde == 0
    assert found.change == (None if base == 0 else patched / base - 1)


def test_order_and_units() -> None:
    """Comparisons come in the order of the case's metrics, with the unit of the clock."""
    numbers = {"max": 3.0, "total": 2.0, "faults": 1.0}
    found = compare(record(PLAN), [trial(p, numbers) for p in PLAN])
    assert [(c.metric, c.unit, c.clock) for c in found] == [
        ("faults", "count", Clock.COUNT),
        ("total", "insn", Clock.VIRTUAL),
        ("max", "insn", Clock.VIRTUAL),
    ]


def test_spread_that_does_not_overlap_is_decided() -> None:
    """If every boot of one side is beyond every boot of the other, the spread cannot explain it."""
    found = total(boots([100, 101], [110, 112]))
    assert found.decision is Decision.WORSE
    assert "100 to 101 in 2 boots" in found.note
    assert found.interval is not None and found.mde is not None and found.mde > 0


def test_spread_that_overlaps_is_undecided() -> None:
    """Ranges that reach into each other beyond the tolerance say nothing, and the note gives them."""
    found = total(boots([100, 120], [110, 130]))
    assert found.decision is Decision.UNDECIDED
    assert "the ranges do not settle it" in found.note


def test_spread_within_the_tolerance_is_the_same() -> None:
    """A spread smaller than the tolerance is no obstacle, but is told."""
    found = total(boots([1000, 1001], [1002, 1000]))
    assert found.decision is Decision.SAME and "not the same in every boot" in found.note


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -1.0])
@pytest.mark.parametrize("role", [0, 1])
def test_impossible_numbers(value: float, role: int) -> None:
    """A number that no clock can show decides nothing, whichever side reports it."""
    numbers = [100.0, 100.0]
    numbers[role] = value
    found = total(pair(*numbers))
    assert found.decision is Decision.UNDECIDED and "cannot be true" in found.note
    assert found.base is None and found.change is None


def test_huge_numbers() -> None:
    """A ratio beyond what a float holds has no change, and is still decided."""
    found = total(pair(5e-324, 1.7e308))
    assert found.change is None and found.decision is Decision.WORSE


def test_number_missing_on_one_side() -> None:
    """A number that only one kernel gives is undecided; one that neither gives is not judged."""
    missing = [trial(PLAN[0], {"total": 1}), trial(PLAN[1])]
    assert total(missing).decision is Decision.UNDECIDED
    assert "n/a on patched" in total(missing).note
    neither = total([trial(p) for p in PLAN])
    assert neither.decision is Decision.NOT_JUDGED and neither.note.startswith("n/a")


def test_functional_time_is_shown_and_not_judged() -> None:
    """Wall time under emulation keeps its values and never gets a direction; counts are judged."""
    planned = plan((CASE, "base"), (CASE, "patched"), clock=Clock.FUNCTIONAL)
    numbers = [{"total": 100.0, "faults": 4.0, "max": 1.0}, {"total": 900.0, "faults": 8.0, "max": 1.0}]
    found = compare(record(planned), [trial(p, n) for p, n in zip(planned, numbers, strict=True)])
    by_name = {c.metric: c for c in found}
    assert by_name["total"].decision is Decision.NOT_JUDGED
    assert by_name["total"].note == "wall time under emulation"
    assert (by_name["total"].base, by_name["total"].patched, by_name["total"].unit) == (100, 900, "ns")
    assert by_name["faults"].decision is Decision.WORSE


def test_wrong_unit() -> None:
    """A number in another unit than declared is not held against anything."""
    odd = (Measurement(metric="total", value=1, unit="bytes", clock=Clock.VIRTUAL),)
    found = total([trial(PLAN[0], {"total": 1}), trial(PLAN[1], measurements=odd)])
    assert found.decision is Decision.UNDECIDED and "'bytes'" in found.note


def test_only_passed_trials_are_judged() -> None:
    """The numbers of a trial that failed are not compared."""
    failed = trial(PLAN[1], {"total": 1}, outcome=Outcome.FAIL, reason="a WARNING")
    found = total([trial(PLAN[0], {"total": 1}), failed])
    assert found.decision is Decision.UNDECIDED and found.note == "patched: FAIL" and found.patched is None


def test_different_conditions_are_not_compared() -> None:
    """Another QEMU, tracing, or an edited case, is a second possible cause of any difference."""
    newer = ENVIRONMENT.model_copy(update={"qemu_version": "9.0.0"})
    first, second = pair(100, 200)
    found = total([first, second.model_copy(update={"environment": newer})])
    assert found.decision is Decision.UNDECIDED and "qemu_version" in found.note and "9.0.0" in found.note
    traced = ENVIRONMENT.model_copy(update={"traced": True})
    assert "traced" in total([first, second.model_copy(update={"environment": traced})]).note
    found = total([first, second.model_copy(update={"case_digest": "e" * 64})])
    assert "edited" in found.note


def test_last_attempt_counts() -> None:
    """A trial that was tried again counts once, with its last attempt."""
    first, second = pair(100, 100)
    again = second.model_copy(
        update={"attempt": 2, "measurements": measurements({"total": 200}, Clock.VIRTUAL)}
    )
    assert total([first, again, second]).decision is Decision.WORSE


def test_planned_but_not_run_is_shown() -> None:
    """A trial that is missing leaves an undecided comparison, not a hole in the table."""
    found = total([pair(1, 1)[0]])
    assert found.decision is Decision.UNDECIDED and found.note == "patched: was not run"


def test_skipped_on_both_sides_has_no_comparison() -> None:
    """A case that means nothing on this machine has nothing to compare."""
    trials = [trial(p, outcome=Outcome.SKIP, reason="virtio-gpu has no TTM") for p in PLAN]
    assert compare(record(PLAN), trials) == []


def test_machines_are_kept_apart() -> None:
    """The same case on two machines gives two comparisons, each with its own numbers."""
    other = [
        p.model_copy(update={"number": p.number + 2, "key": "b" + p.key, "machine": "bochs"}) for p in PLAN
    ]
    planned = (*PLAN, *other)
    trials = [*pair(100, 100), trial(other[0], {"total": 1}), trial(other[1], {"total": 9})]
    metric = {"total": MetricRecord(title="t", unit="time", better="lower", tolerance=0.0, gate=True)}
    cases = {CASE: FIRST.model_copy(update={"metrics": metric})}
    found = compare(record(planned, cases=cases), trials)
    assert [(c.machine, c.decision) for c in found] == [("qxl", Decision.SAME), ("bochs", Decision.WORSE)]


def test_real_time_is_paired_by_repeat() -> None:
    """Boots are paired by repeat number, so drift that both sides share cancels out."""
    drift = [1000.0 * 1.2**n for n in range(8)]
    found = total(boots(drift, [1.05 * b for b in drift], Clock.REAL))
    assert found.decision is Decision.WORSE and found.trials == 8
    assert found.change == pytest.approx(0.05)


def test_a_pause_leaves_no_pair() -> None:
    """Of a run that was gone on with the next day, the boots on both sides of the pause are no pair."""
    trials = boots([1000.0] * 8, [1050.0] * 8, Clock.REAL)
    day = {"base": "2026-11-01", "patched": "2026-11-02"}

    def begun(days: dict[str, str]) -> list[Trial]:
        return [t.model_copy(update={"started": f"{days[t.role]}T10:00:00+00:00"}) for t in trials]

    assert total(begun(day | {"patched": day["base"]})).decision is Decision.WORSE
    apart = total(begun(day))
    assert (apart.decision, "ran as a pair" in apart.note) == (Decision.UNDECIDED, True)
    hostile = [t.model_copy(update={"started": "yesterday"}) for t in trials]
    assert total(hostile).decision is Decision.UNDECIDED


def test_a_side_of_two_kernels() -> None:
    """A run that was gone on with when `stock` was another one: neither is "the base"."""
    trials = boots([1000.0] * 2, [1050.0] * 2)
    mixed = [t.model_copy(update={"kernel": "another"}) if t.number == 1 else t for t in trials]
    found = total(mixed)
    assert (found.decision, found.note) == (
        Decision.UNDECIDED,
        "base: not all boots were of the same kernel",
    )


def test_zero_time_is_refused() -> None:
    """A time of 0 ns has no ratio to anything."""
    assert total(boots([0.0] * 6, [1.0] * 6, Clock.REAL)).decision is Decision.UNDECIDED
