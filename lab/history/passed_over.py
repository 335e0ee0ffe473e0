# SPDX-License-Identifier: GPL-2.0-or-later
"""What of the run folders could not be read, in few lines: hundreds of runs may have the same thing wrong."""

from __future__ import annotations

import re
from collections.abc import Iterable

ALIKE = 3
"""So many runs with the same thing wrong are told in one line."""

MAX_TOLD = 5
"""Lines; more are counted."""

_RUN = re.compile(r"run (\S+) is passed over: (.+)")


def sentence(run: str, why: str) -> str:
    """Of a run of which nothing can be read."""
    return f"run {run} is passed over: {why}"


def in_short(damaged: Iterable[str]) -> list[str]:
    """The sentences of an index (Refreshed.damaged); runs that are passed over for the same reason share one.

    >>> in_short([sentence(name, "run.json is damaged") for name in ("a", "b", "c")] + ["x is damaged"])
    ['3 runs, a to c, are passed over: run.json is damaged', 'x is damaged']
    """
    groups: dict[str, list[str]] = {}
    for one in damaged:
        found = _RUN.fullmatch(one)
        groups.setdefault(found[2] if found else one, []).append(found[1] if found else "")
    lines = []
    for why, runs in groups.items():
        if len(runs) >= ALIKE and all(runs):
            lines.append(f"{len(runs)} runs, {min(runs)} to {max(runs)}, are passed over: {why}")
        else:
            lines += [sentence(run, why) if run else why for run in runs]
    return lines


def for_terminal(damaged: Iterable[str]) -> list[str]:
    """At most MAX_TOLD lines, and where all are named."""
    every = list(damaged)
    lines = in_short(every)
    if lines == every and len(lines) <= MAX_TOLD:
        return lines
    more = len(lines) - MAX_TOLD
    counted = [f"and {more} more files are passed over"] if more > 0 else []
    return [*lines[:MAX_TOLD], *counted, "`lab list runs`, `lab site` and --json name each"]
