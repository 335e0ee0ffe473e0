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
from collections.abc import Iterator
from typing import Any

_quiet = False
_status: Any = None
_active: list[str] = []
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
def step(text: str) -> Iterator[None]:
    """Say that something of more than a moment is being done; several may be under way at once."""
    started = time.monotonic()
    _enter(text)
    try:
        yield
    finally:
        _leave(text)
    info(f"{text} ({time.monotonic() - started:.1f} s)")


def _enter(text: str) -> None:
    with _guard:
        _active.append(text)
        _redraw()


def _leave(text: str) -> None:
    with _guard:
        _active.remove(text)
        _redraw()


def _redraw() -> None:
    global _status  # noqa: PLW0603
    if _quiet or not on_terminal():
        return
    if _active and _status is None:
        _status = _console().status(_active[-1])
        _status.start()
    elif _active:
        _status.update(" | ".join(_active[-2:]))
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
