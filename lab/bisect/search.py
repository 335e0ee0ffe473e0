# SPDX-License-Identifier: GPL-2.0-or-later
"""Which kernel to boot next, and when enough is known.

The next kernel is the one whose boots are expected to tell most about where the change is, for the time that
they take. For a failure that always shows that is the kernel that halves what is left, as git has it; for one
that shows in a share p of the boots Shannon's measure says both where to look and how long to stay there.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np

from lab.bisect.history import Floats, History
from lab.bisect.noisy import Posterior

STAYS = (1, 2, 4, 8, 16, 32, 64)
"""Numbers of rounds for which staying with one kernel is weighed against others."""

LEAST = 1e-9
"""Bits: less is what rounding leaves."""

MOST_BOOTS = 5000
"""Beyond that a bisection ends and says what is left."""


@dataclass(frozen=True)
class Costs:
    """Seconds, for choosing only: a wrong guess makes a search longer, never wrong."""

    boot: float = 3.0  # a round of boots
    obtain: float = 20.0  # a kernel that is not at hand
    at_hand: Collection[int] = ()
    slots: int = 1  # boots of a round


@dataclass
class Search:
    """A history, what was seen of it, and the wanted probability of a wrong answer."""

    history: History
    error: float
    posterior: Posterior
    skipped: dict[int, str] = field(default_factory=dict)  # position -> why it cannot be tested

    @property
    def testable(self) -> list[int]:
        return [position for position in range(self.history.size) if position not in self.skipped]

    def left(self) -> list[int]:
        """The suspects of which one did it, up to the wanted error."""
        return self.posterior.credible(self.error)

    def over(self) -> bool:
        """Can no further boot say more? True also when the boots contradict each other, or when they say that
        the good end is bad as well."""
        weights = self.posterior.weights
        if not weights.any() or weights[-1] >= 1 - self.error or self.posterior.boots >= MOST_BOOTS:
            return True
        left = self.left()
        return bool(left) and not self._told_apart(left)

    def _told_apart(self, left: Collection[int]) -> bool:
        """Would a kernel that can be tested have the failure with some of these, and not with others?"""
        if len(left) == 1:
            return False
        bits = sum(1 << position for position in left)
        return any(self.history.blamed(position) & bits not in (0, bits) for position in self.testable)

    def next(self, costs: Costs | None = None) -> int:
        """The position to boot next. Call only while `over()` is False."""
        return self.ranked(costs)[0]

    def ranked(self, costs: Costs | None = None, *, first: int = 1) -> list[int]:
        """The `first` positions that are worth most, the best first."""
        costs = costs or Costs()
        worth = self._worth(costs)
        order = np.argsort(-worth, kind="stable")[:first]
        return [int(position) for position in order if worth[position] > 0]

    def _worth(self, costs: Costs) -> Floats:
        """Bits per second of a boot of each kernel; near a kernel that could not be tested it counts less,
        because what broke that one is likely to reach further."""
        weights = self.posterior.weights
        mass = np.clip(self.history.masses(weights[:-1]) + weights[-1], 0.0, 1.0)
        switch = np.full(self.history.size, costs.obtain)
        switch[list(costs.at_hand)] = 0.0
        rate, best = self.posterior.rate(), np.zeros(self.history.size)
        for stay in (1,) if self.posterior.certain else STAYS:
            shows = 1 - (1 - rate) ** (stay * costs.slots)
            bits = _entropy(mass * shows) - mass * _entropy(np.array(shows))
            best = np.maximum(best, np.where(bits > LEAST, bits, 0.0) / (switch + stay * costs.boot))
        best *= self._away()
        best[list(self.skipped)] = 0.0
        return best

    def _away(self) -> Floats:
        if not self.skipped:
            return np.ones(self.history.size)
        positions = np.arange(self.history.size)
        distance = np.min([np.abs(positions - one) for one in self.skipped], axis=0)
        found: Floats = distance / (distance + len(self.skipped))
        return found

    def guesses(self, position: int, costs: Costs | None = None) -> list[int]:
        """What would be booted after this one if the failure shows in it, and if it does not."""
        found = []
        for shown in (True, False):
            after = Search(self.history, self.error, _copied(self.posterior), dict(self.skipped))
            boots = 1 if shown or self.posterior.certain else 8
            after.posterior.note(position, shown=int(shown), passed=0 if shown else boots)
            if not after.over():
                found += after.ranked(costs)
        return [guess for guess in dict.fromkeys(found) if guess != position]


def _copied(posterior: Posterior) -> Posterior:
    new = Posterior(posterior.history, certain=posterior.certain, two_sided=posterior.two_sided)
    new._possible = posterior._possible.copy()
    for position in {*posterior.shown, *posterior.passed}:
        counts: tuple[Mapping[int, int], ...] = (posterior.shown, posterior.passed)
        shown, passed = (count.get(position, 0) for count in counts)
        new.note(position, shown=shown, passed=passed)
    return new


def _entropy(shares: Floats) -> Floats:
    """Bits of a coin, for each share."""
    inside = np.clip(shares, 1e-12, 1 - 1e-12)
    found: Floats = -(inside * np.log2(inside) + (1 - inside) * np.log2(1 - inside))
    return found
