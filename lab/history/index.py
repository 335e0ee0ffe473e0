# SPDX-License-Identifier: GPL-2.0-or-later
"""The index over run folders: what thousands of trials said, found in a moment.

It can be removed at any time; `refresh` makes it again from the folders. Several labs may use it at once.
Only nights make the history of a cell (`past`, `trend`, last good and first bad): other runs are made for all
kinds of kernels. Flake rates, durations and the first sight of a signature are taken from every run.
"""

from __future__ import annotations

import json
import sqlite3
import statistics
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

from lab import files, log
from lab.history import schema
from lab.history.model import Cell, Entry, Night, Point, Rate, Refreshed, Signature
from lab.history.rates import rate
from lab.history.refreshing import refresh
from lab.history.rows import Rows, fast, trends
from lab.results.models import MetricRecord
from lab.results.night import WORKFLOW
from lab.results.runfolder import RunFolder

FILE = "history.sqlite"

_GOOD = "(e.outcome = 'PASS' OR e.expected)"
_BROKEN = "(e.outcome IN ('FAIL', 'CRASH', 'TIMEOUT') AND NOT e.expected)"
_UNTIL = "r.workflow = ? AND (r.created, r.name) <= (?, ?)"


class Index(Rows):
    """One connection to the index; of one thread. Every method may raise InfraError if it is damaged."""

    @classmethod
    def open(cls, path: Path | None = None) -> Index:
        """The index of this state folder; made anew if it is damaged or of another version."""
        path = path or files.state_dir(".") / FILE
        return cls(path, schema.connect(path))

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Index:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def refresh(self, runs: Iterable[RunFolder]) -> Refreshed:
        """Take in what is new or has changed, take out what is gone; what is damaged is told, never fatal."""
        found = list(runs)
        self._answers.clear()
        try:
            return refresh(self._connection, self.path, found)
        except sqlite3.OperationalError as error:
            raise schema.unusable(self.path, error) from error
        except sqlite3.DatabaseError as error:
            log.info(f"{self.path} is damaged ({error}): it is made anew from the run folders")
        self._connection.close()
        self._cells = {}
        schema.remove(self.path)
        self._connection = schema.connect(self.path)
        return refresh(self._connection, self.path, found)

    def nights(self) -> list[Night]:
        """All nights, newest first."""
        counted: dict[int, dict[str, int]] = {}
        query = (
            "SELECT e.run, e.outcome, COUNT(*) FROM entries e JOIN runs r ON r.id = e.run"
            " WHERE r.workflow = ? GROUP BY e.run, e.outcome"
        )
        for run, outcome, number in self._rows(query, WORKFLOW):
            counted.setdefault(run, {})[outcome] = number
        rows = self._rows(
            "SELECT id, name, created, finished, path FROM runs WHERE workflow = ?"
            " ORDER BY created DESC, name DESC",
            WORKFLOW,
        )
        return [
            Night(name, created, bool(finished), counted.get(run, {}), Path(path))
            for run, name, created, finished, path in rows
        ]

    def metrics(self, run: str) -> dict[tuple[str, str], MetricRecord]:
        """How the run's cases declare their metrics, by case and metric."""
        rows = self._rows("SELECT metrics FROM runs WHERE name = ?", run)
        return {
            (case, metric): MetricRecord.model_validate(told)
            for (raw,) in rows
            for case, metrics in json.loads(raw).items()
            for metric, told in metrics.items()
        }

    def conditions(self, setup: str) -> dict[str, str]:
        """What an Entry.setup stands for: QEMU, accelerator, ... by name."""
        rows = self._asked("SELECT conditions FROM setups WHERE digest = ?", setup)
        return {str(name): str(value) for (raw,) in rows for name, value in json.loads(raw).items()}

    def folder(self, run: str) -> Path:
        """Where the run lies."""
        rows = self._rows("SELECT path FROM runs WHERE name = ?", run)
        return Path(rows[0][0] if rows else run)

    def kernels(self, run: str) -> int:
        """How many kernels a run has."""
        query = "SELECT COUNT(DISTINCT e.kernel) FROM entries e JOIN runs r ON r.id = e.run WHERE r.name = ?"
        return int(self._asked(query, run)[0][0])

    def cells(self, run: str) -> list[Entry]:
        """What each cell of a run came to. One that was left out, because the result of an earlier night
        stands for it, is that night's entry."""
        own = self._entries("entries e", "WHERE r.name = ? ORDER BY e.number", run)
        stood = self._entries(
            "standing s JOIN runs n ON n.id = s.run JOIN entries e ON e.cell = s.cell",
            "WHERE n.name = ? AND r.name = s.stands ORDER BY s.rowid",
            run,
        )
        return own + stood

    def past(self, cell: Cell, limit: int = 60, *, until: str | None = None) -> list[Entry]:
        """The cell in the last nights (up to and with the run `until`), newest first."""
        where = f"WHERE e.cell = ? AND {_UNTIL} ORDER BY r.created DESC, r.name DESC LIMIT ?"
        return self._of_cell(cell, until, where, limit)

    def last_good(self, cell: Cell, *, until: str | None = None) -> Entry | None:
        """The cell in the newest night in which it passed, or failed as it is known to."""
        where = f"WHERE e.cell = ? AND {_UNTIL} AND {_GOOD} ORDER BY r.created DESC, r.name DESC LIMIT 1"
        return next(iter(self._of_cell(cell, until, where)), None)

    def first_bad(self, cell: Cell, *, until: str | None = None) -> Entry | None:
        """The first night after the last good one in which the cell broke; None if it is not broken."""
        good = self.last_good(cell, until=until)
        after = self._order(good.run) if good else ("", "")
        where = f"""WHERE e.cell = ? AND {_UNTIL} AND {_BROKEN} AND (r.created, r.name) > (?, ?)
            ORDER BY r.created, r.name LIMIT 1"""
        return next(iter(self._of_cell(cell, until, where, *after)), None)

    def trend(self, cell: Cell, metric: str, limit: int = 1000) -> list[Point]:
        """A metric over the nights in which the cell passed, oldest first."""
        past = self.past(cell, limit)
        return trends(reversed(past)).get(metric, [])

    def all_past(self, run: str, limit: int = 60) -> dict[Cell, list[Entry]]:
        """`past` up to this run of every cell that the run has, newest first."""
        nights = [night.run for night in self.nights() if (night.created, night.run) <= self._order(run)]
        wanted = "SELECT cell FROM entries WHERE run = n.id UNION SELECT cell FROM standing WHERE run = n.id"
        marks = ", ".join("?" * len(nights[:limit]))
        found = self._entries(
            "runs n JOIN entries e",
            f"""WHERE n.name = ? AND r.name IN ({marks}) AND e.cell IN ({wanted})
            ORDER BY r.created DESC, r.name DESC, e.number""",
            run,
            *nights[:limit],
        )
        past: dict[Cell, list[Entry]] = {}
        with fast():
            for entry in found:
                past.setdefault(entry.cell, []).append(entry)
        return past

    def all_trends(self, run: str, limit: int = 60) -> dict[Cell, dict[str, list[Point]]]:
        """`trend` up to this run of every metric of every cell that the run has, oldest first."""
        past = self.all_past(run, limit)
        with fast():
            return {cell: trends(reversed(entries)) for cell, entries in past.items()}

    def flakes(self, cell: Cell) -> Rate:
        """How often the cell fails on its newest kernel, over all trials of that kernel, case and machine."""
        newest = next((entry for entry in self.past(cell, 1)), None)
        if newest is None:
            return rate(0, 0)
        ((bad, total),) = self._rows(
            "SELECT COALESCE(SUM(e.bad), 0), COALESCE(SUM(e.trials), 0) FROM kernels k"
            " JOIN entries e ON e.kernel = k.id JOIN cells c ON c.id = e.cell"
            ' WHERE k.kernel_id = ? AND e.digest = ? AND (c.machine, c."case", c.clock) = (?, ?, ?)',
            *(newest.kernel_id, newest.digest, cell.machine, cell.case, str(cell.clock)),
        )
        return rate(bad, total)

    def all_rates(self, run: str) -> dict[Cell, Rate]:
        """`flakes` of every cell that the run has, with the kernel that it had there."""
        sums = {
            tuple(key): (bad, total)
            for *key, bad, total in self._rows(
                'SELECT k.kernel_id, e.digest, c.machine, c."case", c.clock, SUM(e.bad), SUM(e.trials)'
                " FROM entries e JOIN kernels k ON k.id = e.kernel JOIN cells c ON c.id = e.cell"
                ' GROUP BY k.kernel_id, e.digest, c.machine, c."case", c.clock'
            )
        }
        found = {}
        for entry in self.cells(run):
            cell = entry.cell
            key = (entry.kernel_id, entry.digest, cell.machine, cell.case, str(cell.clock))
            found[cell] = rate(*sums.get(key, (0, 0)))
        return found

    def signatures(self, run: str) -> list[Signature]:
        """Every way in which cells of a run failed against expectation; the commonest first."""
        rows = self._rows(
            """
            SELECT s.kind, s.title, COUNT(*) AS number,
                (SELECT r.name FROM shown o JOIN runs r ON r.id = o.run WHERE o.signature = s.id
                    ORDER BY r.created, r.name LIMIT 1),
                NOT EXISTS (SELECT 1 FROM shown o JOIN runs r ON r.id = o.run WHERE o.signature = s.id
                    AND r.workflow = ? AND (r.created, r.name) < (n.created, n.name))
            FROM runs n JOIN shown h ON h.run = n.id JOIN signatures s ON s.id = h.signature
            WHERE n.name = ? GROUP BY s.id ORDER BY number DESC, s.kind, s.title
            """,
            WORKFLOW,
            run,
        )
        return [Signature(kind, title, number, first, bool(new)) for kind, title, number, first, new in rows]

    def showing(self, run: str, kind: str, title: str) -> list[Entry]:
        """The cells of a run that show a signature."""
        return self._entries(
            "signatures s JOIN shown h ON h.signature = s.id JOIN entries e ON e.id = h.entry",
            "WHERE s.kind = ? AND s.title = ? AND r.name = ? ORDER BY e.number",
            kind,
            title,
            run,
        )

    def differing(self, run: str) -> list[Cell]:
        """The cells of a night in which anything differs from the newest night before that says something
        about them, and those that have none; on the real clock numbers always do."""
        order = "(o.created, o.name) < (r.created, r.name)"
        before = f"""SELECT p.id FROM entries p JOIN runs o ON o.id = p.run
            WHERE p.cell = e.cell AND o.workflow = ? AND {order} AND p.trials > 0
            ORDER BY o.created DESC, o.name DESC LIMIT 1"""  # noqa: S608 - of these texts
        entries = self._rows(
            f"""SELECT e.cell FROM entries e JOIN runs r ON r.id = e.run
            LEFT JOIN entries b ON b.id = ({before})
            WHERE r.name = ? AND (b.id IS NULL OR (e.outcome, e.expected, e.signature, e.numbers)
                != (b.outcome, b.expected, b.signature, b.numbers)) ORDER BY e.number""",  # noqa: S608
            WORKFLOW,
            run,
        )
        self._know([row[0] for row in entries])
        return [self._cells[cell] for (cell,) in entries]

    def durations(self) -> dict[tuple[str, str, str], float]:
        """Median host seconds of a boot, by case, machine and clock."""
        seconds: dict[tuple[str, str, str], list[float]] = {}
        cells = {id_: names for id_, *names in self._rows('SELECT id, "case", machine, clock FROM cells')}
        for cell, taken in self._rows("SELECT cell, seconds FROM entries WHERE trials > 0 AND seconds > 0"):
            case, machine, clock = cells[cell]
            seconds.setdefault((case, machine, clock), []).append(taken)
        return {key: statistics.median(values) for key, values in seconds.items()}

    def _of_cell(self, cell: Cell, until: str | None, where: str, *more: object) -> list[Entry]:
        order = self._order(until) if until is not None else ("~", "~")  # after any time
        number = self._rows(
            schema.CELL_ID,
            *(cell.kernel, cell.series, cell.kconfig, cell.machine, cell.case, str(cell.clock)),
        )
        return self._entries("entries e", where, *number[0], WORKFLOW, *order, *more) if number else []

    def _order(self, run: str) -> tuple[str, str]:
        rows = self._rows("SELECT created, name FROM runs WHERE name = ?", run)
        return (rows[0][0], rows[0][1]) if rows else ("", "")
