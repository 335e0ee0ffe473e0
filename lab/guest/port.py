# SPDX-License-Identifier: GPL-2.0-or-later
"""Messages over a byte stream between the lab and a lab host that it runs as a guest: both ends.

A message is its length, eight bytes, big-endian, and that many bytes. What comes from the guest is hostile:
too long a message ends the stream, and so do more than anybody waits for.
"""

from __future__ import annotations

import socket
import struct
from collections import deque

from lab.errors import InfraError

MAX_MESSAGE = 160 << 20
"""Bytes: the console and the samples of one trial, each at its own limit, and the rest beside."""

MAX_WAITING = 64
"""Messages that nobody has taken yet, MAX_MESSAGE bytes in all. A host that does as it is told sends one for
each job; a few that answer pokes come late, and wait until the next job is asked for."""

_HEAD = struct.Struct(">Q")
_PIECE = 1 << 16


def framed(message: bytes) -> bytes:
    """The message as it goes over the stream. InfraError if it is too long."""
    if len(message) > MAX_MESSAGE:
        raise InfraError(f"a message of {len(message)} bytes to or from the nested lab host is too long")
    return _HEAD.pack(len(message)) + message


class Messages:
    """Takes bytes in pieces of any size, gives whole messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._whole: deque[bytes] = deque()
        # Bytes that were ever put into it, and taken out: two threads, each with a count of its own.
        self._put = self._taken = 0
        self.broken = ""
        """Why nothing more is taken; "" as long as all is well."""

    def feed(self, data: bytes) -> None:
        if self.broken:
            return
        self._buffer += data
        while len(self._buffer) >= _HEAD.size:
            (length,) = _HEAD.unpack_from(self._buffer)
            if length > MAX_MESSAGE:
                self.broken = f"it announced a message of {length} bytes"
                self._buffer.clear()
                return
            if len(self._buffer) < _HEAD.size + length:
                return
            self._put += length
            if len(self._whole) >= MAX_WAITING or self._put - self._taken > MAX_MESSAGE:
                self.broken = "it sent more than it was asked for"
                self._buffer.clear()
                return
            self._whole.append(bytes(self._buffer[_HEAD.size : _HEAD.size + length]))
            del self._buffer[: _HEAD.size + length]

    def take(self) -> bytes | None:
        """The next whole message, if there is one."""
        if not self._whole:
            return None
        self._taken += len(self._whole[0])
        return self._whole.popleft()


class Port:
    """The lab's end. Reading is the drain's (`guest.streams`); writing never blocks."""

    def __init__(self, connection: socket.socket) -> None:
        self.messages = Messages()
        self._connection = connection

    def write(self, left: memoryview) -> memoryview:
        """Write what goes without waiting; returns what is left."""
        while left:
            try:
                left = left[self._connection.send(left[:_PIECE], socket.MSG_NOSIGNAL) :]
            except BlockingIOError:
                break
            except OSError as error:
                raise InfraError(f"the nested lab host does not listen: {error.strerror}") from error
        return left
