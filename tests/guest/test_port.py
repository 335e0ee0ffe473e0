# SPDX-License-Identifier: GPL-2.0-or-later
"""Messages between the lab and the nested lab host: whole, however the stream is cut, and bounded."""

from __future__ import annotations

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.errors import InfraError
from lab.guest import port
from lab.guest.port import Messages, Port, framed


@given(st.lists(st.binary(max_size=50), max_size=5), st.integers(1, 40))
def test_any_cut(messages: list[bytes], piece: int) -> None:
    """The messages come out whole and in order, whatever the pieces."""
    stream = b"".join(framed(message) for message in messages)
    reader = Messages()
    for at in range(0, len(stream), piece):
        reader.feed(stream[at : at + piece])
    assert [reader.take() for _ in messages] == messages
    assert reader.take() is None


def test_too_long_a_message_ends_the_stream() -> None:
    """A length beyond the limit is believed by nobody, and nothing is kept after it."""
    reader = Messages()
    reader.feed(framed(b"first") + struct.pack(">Q", port.MAX_MESSAGE + 1) + framed(b"after"))
    assert reader.take() == b"first"
    assert "announced a message" in reader.broken
    reader.feed(framed(b"later"))
    assert reader.take() is None


def test_more_messages_than_anybody_waits_for() -> None:
    """A guest that sends empty ones for ever fills no memory; those that came before are there."""
    reader = Messages()
    for _ in range(1000):
        reader.feed(framed(b""))
    assert "more than it was asked for" in reader.broken
    taken = 0
    while reader.take() is not None:
        taken += 1
    assert taken == port.MAX_WAITING


def test_more_bytes_than_anybody_waits_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The longest message is taken, time and again, but not a second one while it waits."""
    monkeypatch.setattr(port, "MAX_MESSAGE", 10)
    reader = Messages()
    for _ in range(100):
        reader.feed(framed(b"0123456789"))
        assert reader.take() == b"0123456789"
    reader.feed(framed(b"0123456789"))
    assert not reader.broken
    reader.feed(framed(b"0"))
    assert "more than it was asked for" in reader.broken


def test_too_long_a_message_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit holds for what we send as well."""
    monkeypatch.setattr(port, "MAX_MESSAGE", 3)
    assert framed(b"abc")
    with pytest.raises(InfraError, match="too long"):
        framed(b"abcd")


def test_writing_never_waits() -> None:
    """With nobody reading, what does not fit is left; with nobody there at all it is an error."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    left = Port(ours).write(memoryview(bytes(64 << 20)))
    assert 0 < len(left) < 64 << 20
    theirs.close()
    with pytest.raises(InfraError, match="does not listen"):
        Port(ours).write(left)
    ours.close()
