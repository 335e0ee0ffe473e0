# SPDX-License-Identifier: GPL-2.0-or-later
"""Bringing the index up to what lies on the disk: only folders that have changed are read."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from lab import files, log
from lab.history.boots import text
from lab.history.model import Refreshed
from lab.history.reading import read_run, stamp
from lab.history.storing import forget, store
from lab.results.runfolder import RunFolder
from lab.waiting import check_stop

LOCK_SECONDS = 300.0
"""How long another lab may take to refresh: five times what 100,000 trials may take."""

RACY_SECONDS = 1.0
"""A folder that changed so lately may change again without a new time: it is read once more the next time."""

MANY = 20
"""From so many folders on, the user is told what takes time."""


def refresh(connection: sqlite3.Connection, path: Path, runs: Sequence[RunFolder]) -> Refreshed:
    """See Index.refresh. Raises what sqlite3 raises, InfraError if another lab refreshes for minutes."""
    with files.locked(
        path.with_name(f".{path.name}.refresh"), what="the history index", seconds=LOCK_SECONDS
    ):
        known = dict(connection.execute("SELECT name, stamp FROM runs").fetchall())
        stamps = _stamps(runs)
        gone = [name for name in known if name not in stamps]
        with _transaction(connection):
            for name in gone:
                forget(connection, name)
        there = [run for run in runs if text(run.path.name) in stamps]
        changed = [run for run in there if known.get(name := text(run.path.name)) != stamps[name]]
        with log.step(f"reading {len(changed)} runs") if len(changed) >= MANY else contextlib.nullcontext():
            for run in changed:
                check_stop()
                _take_in(connection, run, stamps[text(run.path.name)])
        damaged = [
            sentence
            for (raw,) in connection.execute("SELECT damaged FROM runs WHERE damaged != '[]' ORDER BY name")
            for sentence in json.loads(raw)
        ]
        added = tuple(run.path.name for run in changed)
        return Refreshed(added, tuple(gone), len(there) - len(changed), tuple(damaged))


def _stamps(runs: Sequence[RunFolder]) -> dict[str, str]:
    found: dict[str, str] = {}
    for run in runs:
        with contextlib.suppress(OSError):  # it went in this moment
            found[text(run.path.name)] = stamp(run)
    return found


def _take_in(connection: sqlite3.Connection, run: RunFolder, seen: str) -> None:
    facts = read_run(run)
    with _transaction(connection):
        store(connection, run, "" if _racy(seen) else seen, facts)


def _racy(seen: str) -> bool:
    newest = max(int(part.rpartition(".")[2]) for part in seen.split() if part != "-")
    return time.time_ns() - newest < RACY_SECONDS * 1e9


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing; other labs wait, and read what was before."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
