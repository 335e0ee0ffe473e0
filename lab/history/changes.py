# SPDX-License-Identifier: GPL-2.0-or-later
"""Where a metric's level changed over the nights.

On exact clocks (instructions, counts) there is no noise: a night whose value departs from the level by more
than the metric's tolerance begins a new one, unless the next night has returned. So a slow drift is seen as
soon as it adds up, and there are no false alarms to be weighed.

Real time is noisy, and its noise has no known distribution. So the ranks are looked at: for each way to cut
the nights in two, the standardised Wilcoxon rank sum of the first part; the largest of them decides
(A. N. Pettitt, A non-parametric approach to the change-point problem, Applied Statistics 28, 1979; in the
standardised form, which sees changes near the end better, D. M. Hawkins and Q. Deng, A nonparametric
change-point control chart, Journal of Quality Technology 42, 2010). Without a change the ranks are in random
order, whatever the noise is; so what noise reaches in all but ALPHA of cases depends on nothing but the
number of nights, and is found by shuffling. Where a change is found, both sides are searched in turn (binary
segmentation), each with half of ALPHA. A change that is smaller than the tolerance is none.
"""

from __future__ import annotations

import functools
import math
import random
import statistics
from collections.abc import Sequence

from lab.history.model import ChangePoint, Point
from lab.results.models import Clock, MetricRecord

ALPHA = 0.01
"""How often noise alone may show a change somewhere in a trend of real time, however small it is."""

SMALLEST = 3
"""Nights that a level of real time has at least: a single odd night is none."""

SHUFFLES = 4000
"""By which the threshold is found: 40 of them lie beyond it."""

LONGEST = 120
"""Nights that are looked at; older ones say nothing of today."""


def change_points(points: Sequence[Point], *, tolerance: float) -> list[ChangePoint]:
    """The changes of a trend, oldest first; `points` are of one metric, oldest first.

    Wall time under emulation is never judged. Points of another clock than the last one's are left out.
    """
    if not points:
        return []
    clock = points[-1].clock
    used = [point for point in points[-LONGEST:] if point.clock is clock and point.unit == points[-1].unit]
    if clock is Clock.FUNCTIONAL:
        return []
    if clock is Clock.REAL:
        return _of_noise(used, tolerance)
    return _of_exact(used, tolerance)


def metric_changes(points: Sequence[Point], metric: MetricRecord) -> list[ChangePoint]:
    """The changes of a metric as its case declares it."""
    return change_points(points, tolerance=metric.tolerance)


def relative(before: float, after: float) -> float | None:
    """The change as a fraction; None where there was nothing before."""
    return None if before == 0 else after / before - 1


def _beyond(before: float, after: float, tolerance: float) -> bool:
    """Is the change larger than the tolerance? From nothing, any change is."""
    return before != after and abs(after - before) > tolerance * abs(before)


def _of_exact(points: Sequence[Point], tolerance: float) -> list[ChangePoint]:
    found: list[ChangePoint] = []
    level = points[0]
    for number, point in enumerate(points[1:], 1):
        last, following = points[number - 1], points[number + 1 : number + 2]
        if not _beyond(level.value, point.value, tolerance):
            continue
        returned = following and not _beyond(level.value, following[0].value, tolerance)
        if returned and following[0].conditions == point.conditions:
            continue
        found.append(
            ChangePoint(
                at=point,
                before=level.value,
                after=point.value,
                change=relative(level.value, point.value),
                last=last,
                alike=level.conditions == point.conditions,
            )
        )
        level = point
    return found


def _of_noise(points: Sequence[Point], tolerance: float) -> list[ChangePoint]:
    """Each stretch under the same conditions by itself: between two, more than the kernel changed."""
    found: list[ChangePoint] = []
    start = 0
    for end in range(1, len(points) + 1):
        if end == len(points) or points[end].conditions != points[start].conditions:
            found += _segments(points[start:end], tolerance, ALPHA)
            start = end
    return found


def _segments(points: Sequence[Point], tolerance: float, alpha: float) -> list[ChangePoint]:
    values = [point.value for point in points]
    cut = _cut(values, alpha)
    if cut is None:
        return []
    before, after = statistics.median(values[:cut]), statistics.median(values[cut:])
    own = []
    if _beyond(before, after, tolerance):
        own = [ChangePoint(points[cut], before, after, relative(before, after), points[cut - 1])]
    left, right = _segments(points[:cut], tolerance, alpha / 2), _segments(points[cut:], tolerance, alpha / 2)
    return [*left, *own, *right]


def _cut(values: Sequence[float], alpha: float) -> int | None:
    """How many values belong to the first level; None if noise alone would often look so."""
    if len(values) < 2 * SMALLEST:
        return None
    statistic, cut = _largest(_ranks(values))
    return cut if statistic > _threshold(len(values), alpha) else None


def _ranks(values: Sequence[float]) -> list[float]:
    """From 1; equal values share the mean of theirs."""
    order = sorted(range(len(values)), key=values.__getitem__)
    ranks = [0.0] * len(values)
    start = 0
    for end in range(1, len(order) + 1):
        if end == len(order) or values[order[end]] != values[order[start]]:
            for position in order[start:end]:
                ranks[position] = (start + 1 + end) / 2
            start = end
    return ranks


def _largest(ranks: Sequence[float]) -> tuple[float, int]:
    """The largest standardised rank sum over all cuts, and its cut."""
    number = len(ranks)
    total, best, where = sum(ranks[: SMALLEST - 1]), -1.0, 0
    for first in range(SMALLEST, number - SMALLEST + 1):
        total += ranks[first - 1]
        spread = math.sqrt(first * (number - first) * (number + 1) / 12)
        statistic = abs(total - first * (number + 1) / 2) / spread
        if statistic > best:
            best, where = statistic, first
    return best, where


@functools.cache
def _threshold(number: int, alpha: float) -> float:
    """What noise reaches in a share `alpha` of all orders of so many nights; always the same number."""
    largest = _shuffled(number)
    return largest[min(len(largest) - 1, math.ceil((1 - alpha) * len(largest)) - 1)]


@functools.cache
def _shuffled(number: int) -> list[float]:
    chance = random.Random(number)  # noqa: S311 - no secret
    ranks = [float(rank) for rank in range(1, number + 1)]
    found = []
    for _ in range(SHUFFLES):
        chance.shuffle(ranks)
        found.append(_largest(ranks)[0])
    return sorted(found)
