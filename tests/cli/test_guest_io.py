# SPDX-License-Identifier: GPL-2.0-or-later
"""Our own stdin, stdout and stderr, given to a command in a guest: bounded, and no wait without an end."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lab import waiting
from lab.cli import guest_io
from lab.errors import InfraError, Interrupted, UserError
from lab.waiting import Deadline
from lab.workflow.guests import Wanted


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Both ends. Neither blocks: whoever would wait in a read or write fails."""
    ends = os.pipe()
    for end in ends:
        os.set_blocking(end, False)
    yield ends
    for end in ends:
        with contextlib.suppress(OSError):
            os.close(end)


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What the guest's command got as stdin; no guest is booted."""
    got: list[bytes] = []

    def follow(_channel: Any, _out: Any, _err: Any, _deadline: Deadline, data: bytes) -> int:
        got.append(data)
        return 0

    @contextlib.contextmanager
    def no_guest(*_: object, **__: object) -> Iterator[Any]:
        channel = SimpleNamespace(shutdown_write=lambda: None, close=lambda: None)
        shell = SimpleNamespace(open=lambda _: channel, follow=follow)
        yield SimpleNamespace(shell=shell, splats=list)

    monkeypatch.setattr(guest_io, "open_guest", no_guest)
    return got


def run(handle: int, *, timeout: float = 60) -> int:
    with os.fdopen(handle, closefd=False) as stdin:
        return guest_io.run_command(Wanted(), ["cat"], timeout=timeout, dry_run=False, stdin=stdin)


def test_stdin_is_handed_over(given: list[bytes], pipe: tuple[int, int]) -> None:
    """All of it."""
    os.write(pipe[1], b"some words")
    os.close(pipe[1])
    assert run(pipe[0]) == 0
    assert given == [b"some words"]


def test_too_much_stdin_is_refused(
    given: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not cut: COMMAND would work on a part and not know it."""
    monkeypatch.setattr(guest_io, "MAX_STDIN", 1 << 20)
    (tmp_path / "much").write_bytes(bytes((1 << 20) + 1))
    with (tmp_path / "much").open() as much, pytest.raises(UserError, match="more than 1 MiB"):
        run(much.fileno())
    assert given == []


def test_stdin_that_does_not_end(given: list[bytes], pipe: tuple[int, int]) -> None:
    """A writer that stays is waited for as long as COMMAND may take."""
    os.write(pipe[1], b"first words, and then no more")
    with pytest.raises(InfraError, match=r"stdin did not end within 0 s"):
        run(pipe[0], timeout=0)
    assert given == []


def test_the_user_is_heard_while_stdin_is_read(
    given: list[bytes], pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """^C and SIGTERM end that wait."""
    os.write(pipe[1], b"first words, and then no more")
    stop = threading.Event()
    stop.set()
    monkeypatch.setattr(waiting, "stop_requested", stop)
    with pytest.raises(Interrupted):
        run(pipe[0])
    assert given == []


def test_output_that_nobody_reads_holds_up_no_stop(pipe: tuple[int, int]) -> None:
    """Who reads our stdout reads no more, and the pipe is full: the user is heard, and nothing blocks."""
    asked: list[None] = []

    def go_on() -> None:
        asked.append(None)
        if len(asked) > 20:
            raise Interrupted()

    with pytest.raises(Interrupted):
        guest_io._writer(pipe[1], go_on)(bytes(1 << 20))
    assert len(asked) == 21


def test_output_arrives_whole(pipe: tuple[int, int]) -> None:
    """A piece that is larger than what a pipe takes at once."""
    data = os.urandom(20_000)
    guest_io._writer(pipe[1], lambda: None)(data)
    assert os.read(pipe[0], 1 << 20) == data
