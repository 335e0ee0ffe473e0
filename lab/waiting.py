# SPDX-License-Identifier: GPL-2.0-or-later
"""Deadlines, and the one way to learn that the user wants to stop.

Every wait in the lab is bounded by a `Deadline` and looks at `stop_requested` at least every `TICK`
seconds. The command line's signal handler sets the event; a signal belongs to the process, hence a
module-level event.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

from lab.errors import Interrupted

TICK = 0.1
"""Seconds: the longest time any wait goes without looking at `stop_requested`."""

stop_requested = threading.Event()


_own = threading.local()


def check_stop() -> None:
    """Raise Interrupted if the user asked to stop, or if this thread's work is no longer wanted."""
    unwanted: threading.Event | None = getattr(_own, "unwanted", None)
    if stop_requested.is_set() or (unwanted is not None and unwanted.is_set()):
        raise Interrupted()


@contextlib.contextmanager
def unless(unwanted: threading.Event) -> Iterator[None]:
    """What this thread does inside is given up, as on ^C, once the event is set."""
    _own.unwanted = unwanted
    try:
        yield
    finally:
        _own.unwanted = None


class Deadline:
    """A named point in monotonic time.

    >>> Deadline("boot", 0).expired
    True
    """

    def __init__(self, name: str, seconds: float) -> None:
        self.name = name
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    @property
    def remaining(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self._end - time.monotonic())

    @property
    def expired(self) -> bool:
        return time.monotonic() >= self._end

    def slice(self) -> float:
        """How long the next poll may block: at most TICK, at most what is left."""
        return min(TICK, self.remaining)
