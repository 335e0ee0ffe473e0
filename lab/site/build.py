# SPDX-License-Identifier: GPL-2.0-or-later
"""The whole site, the oldest night first: a page may link to what was written before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from lab.errors import InfraError
from lab.history.index import Index
from lab.history.model import Night
from lab.history.passed_over import in_short
from lab.report.rows import CLOCK_WORDS
from lab.site.night import NightPages
from lab.site.payload import OUTCOMES
from lab.site.rendering import Pages
from lab.waiting import check_stop

MAX_LISTED = 200


@dataclass
class Built:
    """What was made, and what was passed over."""

    nights: int = 0
    trials: int = 0
    trends: int = 0
    damaged: list[str] = field(default_factory=list)


def build_site(
    pages: Pages, index: Index, nights: Sequence[Night], *, older: int, damaged: Sequence[str]
) -> Built:
    """Write the pages of `nights`, the newest first; `older` more are left out.

    Of the newest night every trial has a page, of the others those that did not pass. Raises InfraError if
    none of the nights can be read, or a page cannot be written.
    """
    built = Built(damaged=list(damaged))
    pages.static()
    told = []
    for place in reversed(range(len(nights))):
        check_stop()
        before = nights[place + 1] if place + 1 < len(nights) else None
        try:
            part = NightPages(pages, index, nights[place], before, newest=place == 0)
        except InfraError as error:  # it went, or was damaged, after the index was made
            built.damaged.append(error.message.replace(f"{nights[place].path.parent}/", ""))
            continue
        part.write()
        built.nights += 1
        built.trials += part.trials
        built.trends += len(part.trend_pages)
        told.append(part.summary())
    if not told:
        raise InfraError("none of the nights can be read", hint="; ".join(built.damaged[:5]))
    told.reverse()
    outcomes = [end for end in OUTCOMES if any(one.counts.get(end) for one in told)]
    short = in_short(built.damaged)
    listed = {"nights": told, "outcomes": outcomes, "older": older, "damaged": short[:MAX_LISTED]}
    listed |= {
        "more_damaged": len(short[MAX_LISTED:]),
        "each": built.damaged if short != built.damaged else [],
    }
    pages.page("nights.html", "nights.html.j2", **listed)
    clocks = [(str(clock), words.partition(": ")[2]) for clock, words in CLOCK_WORDS.items()]
    pages.page("compare.html", "compare.html.j2", nights=told, clocks=clocks)
    return built
