# SPDX-License-Identifier: GPL-2.0-or-later
"""What the lab tells while it works: to stderr, never to stdout, which belongs to results.

On a terminal one rich status line shows what runs now; elsewhere each step is a timestamped line.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

DETAIL_SECONDS = 30.0

_quiet = False
_status: Any = None
_active: list[list[str]] = []  # of one text each, which may change
_guard = threading.Lock()


def configure(*, quiet: bool) -> None:
    """Silence progress (errors are still shown by the command line)."""
    global _quiet  # noqa: PLW0603 - one process has one terminal
    _quiet = quiet


def on_terminal() -> bool:
    return sys.stderr.isatty() and "CI" not in os.environ and os.environ.get("TERM") != "dumb"


def info(text: str) -> None:
    """One line about something that happened."""
    if _quiet:
        return
    with _guard:
        if on_terminal():
            _console().print(text, markup=False, highlight=False)
        else:
            sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")
            sys.stderr.flush()


@contextlib.contextmanager
def step(text: str) -> Iterator[Callable[[str], None]]:
    """Say that something of more than a moment is being done; several may be under way at once.

    What is yielded takes a word on how far it is: shown on a terminal, elsewhere a line twice a minute.
    """
    started = told = time.monotonic()
    entry = [text]

    def tell(detail: str) -> None:
        nonlocal told
        with _guard:
            entry[0] = f"{text}: {detail}"
            _redraw()
        if not on_terminal() and time.monotonic() - told >= DETAIL_SECONDS:
            told = time.monotonic()
            info(entry[0])

    _enter(entry)
    try:
        yield tell
    finally:
        _leave(entry)
    info(f"{text} ({time.monotonic() - started:.1f} s)")


def _enter(entry: list[str]) -> None:
    with _guard:
        _active.append(entry)
        _redraw()


def _leave(entry: list[str]) -> None:
    with _guard:
        # By identity: two steps may have the same words.
        _active[:] = [other for other in _active if other is not entry]
        _redraw()


def _redraw() -> None:
    global _status  # noqa: PLW0603
    if _quiet or not on_terminal():
        return
    if _active and _status is None:
        _status = _console().status(_active[-1][0])
        _status.start()
    elif _active:
        _status.update(" | ".join(entry[0] for entry in _active[-2:]))
    elif _status is not None:
        _status.stop()
        _status = None


_rich_console: Any = None


def _console() -> Any:
    global _rich_console  # noqa: PLW0603
    if _rich_console is None:
        from rich.console import Console

        _rich_console = Console(stderr=True)
    return _rich_console
