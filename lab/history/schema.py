# SPDX-License-Identifier: GPL-2.0-or-later
"""The index's tables, and opening it. It holds nothing that the run folders do not: what is damaged, or of
another version, is made anew."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from lab import files, log
from lab.errors import InfraError

VERSION = 3
"""To be raised with any change of the tables or of what reading.py takes from a run folder."""

BUSY_SECONDS = 30.0
"""How long a query may wait for another lab that writes."""

TABLES = """
CREATE TABLE runs (
    id INTEGER PRIMARY KEY, name TEXT UNIQUE, path TEXT, workflow TEXT, created TEXT, finished INTEGER,
    stamp TEXT, metrics TEXT, damaged TEXT
);
CREATE INDEX runs_order ON runs (workflow, created, name);
CREATE TABLE cells (
    id INTEGER PRIMARY KEY, kernel TEXT, series TEXT, kconfig TEXT, machine TEXT, "case" TEXT, clock TEXT,
    UNIQUE (kernel, series, kconfig, machine, "case", clock)
);
CREATE TABLE kernels (
    id INTEGER PRIMARY KEY, kernel_id TEXT, name TEXT, version TEXT, exact TEXT, "commit" TEXT,
    UNIQUE (kernel_id, name, version, exact, "commit")
);
CREATE TABLE setups (digest TEXT PRIMARY KEY, conditions TEXT) WITHOUT ROWID;
CREATE TABLE entries (
    id INTEGER PRIMARY KEY, run INTEGER, cell INTEGER, kernel INTEGER, "key" TEXT, number INTEGER,
    outcome TEXT, reason TEXT, expected INTEGER, signature TEXT, seconds REAL, started TEXT, digest TEXT,
    setup TEXT, trials INTEGER, bad INTEGER, numbers TEXT
);
CREATE INDEX entries_run ON entries (run);
CREATE INDEX entries_cell ON entries (cell, run);
CREATE INDEX entries_kernel ON entries (kernel, digest, trials, bad, cell);
CREATE INDEX entries_seconds ON entries (cell, seconds) WHERE trials > 0 AND seconds > 0;
CREATE TABLE standing (run INTEGER, "key" TEXT, cell INTEGER, stands TEXT);
CREATE INDEX standing_run ON standing (run);
CREATE TABLE signatures (id INTEGER PRIMARY KEY, kind TEXT, title TEXT, UNIQUE (kind, title));
CREATE TABLE shown (signature INTEGER, run INTEGER, entry INTEGER, PRIMARY KEY (signature, run, entry))
    WITHOUT ROWID;
CREATE INDEX shown_run ON shown (run);
"""

CELL_ID = 'SELECT id FROM cells WHERE (kernel, series, kconfig, machine, "case", clock) = (?, ?, ?, ?, ?, ?)'


def connect(path: Path) -> sqlite3.Connection:
    """The index at `path`, made if there is none; one of another version, or a damaged one, is made anew.

    Raises InfraError if the disk does not let it be written.
    """
    with files.locked(_lock(path), what="the history index"):
        try:
            return _opened(path)
        except sqlite3.OperationalError as error:
            raise unusable(path, error) from error
        except sqlite3.DatabaseError as error:
            log.info(f"{path} is damaged ({error}): it is made anew from the run folders")
            remove(path)
        try:
            return _opened(path)
        except sqlite3.Error as error:
            raise unusable(path, error) from error


def _lock(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")


def _opened(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = WAL")  # readers and one writer at once
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute("PRAGMA cache_size = -65536")
        if connection.execute("PRAGMA user_version").fetchone()[0] != VERSION:
            _make(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _make(connection: sqlite3.Connection) -> None:
    """Drop what is there, and make the tables."""
    connection.execute("BEGIN IMMEDIATE")
    old = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    )
    for (name,) in old.fetchall():
        connection.execute(f'DROP TABLE "{name.replace(chr(34), chr(34) * 2)}"')
    for statement in TABLES.split(";"):
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.execute("COMMIT")


def remove(path: Path) -> None:
    """Remove the index and what SQLite keeps beside it."""
    for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
        path.with_name(name).unlink(missing_ok=True)


def unusable(path: Path, error: sqlite3.Error) -> InfraError:
    """The InfraError for what SQLite says of the index."""
    if "full" in str(error):
        hint = "`lab gc` frees what no run needs; LAB_STATE moves the folder to another disk"
    else:
        hint = f"it can be removed at any time: the next command makes it anew (rm {path})"
    return InfraError(f"the history index {path} cannot be used: {error}", hint=hint)
