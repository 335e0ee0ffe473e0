# SPDX-License-Identifier: GPL-2.0-or-later
"""A night's data for the script of its page and of the comparison.

It is a script that calls a function, because a page that lies in a folder may load scripts and nothing else.
Words that come again and again are kept once, and named by their place in a list.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any

from lab.history.model import Cell, Rate
from lab.report.clean import one_line
from lab.results.models import Clock, Outcome, Trial
from lab.site.names import homely, trend_page, trial_page, when
from lab.site.picture import NOT_RUN, WORST_FIRST, Box, Column, Picture

MAX_NUMBERS = 64
"""Metrics of one cell; a case has some five."""

OUTCOMES = (*map(str, WORST_FIRST), NOT_RUN)

NEW, EXPECTED, FLAKY, UNCHANGED, UNEXPECTED_PASS = 1, 2, 4, 8, 16
"""Marks of a cell: bits, as templates/site.js has them."""

MIXED = " | "
"""Between the values of a condition that was not the same for all boots; templates/site.js knows it."""

_UNSAFE = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}


def as_script(function: str, value: object) -> str:
    """`function(value);` in which nothing can end the script, or begin markup where it stands in a page."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False, ensure_ascii=True)
    return f"{function}({text.translate(_UNSAFE)});\n"


class _Words:
    """A list in which each thing stands once."""

    def __init__(self, show: Callable[[Any], Any]) -> None:
        self._places: dict[Any, int] = {}
        self._show = show

    def place(self, word: Any) -> int:
        return self._places.setdefault(word, len(self._places))

    def shown(self) -> list[Any]:
        return [self._show(word) for word in self._places]


def night_script(
    picture: Picture,
    *,
    news: frozenset[Cell],
    rates: Mapping[Cell, Rate],
    trends: frozenset[str],
    pages: Set[tuple[str, str]],
) -> str:
    """The data of one night. `trends`: the trend pages that there are; `pages`: the trials that have one."""
    packed = _Packed(picture, pages)
    boxes = [
        packed.box(box, marks(box, picture.name, news, rates.get(box.cell)), rates.get(box.cell))
        for box in picture.boxes
    ]
    return as_script(
        "faultlab.night",
        {
            "run": picture.name,
            "created": when(picture.record.created),
            "kernels": [_kernel(picture, column) for column in picture.columns],
            "cases": _cases(picture),
            "rows": [
                [_name(row.case), _name(row.machine), str(row.clock), page]
                for row in picture.rows
                for page in (trend_page(row) if trend_page(row) in trends else "",)
            ],
            **{name: words.shown() for name, words in packed.words.items()},
            "boxes": boxes,
        },
    )


class _Packed:
    """Boxes as lists, in the order in which templates/site.js unpacks them."""

    def __init__(self, picture: Picture, pages: Set[tuple[str, str]]) -> None:
        self._columns = {column: n for n, column in enumerate(picture.columns)}
        self._rows = {row: n for n, row in enumerate(picture.rows)}
        self._pages = pages
        self.words = {
            "reasons": _Words(str),
            "series": _Words(list),
            "conditions": _Words(list),
            "digests": _Words(lambda digest: digest[:12]),
            "runs": _Words(str),
        }

    def box(self, box: Box, marked: int, rate: Rate | None) -> list[Any]:
        worst, words = box.worst, self.words
        paged = worst is not None and (box.run, worst.key) in self._pages
        return [
            self._rows[box.row],
            self._columns[box.column],
            OUTCOMES.index(box.outcome),
            marked,
            trial_page(box.run, worst.key) if paged and worst else "",
            words["reasons"].place(one_line(worst.reason if worst else homely(box.why))),
            [rate.bad, rate.total] if rate and rate.bad else 0,
            round(sum(trial.seconds for trial in box.trials), 1),
            words["runs"].place(box.run),
            words["digests"].place(worst.case_digest if worst else ""),
            words["conditions"].place(_conditions(box.trials)),
            [trial.repeat for trial in box.trials if trial.outcome is Outcome.PASS],
            _numbers(box, words["series"]),
        ]


def marks(box: Box, run: str, news: frozenset[Cell], rate: Rate | None) -> int:
    """What a reader must know beside the outcome."""
    worst = box.worst
    found = 0
    if box.cell in news:
        found |= NEW
    if worst is not None and worst.as_expected:
        found |= EXPECTED
    if worst is not None and worst.outcome is Outcome.PASS and worst.expected and not worst.expected.met:
        found |= UNEXPECTED_PASS
    if rate is not None and 0 < rate.bad < rate.total:
        found |= FLAKY
    if box.run != run:
        found |= UNCHANGED
    return found


def _kernel(picture: Picture, column: Column) -> dict[str, Any]:
    kernel = picture.kernels.get(picture.booted.get(column, ""))
    return {
        "kernel": one_line(column.kernel, limit=120),
        "series": one_line(column.series, limit=120),
        "kconfig": one_line(column.kconfig, limit=120),
        "id": one_line(kernel.id, limit=40) if kernel else "",
        "name": one_line(kernel.name, limit=120) if kernel else "",
        "debug": [one_line(option, limit=40) for option in kernel.debug_options[:8]] if kernel else [],
        "problem": one_line(homely(picture.problems.get(column, ""))),
    }


def _cases(picture: Picture) -> dict[str, Any]:
    shown = {row.case for row in picture.rows}
    return {
        _name(name): {
            "title": one_line(case.title),
            "metrics": {
                metric: [
                    one_line(m.title, limit=80), m.unit, m.better, _finite(m.tolerance) or 0, int(m.gate)
                ]
                for metric, m in list(case.metrics.items())[:MAX_NUMBERS]
            },
        }
        for name, case in picture.record.cases.items()
        if name in shown
    }  # fmt: skip


def _conditions(trials: Sequence[Trial]) -> tuple[str, ...]:
    """What must be the same for two numbers to be held against each other, as lab.compare.pairs has it.

    Where the boots of one cell do not agree all of their values stand there, so that nothing equals it.
    """
    environments = [t.environment for t in trials if t.environment is not None and t.outcome is Outcome.PASS]
    if not environments:
        return ()
    alike = ["accelerator", "nesting", "traced", "qemu_version", "memory_backing"]
    if trials[0].clock is Clock.REAL:
        alike += ["host_kernel", "host_cpu"]
    values = {name: sorted({str(getattr(one, name)) for one in environments}) for name in alike}
    return tuple(f"{name}: {one_line(MIXED.join(found), limit=120)}" for name, found in values.items())


def _numbers(box: Box, series: _Words) -> list[Any]:
    """[place of (metric, unit, clock), value of the first boot, of the second, ...]: boots that passed."""
    passed = [trial for trial in box.trials if trial.outcome is Outcome.PASS]
    found: dict[int, list[float | None]] = {}
    for n, trial in enumerate(passed):
        for one in trial.measurements[:MAX_NUMBERS]:
            place = series.place((one_line(one.metric, limit=80), one_line(one.unit, limit=20), one.clock))
            values = found.setdefault(place, [None] * len(passed))
            values[n] = _finite(one.value)
    return [[place, *values] for place, values in list(found.items())[:MAX_NUMBERS]]


def _name(text: str) -> str:
    return one_line(text, limit=120)


def _finite(value: float) -> float | int | None:
    """A number that JSON can hold; None, shown as "n/a", for one that no clock and no counter can show."""
    if not math.isfinite(value):
        return None
    return int(value) if value == int(value) and abs(value) < 2**53 else value
