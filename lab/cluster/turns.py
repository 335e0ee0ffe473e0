# SPDX-License-Identifier: GPL-2.0-or-later
"""Whose turn it is: of a campaign's jobs on the workers, and of a worker's job on its host."""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lab.errors import InfraError
from lab.waiting import TICK, Deadline, check_stop

DOOR, ROOM = Path("/sys/devices/system/cpu"), Path("/sys/devices/system/memory")
"""Locked as folders: the same for every worker of a host, whatever its folders; nothing is left behind."""


@contextlib.contextmanager
def turn(*, alone: bool, deadline: Deadline, door: Path = DOOR, room: Path = ROOM) -> Iterator[None]:
    """Hold the host for the time of the block, with others or (real clock) alone. InfraError if the deadline
    passes.

    Everybody comes in by the door, one at a time. Who must be alone stays in it until the room is empty, so
    that those who come later cannot keep him out for ever.
    """
    with contextlib.ExitStack() as stack:
        with _locked(door, fcntl.LOCK_EX, deadline):
            stack.enter_context(_locked(room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH, deadline))
        yield


@contextlib.contextmanager
def _locked(folder: Path, how: int, deadline: Deadline) -> Iterator[None]:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _take(handle, how, deadline)
        yield
    finally:
        os.close(handle)


def _take(handle: int, how: int, deadline: Deadline) -> None:
    while True:
        check_stop()
        try:
            fcntl.flock(handle, how | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if deadline.expired:
                raise InfraError(
                    f"the host did not come free within {deadline.seconds:.0f} s: {deadline.name}"
                ) from None
            time.sleep(deadline.slice() / 2)


@dataclass
class Turns:
    """No more jobs at once than workers that can take them: dask binds a job to a worker early, and one that
    waits behind a slow one stays there. First come, first served among those that need the same workers."""

    running: list[frozenset[str]] = field(default_factory=list)
    waiting: list[tuple[object, frozenset[str]]] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)

    @contextlib.contextmanager
    def taken(self, workers: frozenset[str]) -> Iterator[None]:
        ticket = object()
        with self.changed:
            self.waiting.append((ticket, workers))
            try:
                while not self._may(ticket, workers):
                    check_stop()
                    self.changed.wait(TICK)
            finally:
                self.waiting.remove((ticket, workers))
            self.running.append(workers)
        try:
            yield
        finally:
            with self.changed:
                self.running.remove(workers)
                self.changed.notify_all()

    def _may(self, ticket: object, workers: frozenset[str]) -> bool:
        first = next(other for other, same in self.waiting if same == workers)
        return first is ticket and sum(some <= workers for some in self.running) < len(workers)
