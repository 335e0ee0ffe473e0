# SPDX-License-Identifier: GPL-2.0-or-later
"""Judging real time: one boot is one sample, boots run in interleaved pairs, ratios are judged by rank.

Most variation lies between boots (memory layout, host state), and hosts drift. Pairs that ran next to
each other share the drift, so the log ratio of each pair is what is judged: its Hodges-Lehmann estimate
(the median of all pairwise means) and the interval that the exact Wilcoxon signed-rank test does not
reject at 5 %. Fewer than six pairs can never be significant there: the smallest p of five is 0.0625.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from lab.compare.ranges import Finding, relative
from lab.compare.words import counted, percent

ALPHA = 0.05
POWER = 0.8
MIN_PAIRS = 6
MAX_PAIRS = 1000
"""Beyond this many pairs no advice is given: the metric is too noisy, or the tolerance too narrow."""


def compare_boots(base: Sequence[float], patched: Sequence[float], tolerance: float) -> Finding:
    """Judge paired boots: `base[i]` ran next to `patched[i]`; all values are finite and above 0.

    More or less: the interval excludes 0 and the estimate reaches `tolerance`. The same: the interval lies
    within the tolerance. Else undecided, with a note on what is missing.
    """
    pairs = len(base)
    medians = statistics.median(base), statistics.median(patched)
    if pairs < MIN_PAIRS:
        note = (
            f"{counted(pairs, 'pair')} of boots; {MIN_PAIRS - pairs} more are needed"
            f" before any difference can be significant"
        )
        return Finding(*medians, relative(*medians), None, note=note)
    logs = [math.log(p) - math.log(b) for b, p in zip(base, patched, strict=True)]
    walsh = sorted((x + y) / 2 for i, x in enumerate(logs) for y in logs[i:])
    cut = rank_cut(pairs)
    change = _fraction(statistics.median(walsh))
    low, high = _fraction(walsh[cut - 1]), _fraction(walsh[-cut])
    spread = statistics.stdev(logs)
    mde = _fraction(_detectable(spread, pairs))
    direction, note = _decide(change, low, high, tolerance)
    if direction is None:
        note += _advice(spread, pairs, tolerance)
    return Finding(*medians, change, direction, (low, high), mde, note)


def _decide(change: float, low: float, high: float, tolerance: float) -> tuple[int | None, str]:
    excludes_none = low > 0 or high < 0
    if excludes_none and abs(change) >= tolerance:
        return (1 if change > 0 else -1), ""
    if -tolerance <= low and high <= tolerance:
        return 0, "small but real: within the tolerance" if excludes_none else ""
    what = "a change is there, but its size is open" if excludes_none else "cannot be told from noise"
    return None, f"{what}: between {percent(low)} and {percent(high)}"


def rank_cut(pairs: int) -> int:
    """How many of the sorted Walsh averages lie outside the interval at either end; 0 if none is allowed.

    Exact: counts, out of the 2^n equally likely sign patterns, those with each signed-rank sum.
    """
    ways = [1]
    for rank in range(1, pairs + 1):
        longer = ways + [0] * rank
        for total, number in enumerate(ways):
            longer[total + rank] += number
        ways = longer
    patterns, below, cut = 2**pairs, 0, 0
    while 2 * (below + ways[cut]) <= ALPHA * patterns:
        below += ways[cut]
        cut += 1
    return cut


def _detectable(spread: float, pairs: int) -> float:
    """The true log ratio that this many pairs find with 80 % probability."""
    from scipy.stats import t

    return float(t.ppf(1 - ALPHA / 2, pairs - 1) + t.ppf(POWER, pairs - 1)) * spread / math.sqrt(pairs)


def _advice(spread: float, pairs: int, tolerance: float) -> str:
    """How many more pairs would show a change as large as the tolerance."""
    if tolerance <= 0:
        return ""
    wanted = math.log1p(tolerance)
    low, high = pairs, MAX_PAIRS
    if _detectable(spread, high) > wanted:
        return f"; even {MAX_PAIRS} pairs of boots would not show a change of {percent(tolerance)[1:]}"
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if _detectable(spread, middle) <= wanted else (middle + 1, high)
    # Enough pairs already, yet undecided: the change sits on the tolerance, and only more of the same helps.
    more = low - pairs if low > pairs else pairs
    return f"; about {more} more pairs of boots would settle {percent(tolerance)[1:]}"


def _fraction(log_ratio: float) -> float:
    return math.expm1(min(log_ratio, 700.0))
