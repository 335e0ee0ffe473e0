# SPDX-License-Identifier: GPL-2.0-or-later
"""A display client of a running QEMU: plugs monitors into a GPU's outputs, pulls them, changes their size.

QEMU does this for whoever shows its display, so the lab is such a client: of `-display dbus,p2p=yes`, over a
socket pair that is handed over through QMP. No bus, no path, no network. Of D-Bus only what one method call
with six numbers needs is spoken here (https://dbus.freedesktop.org/doc/dbus-specification.html).
"""

from __future__ import annotations

import os
import re
import socket
import struct

from lab.errors import InfraError
from lab.guest.monitor import Monitor
from lab.waiting import Deadline, check_stop

ANSWER_SECONDS = 10.0
MAX_MESSAGE = 64 << 10

_CALL, _RETURN, _ERROR = 1, 2, 3
# Byte order, type, flags, version; bytes of the body, serial, bytes of the fields.
_HEADER = struct.Struct("<cBBBIII")
_SIZE = struct.Struct("<HHiiII")  # width and height in mm, place, width and height in pixels
_PATH, _INTERFACE, _MEMBER, _SIGNATURE = 1, 2, 3, 8
_REPLY_SERIAL = re.compile(rb"\x05\x01u\x00(.{4})", re.DOTALL)


class Display:
    """The client of one QEMU. Methods raise InfraError if QEMU refuses, or does not answer in time."""

    def __init__(self, monitor: Monitor, seconds: float = ANSWER_SECONDS) -> None:
        self._seconds = seconds
        self._serial = 0
        self._rest = b""
        self._socket, theirs = socket.socketpair()
        try:
            monitor.give(theirs.fileno(), "display")
            monitor.execute("add_client", {"protocol": "@dbus-display", "fdname": "display"})
            self._authenticate()
        except BaseException:
            self._socket.close()
            raise
        finally:
            theirs.close()

    def resize(self, output: int, width: int, height: int) -> None:
        """Plug a monitor of that many pixels into an output; 0 x 0 pulls it. The GPU tells its driver."""
        self._serial += 1
        path = f"/org/qemu/Display1/Console_{output}"
        body = _SIZE.pack(0, 0, 0, 0, width, height)
        self._send(_call(self._serial, path, "org.qemu.Display1.Console", "SetUIInfo", "qqiiuu", body))
        deadline = Deadline(f"SetUIInfo of output {output}", self._seconds)
        while (kind := self._answer(self._serial, deadline)) is None:
            pass
        if kind == _ERROR:
            raise InfraError(f"QEMU has no output {output}", hint="max_outputs of the GPU says how many")

    def close(self) -> None:
        """Safe to call twice. The monitors stay as they are."""
        self._socket.close()

    def _authenticate(self) -> None:
        """As the user that made the socket pair, which is what QEMU sees."""
        self._send(b"\0AUTH EXTERNAL " + str(os.geteuid()).encode().hex().encode() + b"\r\n")
        deadline = Deadline("the display's greeting", self._seconds)
        while b"\r\n" not in self._rest:
            self._receive(deadline)
        said, _, self._rest = self._rest.partition(b"\r\n")
        if not said.startswith(b"OK "):
            raise InfraError(f"QEMU's display lets the lab not in: {said[:80]!r}")
        self._send(b"BEGIN\r\n")

    def _answer(self, serial: int, deadline: Deadline) -> int | None:
        """The type of the next message if it answers that call; None if it is another, such as a signal."""
        while len(self._rest) < _HEADER.size:
            self._receive(deadline)
        order, kind, _, _, body, _, fields = _HEADER.unpack_from(self._rest)
        whole = _HEADER.size + fields + -fields % 8 + body
        if order != b"l" or whole > MAX_MESSAGE:
            raise InfraError(f"QEMU's display sent no message of D-Bus: {self._rest[:16]!r}")
        while len(self._rest) < whole:
            self._receive(deadline)
        found = _REPLY_SERIAL.search(self._rest, _HEADER.size, _HEADER.size + fields)
        self._rest = self._rest[whole:]
        if kind not in (_RETURN, _ERROR) or found is None or found[1] != struct.pack("<I", serial):
            return None
        return int(kind)

    def _send(self, data: bytes) -> None:
        try:
            self._socket.settimeout(self._seconds)
            self._socket.sendall(data)
        except OSError as error:
            raise InfraError(f"QEMU's display does not take what the lab sends: {error}") from error

    def _receive(self, deadline: Deadline) -> None:
        """Wait for more, at most a tick."""
        check_stop()
        if deadline.expired:
            raise InfraError(f"{deadline.name} did not come within {deadline.seconds:.0f} s")
        self._socket.settimeout(max(deadline.slice(), 0.001))
        try:
            piece = self._socket.recv(4096)
        except TimeoutError:
            return
        except OSError as error:
            raise InfraError(f"QEMU's display is gone: {error}") from error
        if not piece:
            raise InfraError("QEMU's display has hung up", hint="is it QEMU 7.0 or newer, with ui-dbus.so?")
        self._rest += piece


def _call(serial: int, path: str, interface: str, member: str, signature: str, body: bytes) -> bytes:
    """One method call, little-endian."""
    fields = b""
    for code, kind, value in (
        (_PATH, "o", path),
        (_INTERFACE, "s", interface),
        (_MEMBER, "s", member),
        (_SIGNATURE, "g", signature),
    ):
        text = value.encode()
        length = struct.pack("<B" if kind == "g" else "<I", len(text))
        fields = _padded(fields) + bytes([code, 1]) + kind.encode() + b"\0" + length + text + b"\0"
    return _padded(_HEADER.pack(b"l", _CALL, 0, 1, len(body), serial, len(fields)) + fields) + body


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 8)
