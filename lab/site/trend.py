# SPDX-License-Identifier: GPL-2.0-or-later
"""How the numbers of a case moved over the nights: one page for each case, machine and clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lab.compare.words import amount, change_short
from lab.history.changes import metric_changes
from lab.history.model import ChangePoint, Entry, Point
from lab.history.rows import trends
from lab.report.clean import one_line
from lab.results.models import CaseRecord, Clock, MetricRecord
from lab.site.names import when
from lab.site.picture import Column, Row
from lab.site.trend_svg import Dot, Step, trend_plot

MAX_CHARTS = 60
"""Drawings on one page; the trends beyond it are told by their extremes."""

MAX_METRICS = 32


@dataclass(frozen=True)
class Change:
    """A change point in words."""

    metric: str
    column: Column
    row: Row
    unit: str
    clock: str
    before: str
    after: str
    change: str
    decision: str  # better, worse, changed
    since: str  # the last night of the old level: "2026-11-20, 6.12.42-1"
    until: str
    run: str  # the first of the new level
    started: str
    note: str


@dataclass(frozen=True)
class Trend:
    """One metric of one kernel over time."""

    column: Column
    words: str  # where nothing moved, or what is not drawn: told instead of drawn
    svg: str
    changes: list[Change]


@dataclass(frozen=True)
class MetricTrends:
    """One metric of a page."""

    name: str
    title: str
    unit: str
    clock: str
    better: str
    judged: bool
    trends: list[Trend]


def metric_trends(
    row: Row,
    histories: Mapping[Column, Sequence[Entry]],
    case: CaseRecord | None,
    nights: Mapping[str, str],
) -> list[MetricTrends]:
    """All trends of a row.

    A history holds the nights of one cell, the oldest first; `nights` says when each of them was, by its run.
    """
    kernels = {one.kernel_id: one.version or one.kernel_name for past in histories.values() for one in past}
    found = {column: trends(past) for column, past in histories.items()}
    declared = case.metrics if case else {}
    names = list(dict.fromkeys([*declared, *(name for metrics in found.values() for name in metrics)]))
    page = _Page(row, histories, kernels, nights)
    return [
        page.metric(name, declared.get(name), {c: metrics.get(name, []) for c, metrics in found.items()})
        for name in names[:MAX_METRICS]
    ]


class _Page:
    """What the trends of one page share."""

    def __init__(
        self,
        row: Row,
        histories: Mapping[Column, Sequence[Entry]],
        kernels: Mapping[str, str],
        nights: Mapping[str, str],
    ) -> None:
        self.row = row
        self.histories = histories
        self.kernels = kernels
        self.nights = nights
        self.left = MAX_CHARTS

    def metric(
        self, name: str, declared: MetricRecord | None, found: Mapping[Column, Sequence[Point]]
    ) -> MetricTrends:
        last = next((points[-1] for points in found.values() if points), None)
        planned = self.row.clock if declared and declared.unit == "time" else Clock.COUNT
        clock = last.clock if last else planned
        title = one_line(declared.title if declared else name, limit=80)
        judged = clock is not Clock.FUNCTIONAL
        by = declared if judged else None
        return MetricTrends(
            name=one_line(name, limit=80),
            title=title,
            unit=one_line(last.unit, limit=20) if last else "n/a",
            clock=str(clock),
            better=declared.better if declared else "",
            judged=judged,
            trends=[self._trend(column, title, by, points) for column, points in found.items()],
        )

    def _trend(
        self, column: Column, title: str, declared: MetricRecord | None, points: Sequence[Point]
    ) -> Trend:
        if not points:
            return Trend(column, "n/a: no night gave this number", "", [])
        low, high = min(point.value for point in points), max(point.value for point in points)
        if low == high:
            times = f"in each of {len(points)} nights" if len(points) > 1 else "in the only night"
            return Trend(column, f"{amount(low)} {times}", "", [])
        found = metric_changes(points, declared) if declared else []
        changes = [self._change(column, title, declared, change) for change in found]
        if self.left <= 0:
            words = f"{amount(low)} to {amount(high)} in {len(points)} nights; not drawn: this page is full"
            return Trend(column, words, "", changes)
        self.left -= 1
        return Trend(column, "", self._drawing(column, title, points, found, changes), changes)

    def _drawing(
        self,
        column: Column,
        title: str,
        points: Sequence[Point],
        found: Sequence[ChangePoint],
        changes: Sequence[Change],
    ) -> str:
        values = {point.run: point.value for point in points}
        past = self.histories[column]
        # Nights before the first number are no gap: there was nothing to measure yet.
        first = next(n for n, one in enumerate(past) if one.run in values)
        dots = [Dot(self._place(one), values.get(one.run)) for one in past[first:]]
        places = {one.run: n for n, one in enumerate(past[first:])}
        steps = [
            Step(places[one.at.run], one.before, one.after, told.change, told.decision)
            for one, told in zip(found, changes, strict=True)
        ]
        return trend_plot(
            dots,
            steps,
            title=f"{title}, {one_line(column.label, limit=120)}",
            unit=one_line(points[-1].unit, limit=20),
            first=self._day(past[first]),
            last=self._day(past[-1]),
        )

    def _kernel(self, one: Point | Entry) -> str:
        return one_line(self.kernels.get(one.kernel_id, one.kernel_id), limit=60)

    def _day(self, one: Point | Entry) -> str:
        return when(self.nights.get(one.run, one.started))[:10]

    def _place(self, one: Point | Entry) -> str:
        return f"{self._day(one)}, {self._kernel(one)}"

    def _change(self, column: Column, title: str, declared: MetricRecord | None, one: ChangePoint) -> Change:
        rose = one.after > one.before
        if declared is None or not one.alike:
            decision = "changed"
        else:
            decision = "better" if rose == (declared.better == "higher") else "worse"
        last = one.last
        return Change(
            metric=title,
            column=column,
            row=self.row,
            unit=one_line(one.at.unit, limit=20),
            clock=str(one.at.clock),
            before=amount(one.before),
            after=amount(one.after),
            change=change_short(one.change) if one.change is not None else "n/a",
            decision=decision,
            since=self._place(last) if last else "",
            until=self._place(one.at),
            run=one.at.run,
            started=self.nights.get(one.at.run, one.at.started),
            note="" if one.alike else "case, QEMU or host changed as well: not held against the kernel",
        )
