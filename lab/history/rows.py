# SPDX-License-Identifier: GPL-2.0-or-later
"""Rows of the index's tables as values."""

from __future__ import annotations

import contextlib
import gc
import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from lab.history.model import Cell, Entry, Measured, Point
from lab.history.schema import unusable
from lab.results.models import Clock, Outcome

_ENTRY = """
    SELECT e.cell, r.name, e."key", e.number, k.kernel_id, k.name, e.outcome, e.reason, e.expected,
        e.signature, e.seconds, e.started, e.numbers, k.exact, k.version, k."commit", e.digest, e.setup,
        e.trials, e.bad
    FROM {source} JOIN runs r ON r.id = e.run JOIN kernels k ON k.id = e.kernel
"""
_CLOCKS = {str(clock): clock for clock in Clock}
_OUTCOMES = {str(outcome): outcome for outcome in Outcome}


@contextlib.contextmanager
def fast() -> Iterator[None]:
    """Make many values at once: the garbage collector would look at all of them again and again, in vain,
    and take half of the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


class Rows:
    """One connection to the index, and the cells that were read through it."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        self._cells: dict[int, Cell] = {}
        self._answers: dict[tuple[object, ...], list[Any]] = {}

    def _asked(self, query: str, *values: object) -> list[Any]:
        """`_rows` of what is asked again and again, answered from memory until the next refresh."""
        key = (query, *values)
        if key not in self._answers:
            self._answers[key] = self._rows(query, *values)
        return self._answers[key]

    def _rows(self, query: str, *values: object) -> list[Any]:
        try:
            return self._connection.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise unusable(self.path, error) from error

    def _entries(self, source: str, where: str, *values: object) -> list[Entry]:
        """Entries `e` of runs `r` with kernels `k`; `source` names what is joined with `entries e`."""
        rows = self._rows(_ENTRY.format(source=source) + where, *values)
        self._know([row[0] for row in rows])
        with fast():
            return [_entry(self._cells[row[0]], row) for row in rows]

    def _know(self, cells: Sequence[int]) -> None:
        """Have the cells of these ids at hand."""
        if any(cell not in self._cells for cell in cells):
            query = 'SELECT id, kernel, series, kconfig, machine, "case", clock FROM cells'
            self._cells = {row[0]: _cell(row) for row in self._rows(query)}


def _cell(row: Any) -> Cell:
    return Cell(row[1], row[2], row[3], row[4], row[5], _CLOCKS[row[6]])


def _entry(cell: Cell, row: Any) -> Entry:
    numbers = _numbers(row[12])
    values: Any = (*row[1:6], _OUTCOMES[row[6]], row[7], bool(row[8]), *row[9:12], numbers, *row[13:])
    return Entry(cell, *values)


def _numbers(raw: str) -> dict[str, Measured]:
    return {
        metric: Measured(value, unit, _CLOCKS[clock])
        for metric, (value, unit, clock) in json.loads(raw).items()
    }


def trends(entries: Iterable[Entry]) -> dict[str, list[Point]]:
    """The trend of each metric, in the order of the entries."""
    found: dict[str, list[Point]] = {}
    for entry in entries:
        for metric, measured in entry.measurements.items():
            place = (entry.run, entry.started, entry.kernel_id)
            number = (measured.value, measured.unit, measured.clock)
            found.setdefault(metric, []).append(Point(*place, *number, entry.digest, entry.setup))
    return found
