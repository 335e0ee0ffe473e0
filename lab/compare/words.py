# SPDX-License-Identifier: GPL-2.0-or-later
"""Numbers as a reader of a verdict wants them: plain ASCII, thousands separated, big factors as factors."""

from __future__ import annotations

import math

UNIT_WORDS = {"insn": "instructions", "count": "", "": ""}
"""Units that read better spelled out in a sentence; a count is told by its title alone."""

FACTOR = 2.0
"""From this ratio on, "15.8 times" says more than "+1480 %"."""


def amount(value: float | None) -> str:
    """22,012 or 0.75 or 1.2e+18; None is a number the kernel could not give: "n/a".

    >>> amount(348120.0), amount(0.75), amount(999.5), amount(None)
    ('348,120', '0.75', '999.5', 'n/a')
    """
    if value is None or not math.isfinite(value):
        return "n/a"
    if abs(value) >= 1e13:
        return f"{value:.3g}"
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:,.1f}" if abs(value) >= 100 else f"{value:.3g}"


def percent(fraction: float) -> str:
    """A signed fraction in per cent; never shows a change that exists as none.

    >>> percent(-0.2708), percent(0.0), percent(0.00012), percent(1e-9)
    ('-27.1 %', '0 %', '+0.012 %', '+~0 %')
    """
    if fraction == 0:
        return "0 %"
    if abs(fraction) < 1e-5:
        return f"{'+' if fraction > 0 else '-'}~0 %"
    return f"{100 * fraction:+.2g} %" if abs(fraction) < 0.0005 else f"{100 * fraction:+.1f} %"


def change_short(change: float | None) -> str:
    """A change for a table cell.

    >>> change_short(-0.2708), change_short(14.815), change_short(None)
    ('-27.1 %', 'x15.8', '-')
    """
    if change is None:
        return "-"
    return f"x{_factor(change)}" if change + 1 >= FACTOR else percent(change)


def change_words(change: float) -> str:
    """A change for a sentence.

    >>> change_words(-0.2708), change_words(14.815)
    ('-27.1 %', '15.8 times')
    """
    return f"{_factor(change)} times" if change + 1 >= FACTOR else percent(change)


def _factor(change: float) -> str:
    ratio = change + 1
    if ratio >= 1e6:
        return f"{ratio:.2g}"
    return f"{ratio:,.0f}" if ratio >= 100 else f"{ratio:.1f}"


def with_unit(value: float | None, unit: str) -> str:
    """An amount followed by its unit in words."""
    return f"{amount(value)} {UNIT_WORDS.get(unit, unit)}".rstrip()


def counted(number: int, noun: str) -> str:
    """The number and its noun.

    >>> counted(1, "boot"), counted(3, "boot")
    ('1 boot', '3 boots')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
