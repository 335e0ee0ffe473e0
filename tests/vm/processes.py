# SPDX-License-Identifier: GPL-2.0-or-later
"""A `lab` that a test can watch and kill, and the proof that nothing of it is left.

Orphans are adopted by this process (PR_SET_CHILD_SUBREAPER), so whatever a killed lab leaves running is found
as our descendant, whatever its session, user, name or environment.
"""

from __future__ import annotations

import contextlib
import ctypes
import glob
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lab import files
from lab.results.runfolder import RunFolder

PR_SET_CHILD_SUBREAPER = 36
PATIENCE = 120.0
"""Seconds until a moment must have come, on a machine that is busy with other things."""


@dataclass(frozen=True)
class Process:
    """A line of /proc."""

    pid: int
    name: str


def descendants(root: int) -> list[Process]:
    """All living processes below `root`; zombies, which hold nothing, are left out."""
    parents: dict[int, list[Process]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                pid, _, rest = (entry / "stat").read_text().partition(" (")
                name, _, numbers = rest.rpartition(") ")
                state, parent = numbers.split()[:2]
                if state not in "ZX":
                    parents.setdefault(int(parent), []).append(Process(int(pid), name))
    found, queue = [], [root]
    while queue:
        children = parents.get(queue.pop(), [])
        found += children
        queue += [child.pid for child in children]
    return found


@dataclass
class Running:
    """A `lab` in a process of its own, with folders for everything that it might leave somewhere."""

    process: subprocess.Popen[bytes]
    folder: Path
    before: set[int]  # our descendants that are not its
    state: Path
    cache: Path
    shared_memory: set[Path]  # what was there before

    def names(self) -> set[str]:
        """Names of all programs that it runs now."""
        return {process.name for process in descendants(self.process.pid)}

    @property
    def progress(self) -> str:
        return (self.folder / "stderr").read_text()

    @property
    def output(self) -> str:
        return (self.folder / "stdout").read_text()

    @property
    def run(self) -> RunFolder:
        return RunFolder((self.state / "runs/latest").resolve())

    def until(self, happened: Callable[[], bool], what: str) -> None:
        """Wait for a moment of its life."""
        end = time.monotonic() + PATIENCE
        while True:
            gone = self.process.poll() is not None  # asked first: what happens last happens before its end
            if happened():
                return
            assert not gone, f"it ended before {what}: {self.progress}"
            assert time.monotonic() < end, f"{what} did not come: {self.progress}"
            time.sleep(0.005)

    def until_runs(self, *names: str) -> None:
        """Wait until it runs a program of one of these names (as the kernel shows them: 15 characters)."""
        self.until(lambda: bool(self.names() & set(names)), f"a process {' or '.join(names)}")

    def consoles(self) -> Iterator[bytes]:
        """What the guests that run now have said."""
        for path in self.state.glob("runs/latest/trials/.*/console.log"):
            with contextlib.suppress(FileNotFoundError):  # its trial ends in this moment
                yield path.read_bytes()

    def finished_trials(self) -> dict[str, int]:
        """When each trial that has ended was written, by key."""
        found = self.state.glob("runs/latest/trials/[!.]*/trial.json")
        return {path.parent.name: path.stat().st_mtime_ns for path in found}

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def ended(self, seconds: float = 10.0) -> int:
        """Its status."""
        return self.process.wait(seconds)

    def orphans(self) -> list[Process]:
        return [one for one in descendants(os.getpid()) if one.pid not in self.before | {self.process.pid}]

    def assert_nothing_runs(self, seconds: float = 2.0) -> float:
        """Nothing that it started lives on, at the latest after `seconds`; returns how long that took."""
        start = time.monotonic()
        while left := self.orphans():
            assert time.monotonic() - start < seconds, f"still running: {left}"
            time.sleep(0.005)
        return time.monotonic() - start

    def unfinished(self) -> list[Path]:
        """What it left half made below cache and state, where its names carry its id; all temporary files."""
        hidden = [
            path
            for root in (self.cache, self.state)
            for pattern in ("*/.*", "*/*/.*", "*/*/*/.*")
            # Path.glob() breaks off where another lab's half-made folder goes in this moment.
            for path in map(root.joinpath, glob.glob(pattern, root_dir=root))  # noqa: PTH207
            if re.fullmatch(rf"\..+\.{self.process.pid}\.[^.]*", path.name)
        ]
        temporary = {
            *(self.folder / "tmp").iterdir(),
            *(self.folder / "runtime").iterdir(),
            *_shared_memory(),
        }
        return [*hidden, *sorted(temporary - self.shared_memory)]


@contextlib.contextmanager
def started(
    *words: str | Path,
    folder: Path,
    state: Path,
    cache: Path | None = None,
    program: tuple[str, ...] = ("-m", "lab"),
    **environment: str,
) -> Iterator[Running]:
    """Start `lab WORDS`; at the end of the block it and all that it started is dead in any case."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("tmp", "runtime"):
        (folder / name).mkdir(exist_ok=True)
    cache = cache or files.cache_dir(".").resolve()
    env = {
        **os.environ,
        "LAB_STATE": str(state),
        "LAB_CACHE": str(cache),
        "TMPDIR": str(folder / "tmp"),
        "XDG_RUNTIME_DIR": str(folder / "runtime"),
        **environment,
    }
    adopt_orphans()
    shared_memory = _shared_memory()
    before = {process.pid for process in descendants(os.getpid())}
    with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as errors:
        argv = [sys.executable, *program, *map(str, words)]
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=errors, env=env)
    running = Running(process, folder, before, state, cache, shared_memory)
    try:
        yield running
    finally:
        process.kill()
        process.wait()
        for left in running.orphans():
            with contextlib.suppress(ProcessLookupError):
                os.kill(left.pid, signal.SIGKILL)


def _shared_memory() -> set[Path]:
    return set(Path("/dev/shm").iterdir())


def adopt_orphans() -> None:
    """Become the parent of whatever our descendants leave behind."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def partial_cache(into: Path, *, without: tuple[str, ...]) -> Path:
    """A cache that lacks some kinds and shares the others with the user's own: nothing is fetched again."""
    into.mkdir()
    for kind in files.cache_dir(".").iterdir():
        if kind.name not in without:
            (into / kind.name).symlink_to(kind.resolve())
    return into
