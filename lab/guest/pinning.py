# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest on the real clock stays on its processors: a virtual CPU that is moved loses what is in caches, and
QEMU's other threads take none of its time."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence

from lab.errors import InfraError
from lab.guest.guest import Guest


def pin(guest: Guest, seconds: float = 5.0) -> None:
    """Give each virtual CPU a processor of its own, from the last one down, and all else of QEMU the others.

    `guest.pinned` says which; it stays empty where this host has too few, or QEMU does not answer within
    `seconds`.
    """
    free = sorted(os.sched_getaffinity(0))
    try:
        guest.connect_monitor(seconds)
        answer = guest.monitor.execute("query-cpus-fast", {}, seconds)
    except InfraError:
        return
    threads = [one.get("thread-id") for one in answer] if isinstance(answer, list) else []
    virtual = [number for number in threads if isinstance(number, int)]
    if not virtual or len(virtual) >= len(free):
        return
    others, own = free[: -len(virtual)], free[-len(virtual) :]
    try:
        for thread in _threads(guest.process.pid):
            if thread not in virtual:
                _move(thread, others)
        for thread, processor in zip(virtual, own, strict=True):
            os.sched_setaffinity(thread, {processor})
    except OSError:  # it has ended, or this host does not let us
        return
    guest.pinned = tuple(own)


def _threads(process: int) -> list[int]:
    return [int(name) for name in os.listdir(f"/proc/{process}/task")]  # noqa: PTH208 - names alone


def _move(thread: int, processors: Sequence[int]) -> None:
    with contextlib.suppress(ProcessLookupError):  # helpers come and go
        os.sched_setaffinity(thread, processors)
