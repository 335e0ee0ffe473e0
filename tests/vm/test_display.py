# SPDX-License-Identifier: GPL-2.0-or-later
"""The display client against a real QEMU that boots nothing, and against one that talks nonsense."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import proc
from lab.errors import InfraError
from lab.guest.display import Display
from lab.guest.monitor import Monitor
from lab.guest.qemu import find_qemu

GPU = "virtio-gpu-pci,max_outputs=2,romfile="


@pytest.fixture
def qemu(tmp_path: Path) -> Iterator[tuple[proc.Child, Monitor]]:
    """A QEMU that stands still, with its monitor."""
    ours, theirs = socket.socketpair()
    argv = [find_qemu().path, "-nodefaults", "-machine", "pc", "-m", "32M", "-S", "-vga", "none"]
    argv += ["-display", "dbus,p2p=yes", "-device", GPU, "-mon", "chardev=m,mode=control"]
    argv += ["-chardev", f"socket,fd={theirs.fileno()},id=m"]
    child = proc.spawn(argv, pass_fds=[theirs.fileno()], env=proc.QUIET_ENV, cwd=tmp_path)
    theirs.close()
    monitor = Monitor(ours, tmp_path / "qmp.jsonl")
    try:
        monitor.connect(30.0)
        yield child, monitor
    finally:
        proc.kill_group(child)
        monitor.close()


def test_each_output_that_there_is(qemu: tuple[proc.Child, Monitor]) -> None:
    """Both outputs take a monitor, one of them a second size and none; a third output is refused by name."""
    display = Display(qemu[1])
    try:
        for output, width, height in ((0, 1024, 768), (1, 800, 600), (0, 640, 480), (0, 0, 0)):
            display.resize(output, width, height)
        with pytest.raises(InfraError, match="no output 2"):
            display.resize(2, 800, 600)
        display.resize(1, 1280, 800)
    finally:
        display.close()


def test_qemu_that_dies(qemu: tuple[proc.Child, Monitor]) -> None:
    """A display whose QEMU is gone says so at once, not after a time-out."""
    display = Display(qemu[1])
    proc.kill_group(qemu[0])
    with pytest.raises(InfraError, match=r"gone|hung up|does not take"):
        display.resize(0, 800, 600)
    display.close()


class Stranger:
    """In place of the monitor: the other end of the display's socket answers with these bytes."""

    def __init__(self, *answers: bytes) -> None:
        self._answers = answers
        self._handle = -1

    def give(self, handle: int, name: str) -> None:
        self._handle = os.dup(handle)

    def execute(self, command: str, arguments: dict[str, object]) -> None:
        threading.Thread(target=self._talk, args=(socket.socket(fileno=self._handle),), daemon=True).start()

    def _talk(self, peer: socket.socket) -> None:
        with peer:
            for answer in self._answers:
                peer.recv(4096)
                peer.sendall(answer)
            while peer.recv(4096):
                pass


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ((b"REJECTED EXTERNAL\r\n",), "lets the lab not in"),
        ((b"OK 00\r\n", b"nonsense that is no message"), "no message of D-Bus"),
        ((b"OK 00\r\n", b"l\2\0\1\xff\xff\xff\xff\1\0\0\0\0\0\0\0"), "no message of D-Bus"),
        ((b"OK 00\r\n", b"l\2\0\1" + bytes(12)), "did not come within"),
        ((b"OK",), "did not come within"),
    ],
)
def test_nonsense_is_refused(answers: tuple[bytes, ...], words: str) -> None:
    """What is no D-Bus, is too large, answers another call or never ends is an error, in the time given."""
    with pytest.raises(InfraError, match=words):
        Display(Stranger(*answers), seconds=0.5).resize(0, 800, 600)  # type: ignore[arg-type]
