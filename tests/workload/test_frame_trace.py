# SPDX-License-Identifier: GPL-2.0-or-later
"""Frame traces: what is written is read back, and what breaks a rule is refused with its line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.errors import UserError
from lab.workload.frame_trace import (
    MAX_BO,
    MAX_LINES,
    MAX_PAGES,
    Frame,
    FrameTrace,
    Op,
    load_trace,
    parse_trace,
    print_trace,
    summary,
)
from lab.workload.tidy_trace import tidy
from tests.workload.bad_traces import BAD, GOOD


@st.composite
def traces(draw: st.DrawFn) -> FrameTrace:
    """Any trace of a few BOs and frames that obeys the rules."""
    live: dict[int, int] = {}
    mapped: dict[int, int] = {}

    def step() -> Op:
        verbs = ["create"] if not live else ["create", "map", "touch", "unmap", "evict", "free"]
        verb = draw(st.sampled_from(verbs))
        bo = draw(st.sampled_from(sorted(live))) if live else 1
        if verb == "free" and bo not in mapped:
            del live[bo]
            return Op("free", bo)
        if verb == "evict":
            return Op("evict", bo)
        if verb == "unmap" and bo in mapped:
            del mapped[bo]
            return Op("unmap", bo)
        if verb == "touch" and bo in mapped:
            first = draw(st.integers(0, mapped[bo] - 1))
            stride = draw(st.integers(1, 40))
            count = draw(st.integers(1, (mapped[bo] - 1 - first) // stride + 1))
            return Op(
                "touch",
                bo,
                write=draw(st.booleans()),
                first=first,
                count=count,
                stride=stride if count > 1 else 1,
            )
        if verb == "map" and bo not in mapped:
            mapped[bo] = draw(st.integers(1, live[bo]))
            return Op("map", bo, mapped[bo])
        fresh = max(live, default=0) + 1
        live[fresh] = draw(st.integers(1, 3000))
        return Op("create", fresh, live[fresh], draw(st.sampled_from(["system", "vram"])))

    def steps() -> tuple[Op, ...]:
        return tuple(step() for _ in range(draw(st.integers(0, 6))))

    setup = steps()
    frames = tuple(Frame(steps(), draw(st.integers(1, 100))) for _ in range(draw(st.integers(1, 4))))
    return FrameTrace(draw(st.integers(1, 1000)), setup, frames)


@given(traces())
def test_what_is_printed_is_read_back(trace: FrameTrace) -> None:
    """Printing and parsing give the same trace, with and without comments."""
    assert parse_trace(print_trace(trace)) == trace
    assert parse_trace(print_trace(trace, ("seen", "by: me"))) == trace


@given(traces())
def test_tidying_keeps_every_touch(trace: FrameTrace) -> None:
    """Smaller numbers and ranges: the touched pages of each frame stay, in order; the trace stays valid."""
    setup, *frames = tidy([trace.setup, *(frame.ops for frame in trace.frames)])
    again = FrameTrace(trace.rate, tuple(setup), tuple(Frame(tuple(ops)) for ops in frames))
    parse_trace(print_trace(again))
    for before, after in zip(trace.frames, again.frames, strict=True):
        pages = [
            [(op.write, p) for op in f.ops if op.verb == "touch" for p in op.touched] for f in (before, after)
        ]
        assert pages[0] == pages[1]
    assert len({op.bo for op in again.ops}) <= len({op.bo for op in trace.ops})


@pytest.mark.parametrize("text", GOOD)
def test_good_traces_are_read(text: str) -> None:
    """The corners of the format."""
    parse_trace(text)


@pytest.mark.parametrize(("text", "line", "words"), BAD)
def test_bad_traces_are_refused_with_their_line(text: str, line: int, words: str) -> None:
    """Each broken rule is told with the line and in words."""
    with pytest.raises(UserError) as caught:
        parse_trace(text, "bad")
    message = caught.value.message
    assert words in message
    assert line == 0 or message.startswith(f"bad:{line}: "), message


def test_hostile_sizes_are_refused_at_once() -> None:
    """Neither lines nor bytes without end are read, nor pages or numbers beyond the bounds."""
    head = "frame-trace 1\nrate 60\n"
    with pytest.raises(UserError, match="lines"):
        parse_trace(head + "#\n" * MAX_LINES + "frame 0\nend\n")
    with pytest.raises(UserError, match="MiB"):
        parse_trace("#" * (9 << 20))
    with pytest.raises(UserError, match="pages of all BOs"):
        parse_trace(head + "".join(f"create {n} {MAX_PAGES}\n" for n in range(1, 6)) + "frame 0\nend\n")
    with pytest.raises(UserError, match="touches"):
        parse_trace(
            head + f"create 1 {MAX_PAGES}\nmap 1\n" + f"touch 1 w 0+{MAX_PAGES}\n" * 65 + "frame 0\nend\n"
        )
    with pytest.raises(UserError, match="BO"):
        parse_trace(head + f"create {MAX_BO + 1} 1\nframe 0\nend\n")


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    """No input does anything but give a trace or a UserError."""
    try:
        parse_trace("frame-trace 1\nrate 60\n" + raw.decode("latin-1"))
    except UserError:
        return


def test_files(tmp_path: Path) -> None:
    """A file that is not there is a UserError; comments may hold any bytes."""
    with pytest.raises(UserError, match="cannot read"):
        load_trace(tmp_path / "none.trace")
    path = tmp_path / "a.trace"
    path.write_bytes(b"frame-trace 1\n# \xff\xc3\xbc\nrate 60\nframe 0\nend\n")
    assert load_trace(path).rate == 60


def test_summary_counts() -> None:
    """The summary tells frames, touches and the largest number of bytes at a time."""
    text = summary(parse_trace(GOOD[0]))
    assert "2 frames at 60 Hz" in text
    assert "1 BOs created, 1 mappings, 1 evictions, 1 freed; at most 1.0 MiB at once" in text


def test_tidy_refuses_too_many_bos() -> None:
    """More BOs at a time than the format has numbers are told, not written."""
    ops = [op for n in range(1, MAX_BO + 2) for op in (Op("create", n, 1), Op("map", n, 1), Op("touch", n))]
    with pytest.raises(UserError, match="at a time"):
        tidy([ops])
