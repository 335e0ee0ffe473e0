# SPDX-License-Identifier: GPL-2.0-or-later
"""Change points: what is planted is found, noise is not."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.history.changes import ALPHA, LONGEST, change_points
from lab.history.model import Point
from lab.results.models import Clock


def points(values, clock=Clock.VIRTUAL, digests=None):
    unit = {Clock.VIRTUAL: "insn", Clock.COUNT: "count"}.get(clock, "ns")
    return [
        Point(f"run-{n:03d}", "", f"k{n}", float(value), unit, clock, digests[n] if digests else "d")
        for n, value in enumerate(values)
    ]


def places(values, tolerance=0.05, clock=Clock.VIRTUAL, digests=None):
    found = change_points(points(values, clock, digests), tolerance=tolerance)
    return [(int(one.at.run.removeprefix("run-")), one.before, one.after) for one in found]


def test_exact_step_is_found_at_once():
    """One night suffices where there is no noise; the change says from which level to which."""
    assert places([100, 100, 100, 110]) == [(3, 100, 110)]
    (found,) = change_points(points([100, 100, 110]), tolerance=0.05)
    assert found.change == pytest.approx(0.1)
    assert (found.last.run, found.at.run, found.alike) == ("run-001", "run-002", True)


def test_exact_within_tolerance_is_none():
    """The metric's tolerance is what counts."""
    assert places([100, 104, 96, 105, 100]) == []
    assert places([100, 100, 101], tolerance=0.0) == [(2, 100, 101)]


def test_a_night_that_returns_is_none():
    """A level must hold; what is over is no change, and two nights of it are two."""
    assert places([100, 200, 100, 100]) == []
    assert places([100, 200, 200, 100]) == [(1, 100, 200), (3, 200, 100)]


def test_slow_drift_adds_up():
    """Each step lies within the tolerance, the sum does not."""
    assert places([100, 103, 106, 109, 112]) == [(2, 100, 106), (4, 106, 112)]


def test_from_nothing():
    """A change from 0 has no percentage."""
    (found,) = change_points(points([0, 0, 3, 3], Clock.COUNT), tolerance=0.1)
    assert found.change is None
    assert places([0, 0, 0]) == []


def test_other_conditions_are_told():
    """What changed when the case was edited need not be the kernel's doing."""
    (found,) = change_points(points([100, 100, 200, 200], digests="aabb"), tolerance=0.05)
    assert not found.alike


def test_wall_time_under_emulation_is_never_judged():
    assert places([1, 1, 1, 100, 100, 100], clock=Clock.FUNCTIONAL) == []
    assert places([]) == []


def test_a_metric_that_changes_its_clock():
    """Only points like the last one are compared."""
    mixed = points([5, 5], Clock.FUNCTIONAL) + points([100, 100])
    assert change_points(mixed, tolerance=0.05) == []


@given(st.lists(st.integers(1, 10**15), max_size=30), st.floats(0, 1))
def test_exact_levels_explain_all(values, tolerance):
    """Between two changes no two neighbouring nights depart from the level."""
    found = places(values, tolerance)
    starts = [place for place, _, _ in found]
    assert starts == sorted(set(starts))
    for place, before, after in found:
        assert abs(after - before) > tolerance * before
        assert values[place] == after


NOISES = {
    "normal": lambda chance: chance.gauss(1000, 20),
    "lognormal": lambda chance: 1000 * math.exp(chance.gauss(0, 0.5)),
    "cauchy": lambda chance: 1000 + 10 * math.tan(math.pi * (chance.random() - 0.5)),
    "two values": lambda chance: float(chance.choice((1000, 1300))),
}


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("nights", [12, 40])
def test_noise_alone_seldom_alarms(noise, nights):
    """The stated rate of false alarms holds whatever the noise is, without any help of the tolerance."""
    chance = random.Random(f"{noise} {nights}")
    trends = 1000
    alarms = sum(
        bool(places([NOISES[noise](chance) for _ in range(nights)], 0.0, Clock.REAL)) for _ in range(trends)
    )
    # Three standard deviations above the mean of a binomial distribution.
    assert alarms <= ALPHA * trends + 3 * math.sqrt(ALPHA * trends)


def test_a_planted_shift_is_found_in_noise():
    """10 % at 2 % of noise, after 20 nights: in nearly all trends, at the right night give or take one."""
    chance, hits = random.Random(7), 0
    for _ in range(100):
        values = [chance.gauss(1000 if n < 20 else 1100, 20) for n in range(30)]
        found = places(values, 0.05, Clock.REAL)
        hits += len(found) == 1 and abs(found[0][0] - 20) <= 1
    assert hits >= 97


def test_how_soon_a_shift_is_found():
    """After 20 quiet nights the third to sixth night of a new level shows it; docs/history.md says so."""
    chance = random.Random(11)
    values = [chance.gauss(1000, 10) for _ in range(20)] + [chance.gauss(1300, 10) for _ in range(6)]
    seen = [n for n in range(21, 27) if places(values[:n], 0.05, Clock.REAL)]
    assert seen
    assert 23 <= seen[0] <= 26


def test_few_nights_say_nothing_in_noise():
    """However large the shift: three nights before and after have no significance."""
    assert places([1, 1, 1, 9, 9, 9], 0.05, Clock.REAL) == []


def test_small_changes_are_none_in_noise():
    """Significant, and within the tolerance."""
    values = [1000.0 + n % 3 for n in range(20)] + [1010.0 + n % 3 for n in range(20)]
    assert places(values, 0.05, Clock.REAL) == []
    assert [place for place, _, _ in places(values, 0.001, Clock.REAL)] == [20]


def test_two_shifts_in_noise():
    chance = random.Random(3)
    levels = [1000] * 20 + [1200] * 20 + [900] * 20
    assert [place for place, _, _ in places([chance.gauss(x, 10) for x in levels], 0.05, Clock.REAL)] == [
        20,
        40,
    ]


def test_conditions_cut_the_noise():
    """Between two hosts there is no statement, within each there is."""
    values = [100.0 + n % 3 for n in range(15)] + [200.0 + n % 3 for n in range(15)]
    digests = ["a"] * 15 + ["b"] * 15
    assert places(values, 0.05, Clock.REAL, digests) == []
    assert len(places(values, 0.05, Clock.REAL)) == 1


@given(st.lists(st.floats(0.1, 1e6), min_size=6, max_size=25))
def test_only_ranks_decide(values):
    """A growing function of the values (4 *, which is exact) has its changes at the same nights."""
    found = [place for place, _, _ in places(values, 0.0, Clock.REAL)]
    assert found == [place for place, _, _ in places([4 * value for value in values], 0.0, Clock.REAL)]


def test_a_very_long_trend_is_bounded():
    assert places([1.0] * (10 * LONGEST), 0.05, Clock.REAL) == []
