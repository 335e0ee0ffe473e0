# SPDX-License-Identifier: GPL-2.0-or-later
"""How often something fails, and how sure that is."""

from __future__ import annotations

import math

from lab.history.model import Rate

Z = 1.959963984540054
"""The normal distribution's 97.5 % point: two sides of 2.5 % leave 95 %."""


def rate(bad: int, total: int) -> Rate:
    """The share of failures with its Wilson score interval at 95 %.

    E. B. Wilson, Probable inference, the law of succession, and statistical inference, Journal of the
    American Statistical Association 22 (1927). Unlike the usual interval it makes sense near 0 and 1, and
    for few trials. Nothing tried says nothing: 0 to 1.
    """
    if total <= 0:
        return Rate(0, 0, 0.0, 1.0)
    share, square = bad / total, Z * Z
    middle = (share + square / (2 * total)) / (1 + square / total)
    half = Z / (1 + square / total) * math.sqrt(share * (1 - share) / total + square / (4 * total * total))
    # At the ends the formula gives 0 and 1 but for rounding.
    low = 0.0 if bad == 0 else max(0.0, middle - half)
    high = 1.0 if bad == total else min(1.0, middle + half)
    return Rate(bad, total, low, high)


def rate_words(found: Rate) -> str:
    """The rate for a reader.

    >>> rate_words(rate(3, 40)), rate_words(rate(0, 0))
    ('3 of 40 (2.6 to 19.9 %)', 'n/a')
    """
    if found.total == 0:
        return "n/a"
    return f"{found.bad} of {found.total} ({100 * found.low:.1f} to {100 * found.high:.1f} %)"
