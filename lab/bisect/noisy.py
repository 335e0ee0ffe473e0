# SPDX-License-Identifier: GPL-2.0-or-later
"""How probable each suspect is after some boots, when a failure shows in a part of the boots only.

Bayes' rule over all suspects at once, as in M. Ben-Or and A. Hassidim, "The Bayesian Learner is Optimal for
Noisy Binary Search" (FOCS 2008), with two differences. Noise is one-sided: on a kernel without the failure it
never shows, so one boot that shows it is proof, and boots that do not are evidence by their number. And the
share p of boots in which it shows is not known: it is integrated out. With f boots that show it and s that do
not, on kernels in which a suspect would make it show,

    P(boots | suspect) = integral over p of p^f (1 - p)^s dBeta(p) = B(a + f, b + s) / B(a, b),

which needs no estimate of p: few boots say by themselves that p is badly known. The prior Beta(a, b) leans to
small p (see PRIOR), so that the error that is stated also holds for failures that are rarely seen.
"""

from __future__ import annotations

import math

import numpy as np

from lab.bisect.history import Floats, History, members

PRIOR = (0.25, 1.0)
"""Of p; density falls as p^-0.75. bench/bisection.py shows that with it the wanted error holds for each p."""

ROUNDING = 1e-9
"""What is left of nothing in floating point."""

OUTSIDE = (0.5, 5.0)
"""Prior for the share of boots of a kernel without the change that are beyond the threshold all the same."""


class Posterior:
    """What is known of a history after some boots. The last weight is that of "the good end is bad as well".

    `certain`: another boot of the same kernel would be the same boot, so one is proof either way.
    `two_sided`: a number of the real clock, which may be beyond the threshold also without the change.
    """

    def __init__(self, history: History, *, certain: bool = False, two_sided: bool = False) -> None:
        self.history = history
        self.certain = certain
        self.two_sided = two_sided
        self.shown: dict[int, int] = {}  # by position: boots in which the failure showed
        self.passed: dict[int, int] = {}
        size = history.size
        self._in_shown, self._in_passed = np.zeros(size + 1), np.zeros(size + 1)
        self._possible = np.append(history.mask(history.suspects), True)
        suspects = history.suspects.bit_count()
        self._prior = np.where(self._possible, 0.5 / max(suspects, 1), 0.0)
        self._prior[-1] = 0.5
        self._weights: Floats | None = None

    def note(self, position: int, *, shown: int = 0, passed: int = 0) -> None:
        """Take further boots of one kernel into account."""
        self._weights = None
        with_it = np.append(self.history.mask(self.history.blamed(position)), True)
        self._in_shown += shown * with_it
        self._in_passed += passed * with_it
        self.shown[position] = self.shown.get(position, 0) + shown
        self.passed[position] = self.passed.get(position, 0) + passed

    def same(self, one: int, other: int) -> None:
        """Two kernels have the same bytes: no suspect that is in one of them alone did it."""
        self._weights = None
        apart = self.history.blamed(one) ^ self.history.blamed(other)
        self._possible[:-1] &= ~self.history.mask(apart)

    @property
    def boots(self) -> int:
        return sum(self.shown.values()) + sum(self.passed.values())

    @property
    def weights(self) -> Floats:
        """Probability of each suspect by position, and last that of a bad good end; all 0 if the boots
        contradict each other."""
        if self._weights is None:
            self._weights = self._weighed()
        return self._weights

    def _weighed(self) -> Floats:
        logs = np.where(self._possible, 0.0, -np.inf)
        with np.errstate(divide="ignore"):
            logs = logs + np.log(self._prior) + self._likelihood()
        best = logs.max()
        if not math.isfinite(best):
            return np.zeros(self.history.size + 1)
        raw = np.exp(logs - best)
        found: Floats = raw / raw.sum()
        return found

    def _likelihood(self) -> Floats:
        out_shown = sum(self.shown.values()) - self._in_shown
        out_passed = sum(self.passed.values()) - self._in_passed
        if self.certain:
            return np.where((self._in_passed == 0) & (out_shown == 0), 0.0, -np.inf)
        inside = _log_beta(PRIOR[0] + self._in_shown, PRIOR[1] + self._in_passed)
        if self.two_sided:
            return inside + _log_beta(OUTSIDE[0] + out_shown, OUTSIDE[1] + out_passed)
        return np.where(out_shown == 0, inside, -np.inf)

    def rate(self) -> float:
        """The share of boots in which the failure shows, if the most probable suspect did it."""
        if self.certain:
            return 1.0
        best = int(np.argmax(self.weights))
        shown, passed = float(self._in_shown[best]), float(self._in_passed[best])
        return (PRIOR[0] + shown) / (PRIOR[0] + PRIOR[1] + shown + passed)

    def credible(self, error: float) -> list[int]:
        """The fewest suspects that are wrong together with at most probability `error`, most probable first;
        [] while the boots rather say that the good end is bad, or contradict each other."""
        weights = self.weights
        if weights.sum() == 0:
            return []
        error = ROUNDING if self.certain else error
        found: list[int] = []
        left = 1.0
        for position in np.argsort(-weights[:-1], kind="stable"):
            if left <= error or weights[position] == 0:
                break
            found.append(int(position))
            left -= float(weights[position])
        return sorted(found) if left <= error else []

    def implicated(self, error: float) -> dict[int, str]:
        """Each booted kernel with what the boots say of it: "bad" or "good", or "open"."""
        weights = self.weights[:-1]
        said = {}
        for position in sorted({*self.shown, *self.passed}):
            blamed = members(self.history.blamed(position))
            bad = float(weights[blamed].sum())
            said[position] = "bad" if bad >= 1 - error else "good" if bad <= error else "open"
        return said


def _log_beta(a: Floats, b: Floats) -> Floats:
    from scipy.special import betaln

    found: Floats = betaln(a, b)
    return found


def interval(shown: int, boots: int) -> tuple[float, float]:
    """The 95 % interval of a share, by E. B. Wilson (1927).

    >>> [round(bound, 2) for bound in interval(1, 10)]
    [0.02, 0.4]
    """
    if boots == 0:
        return 0.0, 1.0
    z, share = 1.959964, shown / boots
    middle = share + z * z / (2 * boots)
    spread = z * math.sqrt(share * (1 - share) / boots + z * z / (4 * boots * boots))
    below = 1 + z * z / boots
    return max(0.0, (middle - spread) / below), min(1.0, (middle + spread) / below)
