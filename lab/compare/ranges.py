# SPDX-License-Identifier: GPL-2.0-or-later
"""Judging exact clocks: a count or a number of instructions needs no statistics, only honesty.

An exact value is the same in every boot. Where it is not (the guest waited for the host, an interrupt
came one instruction later), the value is a range, and only what holds for every pair of boots is said.
With one boot a side, or equal boots, all rules below are those for two plain numbers.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from lab.compare.words import amount, counted
from lab.results.models import Decision


@dataclass(frozen=True)
class Finding:
    """What the numbers of one metric say; `direction` is +1 for more, -1 for less, 0 for the same."""

    base: float
    patched: float
    change: float | None
    direction: int | None  # None: undecided
    interval: tuple[float, float] | None = None
    mde: float | None = None
    note: str = ""

    def decision(self, better: str) -> Decision:
        if self.direction is None:
            return Decision.UNDECIDED
        if self.direction == 0:
            return Decision.SAME
        return Decision.BETTER if (self.direction > 0) == (better == "higher") else Decision.WORSE


def relative(base: float, patched: float) -> float | None:
    """patched / base - 1; None where that is no number."""
    if base == 0:
        return None
    change = patched / base - 1
    return change if math.isfinite(change) else None


def compare_ranges(base: Sequence[float], patched: Sequence[float], tolerance: float) -> Finding:
    """Hold two sides of an exact metric against each other.

    `base` and `patched` are finite, not negative and not empty. More or less only if it is so for every
    pair of boots; the same only if no pair differs by more than `tolerance`; everything else undecided.
    A base of 0 has no relative change: then any difference counts.
    """
    low_b, high_b, low_p, high_p = min(base), max(base), min(patched), max(patched)
    if low_p > high_b * (1 + tolerance):
        direction: int | None = +1
    elif high_p < low_b * (1 - tolerance):
        direction = -1
    elif high_p <= low_b * (1 + tolerance) and low_p >= high_b * (1 - tolerance):
        direction = 0
    else:
        direction = None
    middle_b, middle_p = statistics.median(base), statistics.median(patched)
    change = relative(middle_b, middle_p)
    if low_b == high_b and low_p == high_p:
        note = "" if direction is not None else "the values are too large to be told apart"
        return Finding(middle_b, middle_p, change, direction, None, 0.0, note)
    low, high = relative(high_b, low_p), relative(low_b, high_p)
    interval = None if low is None or high is None else (low, high)
    mde = None if change is None or interval is None else max(change - interval[0], interval[1] - change)
    note = f"not the same in every boot: base {_spread(base)}, patched {_spread(patched)}"
    if direction is None:
        note += "; the ranges do not settle it"
    return Finding(middle_b, middle_p, change, direction, interval, mde, note)


def _spread(values: Sequence[float]) -> str:
    low, high = amount(min(values)), amount(max(values))
    return (
        f"{low} in {counted(len(values), 'boot')}"
        if low == high
        else f"{low} to {high} in {len(values)} boots"
    )
