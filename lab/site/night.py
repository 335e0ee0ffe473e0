# SPDX-License-Identifier: GPL-2.0-or-later
"""The pages of one night: its matrix, its trials and, of the newest night, the trends of its cases."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence

from lab.errors import InfraError
from lab.history.commands import run_command
from lab.history.index import Index
from lab.history.model import Entry, Night
from lab.history.regressions import Regression, new_since
from lab.report.rows import CLOCK_WORDS
from lab.results.models import Outcome
from lab.results.night import read_night
from lab.results.runfolder import RunFolder
from lab.site.lines import KernelLine, Listed, News, Other, Past, Summary, between
from lab.site.names import (
    console_file,
    homely,
    matrix_name,
    night_data,
    night_page,
    trend_page,
    trial_page,
    when,
)
from lab.site.payload import night_script
from lab.site.picture import Box, Column, Picture, Row, read_picture
from lab.site.rendering import Pages
from lab.site.trend import Change, metric_trends
from lab.site.trial import broken, read_trial_view
from lab.waiting import check_stop

TREND_NIGHTS = 60
"""Nights that a trend goes back."""

MAX_LISTED = 200
"""Lines of each list beside the matrix; how many more there are is told."""

MAX_EVIDENCE = {True: 150 << 20, False: 15 << 20}
"""Bytes that the consoles of failed trials may take, of the newest night and of each other. When a kernel
fails in thousands of cells, the later ones have their last lines alone."""

MAX_NEWS = 40
MAX_OTHERS = 50
"""Other boots of its cell that a trial's page names."""


class NightPages:
    """Writes what belongs to one night. Raises InfraError at once if its run.json cannot be read."""

    def __init__(
        self, pages: Pages, index: Index, night: Night, before: Night | None, *, newest: bool
    ) -> None:
        self._pages, self._index = pages, index
        self._before, self._newest = before, newest
        self.picture = _picture(index, night)
        self.run = self.picture.name
        self.trials = 0
        self.trend_pages: dict[Row, str] = {}
        self._changes: list[Change] = []
        self._evidence = 0
        self._created = {one.run: one.created for one in index.nights()}
        self._rates = index.all_rates(self.run)
        self._news = new_since(index, self.run) if before else []

    def write(self) -> None:
        """All pages of the night."""
        by_row: dict[Row, list[Box]] = {row: [] for row in self.picture.rows}
        for box in self.picture.boxes:
            by_row[box.row].append(box)
        for row, boxes in by_row.items():
            check_stop()
            self._row(row, boxes)
        script = night_script(
            self.picture,
            news=frozenset(one.cell for one in self._news if one.alarm),
            rates=self._rates,
            trends=frozenset(self.trend_pages.values()),
            pages=self._pages.trials,
        )
        self._pages.file(night_data(self.run), script)
        self._night_page(night_page(self.run))
        if self._newest:
            self._night_page("index.html")
            self._trend_index()

    def summary(self) -> Summary:
        picture = self.picture
        return Summary(
            run=self.run,
            when=when(picture.record.created),
            page=night_page(self.run),
            data=night_data(self.run),
            finished=picture.record.finished,
            counts=picture.counts(),
            new=sum(one.alarm for one in self._news),
            cells=len(picture.boxes),
        )

    def _row(self, row: Row, boxes: Sequence[Box]) -> None:
        """The trials of a row, and what its numbers did over the nights."""
        trend = trend_page(row)
        histories: dict[Column, list[Entry]] = {}
        for box in boxes:
            shown = box.trials and (self._newest or broken(box.trials))
            if not shown and not self._newest:
                continue
            past = self._index.past(box.cell, TREND_NIGHTS, until=self.run)
            histories[box.column] = past[::-1]
            if shown:
                self._trial_pages(box, past, trend)
        if self._newest:
            self._trends(row, histories, trend)

    def _trends(self, row: Row, histories: dict[Column, list[Entry]], page: str) -> None:
        case = self.picture.record.cases.get(row.case)
        metrics = metric_trends(row, histories, case, self._created)
        if not any(histories.values()):
            return
        setups = dict.fromkeys(past[-1].setup for past in histories.values() if past and past[-1].setup)
        accelerators = [self._index.conditions(setup).get("accelerator", "") for setup in setups]
        self.trend_pages[row] = page
        self._changes += [change for metric in metrics for trend in metric.trends for change in trend.changes]
        self._pages.page(
            page,
            "trend.html.j2",
            row=row,
            case=case,
            metrics=metrics,
            words=CLOCK_WORDS[row.clock],
            accelerator=" and ".join(sorted(set(filter(None, accelerators)))) or "n/a",
        )

    def _trial_pages(self, box: Box, past: Sequence[Entry], trend: str) -> None:
        """One page for each boot of a cell."""
        folder = RunFolder(self.picture.run.path.parent / box.run)
        entry = next((one for one in past if one.run == box.run), None)
        for trial in box.trials:
            kernel = self.picture.kernels.get(trial.kernel)
            case = self.picture.record.cases.get(trial.case)
            brief = self._evidence > MAX_EVIDENCE[self._newest]
            view = read_trial_view(folder.trial_path(trial.key), trial, case, kernel, brief=brief)
            console = ""
            if view.raw_console is not None:
                console = console_file(box.run, trial.key)
                self._pages.file(console, view.raw_console)
                self._evidence += len(view.raw_console) + sum(map(len, view.console))
            self._pages.trials.add((box.run, trial.key))
            others = [t for t in box.trials if t is not trial][:MAX_OTHERS]
            self._pages.page(
                trial_page(box.run, trial.key),
                "trial.html.j2",
                v=view,
                column=box.column,
                run=box.run,
                night_page=night_page(self.run),
                trend=trend if self._newest else "",
                others=[Other(trial_page(box.run, t.key), t.repeat, str(t.outcome)) for t in others],
                past=[self._told(entry) for entry in past],
                rate=self._rates.get(box.cell),
                reproduce=run_command(self._index, box.cell, entry) if entry else "",
                console_page=console,
            )
            self.trials += 1

    def _news_line(self, one: Regression) -> News:
        return News(one, between(one.before, one.now), self._page_at(one.now.run, one.now.key))

    def _page_at(self, run: str, key: str) -> str:
        return trial_page(run, key) if (run, key) in self._pages.trials else ""

    def _told(self, entry: Entry) -> Past:
        page = self._page_at(entry.run, entry.key)
        return Past(
            str(entry.outcome), entry.expected, when(self._created.get(entry.run, entry.started))[:10], page
        )

    def _night_page(self, name: str) -> None:
        picture = self.picture
        bad = [box for box in picture.boxes if box.outcome not in (Outcome.PASS, Outcome.SKIP)]
        alarms = [one for one in self._news if one.alarm]
        others = [one for one in self._news if not one.alarm]
        left_out = picture.night.left_out if picture.night else ()
        signatures = self._index.signatures(self.run)
        self._pages.page(
            name,
            "night.html.j2",
            night={
                "run": self.run,
                "when": when(picture.record.created),
                "data": night_data(self.run),
                "cells": len(picture.boxes),
                "rows": len(picture.rows),
                "matrix": matrix_name(picture.night.matrix) if picture.night else "",
                "finished": picture.record.finished,
                "interrupted": picture.record.interrupted,
                "before": when(self._before.created) if self._before else "",
                "counts": picture.counts(),
                "kernels": self._kernels(),
            }
            | _bounded("news", [self._news_line(one) for one in alarms[:MAX_NEWS]], len(alarms))
            | _bounded("others", [self._news_line(one) for one in others[:MAX_NEWS]], len(others))
            | _bounded("bad", [self._listed(box) for box in bad[:MAX_LISTED]], len(bad))
            | _bounded("signatures", signatures[:MAX_LISTED], len(signatures))
            | _bounded("still_broken", picture.still_broken[:MAX_LISTED], len(picture.still_broken))
            | _bounded("left_out", left_out[:MAX_LISTED], len(left_out))
            | _bounded("damaged", picture.damaged[:MAX_LISTED], len(picture.damaged)),
        )

    def _kernels(self) -> list[KernelLine]:
        picture = self.picture
        return [
            KernelLine(
                column,
                picture.kernels.get(picture.booted.get(column, "")),
                homely(picture.problems.get(column, "")),
                column in picture.at_fault,
                picture.moved.get(column, ""),
            )
            for column in picture.columns
        ]

    def _listed(self, box: Box) -> Listed:
        worst = box.worst
        return Listed(
            box.column,
            box.row,
            box.outcome,
            worst is not None and worst.as_expected,
            worst.reason if worst else homely(box.why),
            self._page_at(box.run, worst.key) if worst else "",
        )

    def _trend_index(self) -> None:
        topics: dict[str, list[tuple[Row, str]]] = {}
        for row, page in self.trend_pages.items():
            topics.setdefault(row.topic, []).append((row, page))
        newest = sorted(self._changes, key=lambda change: change.started, reverse=True)
        self._pages.page(
            "trends.html",
            "trends.html.j2",
            topics=sorted(topics.items()),
            changes=newest[:MAX_LISTED],
            more=max(0, len(newest) - MAX_LISTED),
        )


def _bounded(name: str, shown: Sequence[object], total: int) -> dict[str, object]:
    """A list for a page, and how many of it the page does not show."""
    return {name: shown, f"more_{name}": total - len(shown)}


def _picture(index: Index, night: Night) -> Picture:
    """The night, with the trials of earlier runs that stand for what had not changed."""
    run = RunFolder(night.path)
    known = {one.run: one.path for one in index.nights()}
    wanted = sorted({name for name in _standing(run) if name in known and name != night.run})
    earlier = {}
    for name in wanted:
        with contextlib.suppress(InfraError):  # it is told where it is shown as a night of its own
            earlier[name] = read_picture(RunFolder(known[name]))
    return read_picture(run, earlier)


def _standing(run: RunFolder) -> Iterable[str]:
    try:
        return read_night(run).unchanged.values()
    except InfraError:
        return ()
