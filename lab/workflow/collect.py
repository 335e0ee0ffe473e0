# SPDX-License-Identifier: GPL-2.0-or-later
"""Garbage: what no run needs, and what killed labs left behind."""

from __future__ import annotations

import contextlib
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from lab import files
from lab.errors import InfraError, UserError
from lab.history.index import FILE as HISTORY
from lab.results.night import read_night
from lab.results.runfolder import RunFolder, all_runs

SELF_MANAGED = {"apt", "ccache", "cluster"}
"""Caches whose own programs replace what is old; they go as a whole, with `everything`."""


@dataclass(frozen=True)
class Garbage:
    """One thing that can go."""

    path: Path
    size: int  # bytes
    why: str


def find_garbage(*, days: float, everything: bool) -> list[Garbage]:
    """Runs and cached files that nobody has used for `days`; with `everything`, all caches."""
    found = [*_leftovers(), *_old_runs(days)]
    # The index over runs is made again when it is needed: of the state folder, it alone is a cache.
    candidates = sorted(files.state_dir("dry-runs").iterdir())
    index = sorted(files.state_dir(".").glob(f"{HISTORY}*"))
    if everything:
        found += [Garbage(path, _size(path), "index over runs") for path in index]
    else:
        candidates += index
    for kind in sorted(files.cache_dir(".").iterdir()):
        if everything:
            found.append(Garbage(kind, _size(kind), "cache"))
        elif kind.is_dir() and kind.name not in SELF_MANAGED:
            candidates += sorted(kind.iterdir())
    for path in candidates:
        if not path.name.startswith(".") and _idle_days(path) > days:
            found.append(Garbage(path, _size(path), f"unused for {days:g} days"))
    return found


def _leftovers() -> list[Garbage]:
    left = files.leftovers()
    return [Garbage(path, _size(path), "left by a lab that was killed") for path in left]


def _old_runs(days: float) -> list[Garbage]:
    runs = all_runs()
    old = [run.path for run in runs if _days_since((run.path / "run.json").stat().st_mtime) > days]
    needed = _standing([run for run in runs if run.path not in old])
    return [
        Garbage(path, _size(path), f"run older than {days:g} days") for path in old if path.name not in needed
    ]


def _standing(kept: list[RunFolder]) -> set[str]:
    """The runs whose results stand for cells that later nights left out, because nothing had changed."""
    found: set[str] = set()
    for run in kept:
        with contextlib.suppress(InfraError):
            found |= set(read_night(run).unchanged.values())
    return found


def _idle_days(path: Path) -> float:
    """Days since a file of it was read or written; on a disk mounted noatime, since it was written."""
    found = [item.lstat() for item in [path, *path.rglob("*")] if not item.is_dir()]
    return _days_since(max((max(one.st_atime, one.st_mtime) for one in found), default=path.stat().st_mtime))


def _days_since(moment: float) -> float:
    return (time.time() - moment) / 86400


def _size(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(item.lstat().st_size for item in path.rglob("*") if not item.is_dir())


def remove(garbage: list[Garbage]) -> int:
    """Remove it; returns the bytes that became free. A run that a lab holds is left alone."""
    freed = 0
    for item in garbage:
        if (item.path / "run.json").is_file():
            try:
                with RunFolder(item.path).owned():
                    shutil.rmtree(item.path, ignore_errors=True)
            except UserError:
                continue
        elif item.path.is_dir():
            shutil.rmtree(item.path, ignore_errors=True)
        else:
            item.path.unlink(missing_ok=True)
        freed += item.size
    return freed
