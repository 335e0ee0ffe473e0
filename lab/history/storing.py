# SPDX-License-Identifier: GPL-2.0-or-later
"""Run folders into the index's tables."""

from __future__ import annotations

import json
import re
import sqlite3
import statistics
from collections.abc import Sequence

from lab.history.boots import Boot, text
from lab.history.model import Cell
from lab.history.reading import RunFacts
from lab.history.schema import CELL_ID
from lab.results.models import BROKEN, KernelRecord, Outcome
from lab.results.runfolder import RunFolder

BADNESS = (Outcome.PASS, Outcome.SKIP, Outcome.ERROR, Outcome.FAIL, Outcome.TIMEOUT, Outcome.CRASH)
"""From the best to the worst; what fails as expected is better than what fails otherwise."""

_RANK = {outcome: rank for rank, outcome in enumerate(BADNESS)}
_REVISION = re.compile(r"((?:tree|git):.+?)@(?:[^@]|@\{)+")
_SOURCE_PACKAGE = re.compile(r"package linux-source-\S+ ([0-9][0-9A-Za-z.+~-]*), ")


def forget(connection: sqlite3.Connection, name: str) -> None:
    """Take a run out."""
    row = connection.execute("SELECT id FROM runs WHERE name = ?", (name,)).fetchone()
    if row is None:
        return
    for table in ("entries", "standing", "shown"):
        connection.execute(f"DELETE FROM {table} WHERE run = ?", row)  # noqa: S608 - of this tuple
    connection.execute("DELETE FROM runs WHERE id = ?", row)


def store(connection: sqlite3.Connection, run: RunFolder, stamp: str, facts: RunFacts) -> None:
    """Put a run in, in the place of what was there of it."""
    name = text(run.path.name)
    forget(connection, name)
    record = facts.record
    run_id = _insert(
        connection,
        "INSERT INTO runs (name, path, workflow, created, finished, stamp, metrics, damaged)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            name,
            str(run.path),
            text(record.workflow, 40) if record else "",
            facts.created,
            int(record.finished) if record else 0,
            stamp,
            _metrics(facts),
            json.dumps(facts.damaged[:1000]),
        ),
    )
    connection.executemany("INSERT OR IGNORE INTO setups VALUES (?, ?)", facts.setups.items())
    kernels = {id_: _kernel(connection, id_, facts) for id_ in _kernel_ids(facts)}
    signatures: dict[tuple[str, str], int] = {}
    for cell, boots in facts.boots.items():
        _entry(connection, run_id, _cell(connection, cell), kernels, boots, signatures)
    connection.executemany(
        'INSERT INTO standing (run, "key", cell, stands) VALUES (?, ?, ?, ?)',
        [(run_id, one.key, _cell(connection, one.cell), one.run) for one in facts.standing],
    )


def _insert(connection: sqlite3.Connection, statement: str, values: Sequence[object]) -> int:
    return connection.execute(statement, values).lastrowid or 0


def _metrics(facts: RunFacts) -> str:
    """How the run's cases declare their metrics, as JSON; a case without one is left out."""
    if facts.record is None:
        return "{}"
    return json.dumps(
        {
            text(name): {text(metric, 100): told.model_dump() for metric, told in case.metrics.items()}
            for name, case in facts.record.cases.items()
            if case.metrics
        }
    )


def _kernel_ids(facts: RunFacts) -> list[str]:
    return list(dict.fromkeys(boot.kernel for boots in facts.boots.values() for boot in boots))


def _kernel(connection: sqlite3.Connection, id_: str, facts: RunFacts) -> int:
    record = facts.kernels.get(id_)
    row = (id_, id_, "", "", "")
    if record is not None:
        row = (id_, text(record.name), text(record.version, 100), text(exact(record)), commit_of(record))
    connection.execute("INSERT OR IGNORE INTO kernels VALUES (NULL, ?, ?, ?, ?, ?)", row)
    found = connection.execute(
        'SELECT id FROM kernels WHERE (kernel_id, name, version, exact, "commit") = (?, ?, ?, ?, ?)', row
    )
    return int(found.fetchone()[0])


def commit_of(record: KernelRecord) -> str:
    """The commit that the kernel was built from; "" if there is none, or what is said to be one is none."""
    return record.commit if re.fullmatch(r"[0-9a-f]{40}", record.commit) else ""


def exact(record: KernelRecord) -> str:
    """How --kernel takes this very kernel, without its series, however its name moves on."""
    name = record.name.partition(" + ")[0]
    if name.startswith(("git:", "tree:")) and (commit := commit_of(record)):
        match = _REVISION.fullmatch(name)
        return f"{match[1] if match else name}@{commit}"
    if name.startswith("source:") and (package := _SOURCE_PACKAGE.match(record.source)):
        return f"source:{package[1]}"
    return name


def _cell(connection: sqlite3.Connection, cell: Cell) -> int:
    row = (cell.kernel, cell.series, cell.kconfig, cell.machine, cell.case, str(cell.clock))
    found = connection.execute(CELL_ID, row).fetchone()
    if found is not None:
        return int(found[0])
    return _insert(connection, "INSERT INTO cells VALUES (NULL, ?, ?, ?, ?, ?, ?)", row)


def _entry(
    connection: sqlite3.Connection,
    run: int,
    cell: int,
    kernels: dict[str, int],
    boots: Sequence[Boot],
    signatures: dict[tuple[str, str], int],
) -> None:
    worst = max(boots, key=lambda boot: (boot.outcome in BROKEN and not boot.expected, _RANK[boot.outcome]))
    telling = [boot for boot in boots if boot.outcome not in (Outcome.SKIP, Outcome.ERROR)]
    entry = _insert(
        connection,
        "INSERT INTO entries VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            run,
            cell,
            kernels[worst.kernel],
            worst.key,
            worst.number,
            str(worst.outcome),
            worst.reason,
            worst.expected,
            words(*worst.signatures[0]) if worst.signatures else "",
            _median([boot.seconds for boot in boots]),
            worst.started,
            worst.digest,
            worst.setup,
            len(telling),
            sum(boot.outcome in BROKEN for boot in telling),
            json.dumps(_numbers(boots), separators=(",", ":")),
        ),
    )
    for kind_title in dict.fromkeys(s for boot in boots if not boot.expected for s in boot.signatures):
        if kind_title not in signatures:
            connection.execute("INSERT OR IGNORE INTO signatures VALUES (NULL, ?, ?)", kind_title)
            found = connection.execute("SELECT id FROM signatures WHERE (kind, title) = (?, ?)", kind_title)
            signatures[kind_title] = found.fetchone()[0]
        connection.execute("INSERT INTO shown VALUES (?, ?, ?)", (signatures[kind_title], run, entry))


def words(kind: str, title: str) -> str:
    """A signature in one line; a title that begins with its kind says it once."""
    return title if title.startswith(kind) else f"{kind}: {title}"


def _numbers(boots: Sequence[Boot]) -> dict[str, tuple[float, str, str]]:
    """Of the boots that passed, the median of each metric."""
    passed = [boot.numbers for boot in boots if boot.outcome is Outcome.PASS]
    if len(passed) <= 1:
        return passed[0] if passed else {}
    found: dict[str, tuple[float, str, str]] = {}
    for metric in dict.fromkeys(metric for numbers in passed for metric in numbers):
        values = [numbers[metric] for numbers in passed if metric in numbers]
        alike = [value for value, unit, clock in values if (unit, clock) == values[-1][1:]]
        found[metric] = (_median(alike), *values[-1][1:])
    return found


def _median(values: Sequence[float]) -> float:
    return values[0] if len(values) == 1 else statistics.median(values)
