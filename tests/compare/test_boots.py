# SPDX-License-Identifier: GPL-2.0-or-later
"""Judging real time over paired boots; scipy's own test is the oracle."""

from __future__ import annotations

import random

import pytest

from lab.compare.boots import compare_boots, rank_cut


def noisy(pairs: int, change: float, noise: float, seed: int) -> tuple[list[float], list[float]]:
    """Boots with host drift that both sides share and noise that they do not."""
    rng = random.Random(seed)
    base, patched = [], []
    for n in range(pairs):
        level = 1e6 * (1 + 0.02 * n / pairs)
        base.append(level * rng.lognormvariate(0, noise))
        patched.append(level * (1 + change) * rng.lognormvariate(0, noise))
    return base, patched


@pytest.mark.parametrize(("pairs", "cut"), [(5, 0), (6, 1), (7, 3), (8, 4), (10, 9), (12, 14), (20, 53)])
def test_rank_cut(pairs: int, cut: int) -> None:
    """The cut is the one of the published tables of the signed-rank test (two-sided 5 %), plus one."""
    assert rank_cut(pairs) == cut


@pytest.mark.parametrize("seed", range(60))
def test_interval_agrees_with_wilcoxon(seed: int) -> None:
    """The interval excludes no change exactly when scipy's exact test rejects it at 5 %."""
    from scipy.stats import wilcoxon

    pairs = 6 + seed % 10
    base, patched = noisy(pairs, change=0.015 * (seed % 3), noise=0.01, seed=seed)
    found = compare_boots(base, patched, tolerance=0.0)
    ratios = [p / b for b, p in zip(base, patched, strict=True)]
    import numpy

    p = wilcoxon(numpy.log(ratios), method="exact").pvalue
    assert found.interval is not None
    assert (found.interval[0] > 0 or found.interval[1] < 0) == (p <= 0.05)


def test_fewer_than_six_pairs_decide_nothing() -> None:
    """Five pairs cannot be significant, however large the difference; the note says how many are missing."""
    found = compare_boots([1.0] * 5, [100.0] * 5, tolerance=0.02)
    assert found.direction is None and found.note.startswith("5 pairs of boots; 1 more")


def test_regression_and_gain() -> None:
    """A change well above noise and tolerance is found, with its sign."""
    base, patched = noisy(12, change=0.10, noise=0.01, seed=1)
    assert compare_boots(base, patched, 0.02).direction == 1
    assert compare_boots(patched, base, 0.02).direction == -1


def test_no_change_needs_a_narrow_interval() -> None:
    """The same is said only if the whole interval lies within the tolerance."""
    base, patched = noisy(12, change=0.0, noise=0.003, seed=2)
    found = compare_boots(base, patched, 0.02)
    assert found.direction == 0 and found.mde is not None and found.mde < 0.02
    base, patched = noisy(8, change=0.0, noise=0.1, seed=2)
    found = compare_boots(base, patched, 0.02)
    assert found.direction is None and "more pairs of boots" in found.note


def test_small_but_real_is_told() -> None:
    """A certain change within the tolerance is the same, and the note says that it is there."""
    base, patched = noisy(20, change=0.01, noise=0.001, seed=3)
    found = compare_boots(base, patched, 0.05)
    assert found.direction == 0 and "small but real" in found.note


def test_false_alarms_are_rare() -> None:
    """Without a real change, at most some 5 % of comparisons with no tolerance find one."""
    alarms = sum(
        compare_boots(*noisy(8, change=0.0, noise=0.02, seed=seed), tolerance=0.0).direction in (1, -1)
        for seed in range(300)
    )
    assert alarms <= 27  # 15 expected; more than 27 has a probability below 0.2 %
