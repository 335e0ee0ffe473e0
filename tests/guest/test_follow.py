# SPDX-License-Identifier: GPL-2.0-or-later
"""A command in a guest over SSH: whatever its channel does, it can be given up."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import paramiko
import pytest

from lab import waiting
from lab.errors import InfraError, Interrupted
from lab.guest import shell as guest_shell
from lab.guest.shell import Shell
from lab.waiting import Deadline

FLOOD = 1000
"""Pieces that a test lets be read before it says that nobody looks up any more."""


class Channel:
    """paramiko's, as far as `follow` asks it: of a command that ended with status 3 and reads no stdin."""

    closed = eof_received = True

    def __init__(self, *, endless: bool = False) -> None:
        self.status_event = threading.Event()
        self._endless = endless
        self._pieces = 0

    def recv_ready(self) -> bool:
        return self._endless

    def recv(self, size: int) -> bytes:
        self._pieces += 1
        assert self._pieces < FLOOD, "it reads on and on"
        return bytes(size)

    def recv_stderr_ready(self) -> bool:
        return False

    recv_stderr = recv

    def send_ready(self) -> bool:
        return True  # of a closed one as well

    def send(self, data: bytes) -> int:
        raise OSError("Socket is closed")

    def exit_status_ready(self) -> bool:
        return not self._endless

    def recv_exit_status(self) -> int:
        return 3


def follow(channel: Any, *, seconds: float = 60, data: bytes = b"") -> int:
    shell = Shell.__new__(Shell)
    shell._alive = lambda: None
    return shell.follow(channel, lambda _: None, lambda _: None, Deadline("command", seconds), data)


def test_a_command_need_not_read_its_stdin() -> None:
    """It ends before all was handed over: its status counts, not what could not be sent."""
    assert follow(Channel(), data=b"more than it wants") == 3


def test_the_deadline_holds_while_output_comes() -> None:
    """A command that never pauses for breath is given up like any other."""
    with pytest.raises(InfraError, match="did not end within 0 s"):
        follow(Channel(endless=True), seconds=0)


def test_the_user_is_heard_while_output_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """^C and SIGTERM as well."""
    stop = threading.Event()
    stop.set()
    monkeypatch.setattr(waiting, "stop_requested", stop)
    with pytest.raises(Interrupted):
        follow(Channel(endless=True))


class Unanswered:
    """A channel whose requests nobody answers; paramiko waits until it is closed."""

    def __init__(self) -> None:
        self._closed = threading.Event()

    def close(self) -> None:
        self._closed.set()

    def exec_command(self, _command: str) -> None:
        assert self._closed.wait(20), "it waits for ever"
        raise paramiko.SSHException("Channel closed.")


def test_a_guest_that_does_not_begin_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its kernel hangs, and its sshd with it: the lab does not."""
    monkeypatch.setattr(guest_shell, "REPLY_SECONDS", 0.01, raising=False)
    shell = Shell.__new__(Shell)
    shell._alive = lambda: None
    transport = SimpleNamespace(open_session=lambda **_: Unanswered())
    shell._client = SimpleNamespace(get_transport=lambda: transport)  # type: ignore[assignment]
    with pytest.raises(InfraError, match="the SSH connection to the guest is gone"):
        shell.open("true")
