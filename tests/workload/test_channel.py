# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.errors import InfraError
from lab.workload import channel
from lab.workload.channel import MAX_FRAME, ChannelError, ChannelReader


def frame(kind: str, word: str = "-", body: bytes = b"") -> bytes:
    return b"#LAB %s %d %s\n%s\n" % (kind.encode(), len(body), word.encode(), body)


HELLO = frame("hello", "1", b"6.1.0-56-amd64")
WHOLE = (
    HELLO
    + frame("stdout", body=b"KTAP version 1\n#LAB exit 0 9\n\n")
    + frame("stderr", body=b"\x00\xff")
    + frame("stdout", body=b"1..0\n")
    + frame("file", "touches.bin", b"ab")
    + frame("note", body=b"stdout cut at 5 of\n6 bytes")
    + frame("file", "touches.bin", b"cd")
    + frame("file", "other", b"")
    + frame("exit", "137")
    + frame("bye")
)


def state(reader: ChannelReader) -> tuple:
    names = ("release", "stdout", "stderr", "files", "notes", "failure", "exit_status", "done", "partial")
    return tuple(getattr(reader, name) for name in names)


def read(*pieces: bytes) -> tuple:
    """State after all pieces, and the message if the reader refused."""
    reader, refusal = ChannelReader(), ""
    for piece in pieces:
        try:
            reader.feed(piece)
        except ChannelError as error:
            refusal = str(error)
    return (*state(reader)[:-1], refusal)


def test_a_whole_report():
    """Every frame ends up where it belongs; bytes that look like a frame inside a frame do not count."""
    reader = ChannelReader()
    reader.feed(WHOLE)
    assert reader.release == "6.1.0-56-amd64"
    assert reader.stdout == b"KTAP version 1\n#LAB exit 0 9\n\n1..0\n"
    assert reader.stderr == b"\x00\xff"
    assert reader.files == {"touches.bin": b"abcd", "other": b""}
    assert reader.notes == ["stdout cut at 5 of 6 bytes"]
    assert (reader.exit_status, reader.done, reader.partial, reader.failure) == (137, True, False, None)


def test_a_guest_that_dies_leaves_what_it_said():
    """A report that ends in the middle is no break of the protocol; it is partial."""
    reader = ChannelReader()
    reader.feed(WHOLE[:60])
    assert reader.partial
    assert not reader.done
    assert reader.release == "6.1.0-56-amd64"


def test_fail_before_hello():
    """A guest that cannot even mount says so first."""
    reader = ChannelReader()
    reader.feed(frame("fail", "mount", b"cannot mount /proc\x1b[31m"))
    assert reader.failure == ("mount", "cannot mount /proc [31m")


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"x\n", "at byte 0: no frame begins here"),
        (HELLO + b"noise\n", f"at byte {len(HELLO)}: no frame begins here"),
        (b"#LAB " + b"a" * 200, "no frame begins here"),
        (HELLO + frame("stdin"), "an unknown frame stdin"),
        (frame("stdout"), "a stdout frame before hello"),
        (frame("hello", "2"), "protocol version 2, this lab speaks 1"),
        (HELLO + HELLO, "a second hello"),
        (HELLO + frame("stdout", "x"), "a stdout frame with the word x"),
        (HELLO + b"#LAB stdout 01 -\na\n", "no frame begins here"),
        (HELLO + b"#LAB stdout -1 -\na\n", "no frame begins here"),
        (HELLO + b"#LAB stdout 2 -\nabc\n", "a stdout frame does not end where it said"),
        (HELLO + b"#LAB stdout %d -\n" % (MAX_FRAME + 1), f"a frame of {MAX_FRAME + 1} bytes"),
        (HELLO + frame("file", ".."), "a file with the name .."),
        (HELLO + frame("file", "a/b"), "no frame begins here"),
        (HELLO + frame("file", "a" * 65), "no frame begins here"),
        (HELLO + frame("file", "a") + frame("file", "b") + frame("file", "a"), "do not follow each other"),
        (HELLO + b"".join(frame("file", f"f{n}") for n in range(300)), "more than 256 files"),
        (HELLO + frame("note") * 100, "more than 64 notes"),
        (HELLO + frame("fail", "other"), "an unexpected fail other"),
        (HELLO + frame("fail", "exec") * 2, "an unexpected fail exec"),
        (HELLO + frame("exit", "256"), "an unexpected exit 256"),
        (HELLO + frame("exit", "-1"), "an unexpected exit -1"),
        (HELLO + frame("exit", "0", b"x"), "an unexpected exit 0"),
        (HELLO + frame("exit", "0") * 2, "an unexpected exit 0"),
        (HELLO + frame("bye", "-", b"x"), "a bye with content"),
        (HELLO + frame("bye") + b"x", "bytes after bye"),
    ],
)
def test_each_break_is_refused(raw, words):
    """A break of the protocol is the lab's kind of error, names its place, and stays."""
    reader = ChannelReader()
    with pytest.raises(ChannelError) as caught:
        reader.feed(raw)
    assert words in caught.value.message
    assert isinstance(caught.value, InfraError)
    with pytest.raises(ChannelError):
        reader.feed(b"")


def test_the_total_is_bounded(monkeypatch):
    """A guest cannot fill the host's memory with small frames."""
    monkeypatch.setattr(channel, "MAX_TOTAL", 4096)
    flood = HELLO + frame("stdout", body=b"x" * 50) * 100
    whole = read(flood)
    assert "more than 0 MiB in all" in whole[-1]
    assert len(whole[1]) < 4096
    assert read(*(flood[at : at + 1] for at in range(len(flood)))) == whole


ANY = st.lists(
    st.binary(max_size=12)
    | st.builds(
        frame,
        st.sampled_from(["hello", "stdout", "stderr", "file", "note", "fail", "exit", "bye", "odd"]),
        st.sampled_from(["-", "1", "0", "255", "256", "a", "b", "..", "exec", "mount"]),
        st.binary(max_size=8),
    ),
    max_size=8,
).map(b"".join)


@settings(max_examples=300, deadline=None)
@given(raw=ANY | ANY.map(HELLO.__add__) | st.just(WHOLE), cuts=st.lists(st.integers(0, 400), max_size=6))
def test_any_bytes_at_any_split_give_the_same(raw, cuts):
    """All bytes either parse or are refused, with the same state however they arrive."""
    edges = [0, *sorted(min(cut, len(raw)) for cut in cuts), len(raw)]
    assert read(*(raw[a:b] for a, b in itertools.pairwise(edges))) == read(raw)
    assert read(*(raw[at : at + 1] for at in range(len(raw)))) == read(raw)
