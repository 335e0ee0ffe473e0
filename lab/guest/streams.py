# SPDX-License-Identifier: GPL-2.0-or-later
"""Everything a guest says, drained all the time so that it never waits for us.

One thread reads the console, the channel and QEMU's stderr, keeps each within bounds, and wakes whoever
waits for a change. All of it is hostile text.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import selectors
import socket
import threading
import time
from pathlib import Path
from typing import IO

from lab.errors import InfraError
from lab.guest.port import Port
from lab.waiting import TICK
from lab.workload.channel import ChannelError, ChannelReader

MAX_CONSOLE = 64 << 20
"""Bytes of console.log; a guest that prints for ever fills no disk."""

MAX_STDERR = 64 << 10
TAIL = 64 << 10
"""Bytes of the console's end that are searched for the ready marker and for a dying kernel."""

PIECE = 1 << 16

PIPE_BYTES = 1 << 20
"""Of a guest's words that may wait to be read; what Linux lets an ordinary user ask for."""

Wire = socket.socket | IO[bytes]
"""One end of what connects a serial port of a guest with the lab."""


def pipe() -> tuple[IO[bytes], IO[bytes]]:
    """Our end, to read, and QEMU's."""
    reading, writing = os.pipe()
    with contextlib.suppress(OSError):  # no more room for this user's pipes: then it is 64 KiB
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    return os.fdopen(reading, "rb", buffering=0), os.fdopen(writing, "wb", buffering=0)


class Streams:
    """The streams of one guest. `changed` is notified whenever something arrived."""

    def __init__(
        self,
        console: Wire,
        channel: Wire,
        stderr: IO[bytes],
        log: Path,
        port: socket.socket | None = None,
    ) -> None:
        self.changed = threading.Condition()
        self.reader = ChannelReader()
        self.port = None if port is None else Port(port)
        self.channel_error: ChannelError | None = None
        self.disk_error: OSError | None = None
        self.last_word = time.monotonic()  # when anything last arrived
        self.console_bytes = 0
        self._tail = bytearray()
        self._stderr = bytearray()
        self._log = log.open("wb", buffering=0)
        self._sources: dict[int, tuple[str, Wire]] = {
            console.fileno(): ("console", console),
            channel.fileno(): ("channel", channel),
            stderr.fileno(): ("stderr", stderr),
        }
        if port is not None:
            self._sources[port.fileno()] = ("port", port)
        self._open = set(self._sources)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._drain, daemon=True, name="streams")
        self._thread.start()

    @property
    def tail(self) -> str:
        """The end of the console as text."""
        with self.changed:
            return self._tail.decode(errors="replace")

    @property
    def stderr(self) -> str:
        """What QEMU itself complained about."""
        with self.changed:
            return self._stderr.decode(errors="replace")

    def finish(self, seconds: float = 2.0) -> None:
        """After QEMU's end: read what is left, stop the thread, close everything."""
        self._thread.join(seconds)
        self._closing.set()
        self._thread.join(seconds)
        self._log.close()
        for _, source in self._sources.values():
            source.close()
        if self.disk_error is not None:
            raise InfraError(f"cannot write the console log: {self.disk_error}", hint="is the disk full?")

    def _drain(self) -> None:
        with selectors.DefaultSelector() as selector:
            for handle, (name, _) in self._sources.items():
                os.set_blocking(handle, False)
                selector.register(handle, selectors.EVENT_READ, name)
            while self._open and not self._closing.is_set():
                for key, _ in selector.select(TICK):
                    if not self._read(key.fd, key.data):
                        selector.unregister(key.fd)
                        self._open.discard(key.fd)
        with self.changed:
            self.changed.notify_all()

    def _read(self, handle: int, name: str) -> bool:
        try:
            piece = os.read(handle, PIECE)
        except BlockingIOError:
            return True
        except OSError:
            piece = b""
        if not piece:
            return False
        with self.changed:
            self.last_word = time.monotonic()
            getattr(self, f"_take_{name}")(piece)
            self.changed.notify_all()
        return True

    def _take_console(self, piece: bytes) -> None:
        room = MAX_CONSOLE - self.console_bytes
        self.console_bytes += len(piece)
        self._tail += piece
        del self._tail[:-TAIL]
        if room >= 0 and self.disk_error is None:
            try:
                self._log.write(piece[:room])
                if len(piece) > room:
                    self._log.write(b"\n[lab: console cut here]\n")
            except OSError as error:  # a full disk must not stop the draining
                self.disk_error = error

    def _take_channel(self, piece: bytes) -> None:
        if self.channel_error is None:
            try:
                self.reader.feed(piece)
            except ChannelError as error:
                self.channel_error = error

    def _take_port(self, piece: bytes) -> None:
        assert self.port is not None
        self.port.messages.feed(piece)

    def _take_stderr(self, piece: bytes) -> None:
        self._stderr += piece[: MAX_STDERR - len(self._stderr)]
