# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands that show again what the history tells, to be typed as they are."""

from __future__ import annotations

import functools
import re
import shlex
from pathlib import Path

from lab.errors import InfraError
from lab.history.index import Index
from lab.history.model import Cell, Entry
from lab.results.models import Clock
from lab.results.runfolder import RunFolder

_BUILT = ("tree:", "git:", "source:", "tarball:")
_SHIPPED = re.compile(r"[a-z0-9][a-z0-9-]*/[a-z0-9][a-z0-9.-]*")
_LOCAL_COMMIT = re.compile(r"(?:git|tree):(/.+)@([0-9a-f]{40})")


def run_command(index: Index, cell: Cell, entry: Entry) -> str:
    """`lab run` of the cell on the very kernel of an entry."""
    words = ["lab", "run", cell.case, "--kernel", entry.exact or cell.kernel, "--machine", cell.machine]
    if cell.series:
        words += ["--series", _series(index, cell, entry)]
    if cell.kconfig and cell.kernel.startswith(_BUILT):
        words += ["--kconfig", cell.kconfig]
    if cell.clock is Clock.REAL:
        words += ["--clock", "real"]
    return shlex.join(words)


def compare_command(index: Index, good: Entry, bad: Entry) -> str:
    """`lab compare` of the two runs; "" if one of them has several kernels: it would not know which."""
    if good.run == bad.run or any(index.kernels(run) != 1 for run in (good.run, bad.run)):
        return ""
    return shlex.join(["lab", "compare", good.run, bad.run])


def bisect_command(cell: Cell, good: Entry, bad: Entry, *more: str) -> str:
    """`lab bisect` between the two kernels, with what else it is to be told; "" if it could not search there.

    It searches the versions of a packaged kernel, and the commits of a repository on this host.
    """
    if cell.series or good.exact == bad.exact:
        return ""
    words = ["lab", "bisect", cell.case]
    commits = [_LOCAL_COMMIT.fullmatch(entry.exact) for entry in (good, bad)]
    if commits[0] and commits[1] and commits[0][1] == commits[1][1]:
        words += ["--tree", commits[0][1], "--good", commits[0][2], "--bad", commits[1][2]]
        words += ["--kconfig", cell.kconfig] if cell.kconfig else []
    elif all(entry.exact.startswith("debian:") for entry in (good, bad)):
        words += ["--good", good.exact, "--bad", bad.exact]
    else:
        return ""
    words += ["--machine", cell.machine, *more]
    return shlex.join(words + (["--clock", "real"] if cell.clock is Clock.REAL else []))


def _series(index: Index, cell: Cell, entry: Entry) -> str:
    """How --series takes it: the name of one that ships with the lab, or the mbox that the run kept."""
    if _SHIPPED.fullmatch(cell.series):
        return cell.series
    return _kept(index.folder(entry.run), cell.kernel, cell.series, cell.kconfig) or cell.series


@functools.lru_cache(maxsize=1024)
def _kept(folder: Path, kernel: str, series: str, kconfig: str) -> str:
    """The mbox of a subject. A night asks for it with each of its cells, and its run.json is large."""
    run = RunFolder(folder)
    try:
        subjects = run.read().subjects.values()
    except InfraError:
        return ""
    asked = (kernel, series, kconfig)
    mboxes = [one.mboxes for one in subjects if (one.kernel, one.series, one.kconfig) == asked]
    return str(run.path / mboxes[0][-1]) if mboxes and mboxes[0] else ""
