# SPDX-License-Identifier: GPL-2.0-or-later
"""What must hold for any numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.compare.boots import compare_boots
from lab.compare.ranges import compare_ranges
from lab.compare.words import amount, change_short
from lab.results.models import Decision

VALUES = st.lists(st.integers(0, 10**7).map(float), min_size=1, max_size=5)
TOLERANCE = st.floats(0, 0.5)


@given(VALUES, VALUES, st.floats(0, 0.3))
def test_swapping_never_contradicts(base: list[float], patched: list[float], tolerance: float) -> None:
    """Swapping base and patched turns worse into better, or into none where the tolerance lies between."""
    there = compare_ranges(base, patched, tolerance).direction
    back = compare_ranges(patched, base, tolerance).direction
    if there and back:
        assert there == -back


@given(VALUES, VALUES)
def test_swapping_flips_without_tolerance(base: list[float], patched: list[float]) -> None:
    """With no tolerance the direction flips exactly, and undecided stays undecided."""
    there = compare_ranges(base, patched, 0.0).direction
    back = compare_ranges(patched, base, 0.0).direction
    assert back == (None if there is None else -there)


@given(VALUES, TOLERANCE)
def test_a_kernel_is_never_worse_than_itself(values: list[float], tolerance: float) -> None:
    """The same numbers on both sides are the same, or undecided where they spread."""
    assert compare_ranges(values, values, tolerance).direction in (0, None)
    assert compare_ranges(values[:1], values[:1], tolerance).direction == 0


@given(VALUES, VALUES, st.randoms(use_true_random=False), TOLERANCE)
def test_order_of_boots_does_not_matter(base, patched, rng, tolerance) -> None:  # type: ignore[no-untyped-def]
    """Exact clocks look at ranges: shuffling the boots changes nothing."""
    shuffled = base[:]
    rng.shuffle(shuffled)
    assert compare_ranges(base, patched, tolerance) == compare_ranges(shuffled, patched, tolerance)


@given(VALUES, VALUES, TOLERANCE)
def test_direction_decides_by_what_is_better(
    base: list[float], patched: list[float], tolerance: float
) -> None:
    """What is worse where lower is better is better where higher is better."""
    found = compare_ranges(base, patched, tolerance)
    flip = {Decision.WORSE: Decision.BETTER, Decision.BETTER: Decision.WORSE}
    lower, higher = found.decision("lower"), found.decision("higher")
    assert flip.get(lower, lower) is higher


@given(st.lists(st.tuples(st.floats(1, 1e9), st.floats(1, 1e9)), min_size=6, max_size=12), st.floats(0, 0.3))
def test_paired_boots_flip(pairs: list[tuple[float, float]], tolerance: float) -> None:
    """Swapping the sides of paired boots inverts the ratio and never keeps a direction."""
    base, patched = [b for b, _ in pairs], [p for _, p in pairs]
    there, back = compare_boots(base, patched, tolerance), compare_boots(patched, base, tolerance)
    assert there.change is not None and back.change is not None
    assert (1 + there.change) * (1 + back.change) == pytest.approx(1)
    assert not (there.direction and there.direction == back.direction)


@given(st.none() | st.floats(), st.none() | st.floats(min_value=-1, allow_nan=False, allow_infinity=False))
def test_numbers_are_short_ascii(value: float | None, change: float | None) -> None:
    """Whatever a guest reports fits a table cell."""
    assert amount(value).isascii() and len(amount(value)) <= 20
    assert change_short(change).isascii() and len(change_short(change)) <= 10
