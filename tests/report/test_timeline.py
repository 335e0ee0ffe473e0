# SPDX-License-Identifier: GPL-2.0-or-later
"""From a trial's files to its timeline: one axis, each event with its touch, and no trust in the clocks."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import made_up
import pytest
import timelines
from hypothesis import given
from hypothesis import strategies as st
from timelines import HOST_LINES, TICKS, clock, enter, event, files, guest_fault, leave, trace, write

from lab.campaign.timelines import with_timeline
from lab.report.findings import examine
from lab.report.html import report_html
from lab.report.timeline import Timeline, Touch, build
from lab.report.timeline_files import BadTimeline, Recorded, read_recorded
from lab.report.timeline_section import busiest
from lab.report.timeline_svg import close_up, drawing
from lab.report.timeline_trace import trace_json
from lab.results.models import Clock, Outcome, Trial

PLANNED = made_up.plan(("prefault/first-touch", "base"), clock=Clock.FUNCTIONAL)[0]


def timeline(folder: Path, **changed: bytes | None) -> Timeline:
    return build(recorded(folder, **changed))


def recorded(folder: Path, **changed: bytes | None) -> Recorded:
    found = read_recorded(write(folder, files(**changed)))
    assert found is not None
    return found


def test_every_event_has_its_touch(tmp_path: Path) -> None:
    """Faults, exits and host faults lie in the touch that they came from, whatever the guest's TSC offset."""
    found = timeline(tmp_path)
    assert found.problems == ()
    assert found.guest_faults is not None and found.exits is not None and found.host_faults is not None
    assert [fault.touch for fault in found.guest_faults] == [0, 2]
    assert [(one.reason, one.touch) for one in found.exits] == [("npf", 0), ("interrupt", 2), ("io", None)]
    assert (found.exits[0].begin, found.exits[0].end, found.exits[0].address) == (100, 300, 0xFD000000)
    assert found.without_touch == 1
    own, other = found.host_faults
    assert (own.touch, own.exit, own.for_guest, own.end - own.begin) == (0, 0, True, 80)
    assert (other.touch, other.exit, other.for_guest, other.thread) == (0, None, False, 90)
    assert found.units(found.touches[0].end) == 200.0  # 400 ticks: 1000 took 500 ns
    assert [(row.touch, row.exits) for row in busiest(found)[:2]] == [(0, "1 npf"), (2, "1 interrupt")]


@pytest.mark.parametrize("offset", [-4800, -5350, 0, 1 << 40])
def test_wrong_offset_is_noticed(offset: int, tmp_path: Path) -> None:
    """With a wrong offset the guest noted times at which it was not running: nothing of it is believed."""
    wrong = timeline(tmp_path, clock=clock(offset))
    assert any("the clocks of guest and host do not fit" in problem for problem in wrong.problems)
    trial = with_timeline(made_up.trial(PLANNED), tmp_path)
    assert (trial.outcome, trial.stage) == (Outcome.ERROR, "collect")
    assert "do not fit" in trial.reason
    assert "do not fit" in json.loads((tmp_path / "timeline.json").read_text())["otherData"]["DO NOT TRUST"]


def test_contradictions_are_noticed(tmp_path: Path) -> None:
    """A fault too few, lost events, nested faults that KVM does not tell, a TSC that was set, no span."""
    told = {
        "the guest's kernel counted 3": {"ticks": TICKS.replace(b"faults 2", b"faults 3")},
        "1 traced faults lie in a touch": {"guest": trace([guest_fault(1010), guest_fault(2500)])},
        "the trace of the host has lost 7": {"host": trace(HOST_LINES, lost=7)},
        "1 exits are nested faults, KVM tells of 0": {"host": trace([*HOST_LINES[:2], *HOST_LINES[3:]])},
        "TSC was set": {"clock": clock().replace(b"-5000", b"-4999", 1)},
        "not in the guest": {"host": trace([])},
    }
    for number, (words, changed) in enumerate(told.items()):
        problems = timeline(tmp_path / str(number), **changed).problems
        assert any(words in problem for problem in problems), (words, problems)


def test_what_there_is_not_is_not_zero(tmp_path: Path) -> None:
    """Without KVM exits are n/a with the reason, as guest faults are where the guest traces none."""
    alone = timeline(tmp_path / "a", host=None, clock=None)
    assert (alone.exits, alone.host_faults, alone.problems) == (None, None, ())
    assert "exits" in alone.missing
    untold = timeline(tmp_path / "b", guest=None)
    assert untold.guest_faults is None and "guest faults" in untold.missing
    trial = with_timeline(made_up.trial(PLANNED), write(tmp_path / "c", {}))
    assert trial.outcome is Outcome.PASS
    assert trial.notes == ("timeline: n/a: the workload told no touches",)


def test_instructions_are_their_own_axis(tmp_path: Path) -> None:
    """On the virtual clock a tick of the TSC is an instruction, whatever the span's length says."""
    ticks = TICKS.replace(b" ns", b" insn")
    found = timeline(tmp_path, ticks=ticks, host=None, clock=None)
    assert (found.unit, found.units(found.touches[0].end)) == ("insn", 400.0)


HOSTILE = {
    "ticks": [b"", b"page ns\n0 1\n", TICKS + b"18 -1\n", TICKS[:-2], TICKS + b"a b\n", TICKS[:46]],
    "guest": [
        b"",
        b"\xff" * 100,
        trace(["workload-80 [000] 1.5: page_fault_user: address=0x1"]),
        trace([event(1010, "page_fault_user", "address=</script>")]),
        trace([event(1010, "sys_enter", "x")]),
        HOST_LINES[0].encode(),
        trace([" " * (8 << 20)]),
        trace(["#"] * 200),
        trace([HOST_LINES[0]])[:-1],
    ],
    "host": [trace([leave(6100, "")]), trace([event(6000, "kvm_exit", "reason")]), b"\x00" * 10],
    "clock": [
        b"{}",
        b"[]",
        b"\xff",
        clock().replace(b"98", b'"98"'),
        b'{"thread":1,"clocks":[],"missing":{}}',
    ],
}


@pytest.mark.parametrize(("name", "raw"), [(name, raw) for name, some in HOSTILE.items() for raw in some])
def test_hostile_files(name: str, raw: bytes, tmp_path: Path) -> None:
    """A file that is cut, strange or hostile is refused with its name, and the trial is ERROR."""
    write(tmp_path, files(**{name: raw}))
    with pytest.raises(BadTimeline):
        found = read_recorded(tmp_path)
        assert found is not None
        build(found)
    assert with_timeline(made_up.trial(PLANNED), tmp_path).outcome is Outcome.ERROR


def test_links_are_not_followed(tmp_path: Path) -> None:
    """A trial's folder that comes from elsewhere cannot show other files of this host."""
    write(tmp_path, files(guest=None))
    (tmp_path / "samples/guest.trace").symlink_to("/etc/passwd")
    with pytest.raises(BadTimeline, match="cannot be read"):
        read_recorded(tmp_path)


def trial_of(folder: Path) -> Trial:
    about = made_up.ENVIRONMENT.model_copy(
        update={"accelerator": "kvm", "nesting": 1, "clock": Clock.FUNCTIONAL}
    )
    return with_timeline(made_up.trial(PLANNED, environment=about, samples=("touches.ticks",)), folder)


def test_trace_file_is_as_its_format_says(tmp_path: Path) -> None:
    """Chrome's trace event format: each event has its phase's fields, arrows and names fit."""
    trial = trial_of(write(tmp_path, files()))
    whole = json.loads((tmp_path / "timeline.json").read_text())
    assert set(whole) == {"traceEvents", "displayTimeUnit", "otherData"}
    needed = {"X": {"ts", "dur", "name"}, "i": {"ts", "s", "name"}, "M": {"name", "args"}}
    needed |= {"s": {"ts", "id", "cat"}, "f": {"ts", "id", "cat", "bp"}}
    events = whole["traceEvents"]
    for one in events:
        assert {"pid", "tid"} | needed[one["ph"]] <= set(one), one
        assert all(one[key] >= 0 for key in ("ts", "dur") if key in one)
    tracks = {(one["pid"], one["tid"]) for one in events if one["name"] == "thread_name"}
    assert {(one["pid"], one["tid"]) for one in events if one["ph"] != "M"} <= tracks
    slices = [one for one in events if one["ph"] == "X"]
    for arrow in (one for one in events if one["ph"] in "sf"):
        under = [s for s in slices if (s["pid"], s["tid"]) == (arrow["pid"], arrow["tid"])]
        (meant,) = [s for s in under if s["ts"] <= arrow["ts"] < s["ts"] + s["dur"]]
        exit_of = next(s for s in slices if s["args"].get("exit") == arrow["id"] and s["pid"] == 2)
        assert meant["args"]["touch"] == exit_of["args"]["touch"]
    assert whole["otherData"]["clock"] == "functional"
    assert whole["otherData"]["accelerator"].startswith("kvm, nested")
    assert "not judged" in whole["otherData"]["trust"]
    assert "4 touches, 2 guest faults, 3 exits" in trial.notes[0]


def in_perfetto(microseconds: float) -> int:
    """The nanoseconds that Perfetto makes of a number (CoerceToTs() of its JSON tokenizer)."""
    return math.floor(microseconds * 1000 + 0.5)


@given(
    lengths=st.lists(st.integers(0, 1 << 20), min_size=1, max_size=50),
    scale=st.floats(0.01, 10, allow_nan=False),
)
def test_perfetto_leaves_each_touch_on_its_track(lengths: list[int], scale: float) -> None:
    """Touches that share an edge still do so after Perfetto's rounding: it takes off the track what overlaps.
    From the first one on, none is moved by more than a nanosecond."""
    edges = list(itertools.accumulate(lengths, initial=1 << 40))
    touches = tuple(Touch(n, n, begin, end) for n, (begin, end) in enumerate(itertools.pairwise(edges)))
    whole = json.loads(trace_json(Timeline("ns", scale, touches, None, None, None), made_up.trial(PLANNED)))
    slices = [one for one in whole["traceEvents"] if one["ph"] == "X"]
    begins = [in_perfetto(one["ts"]) for one in slices]
    ends = [begin + in_perfetto(one["dur"]) for begin, one in zip(begins, slices, strict=True)]
    assert begins[1:] == ends[:-1]
    meant = [(edge - edges[0]) * scale for edge in edges]
    assert all(abs(at - edge) <= 1.02 for at, edge in zip(begins, meant, strict=False))


def test_drawing_is_bounded(tmp_path: Path) -> None:
    """Thousands of touches with an exit each make a drawing of some kilobytes; the counts are said."""
    count = 15_000
    ticks = b"touches 1 ns\nfaults 0\nlength 1\nbegin 0\n" + b"1 10\n" * count
    host = [line for n in range(count) for line in (leave(10 * n + 3, "<npf>"), enter(10 * n + 6))]
    found = timeline(tmp_path, ticks=ticks, guest=None, host=trace([enter(0), *host]), clock=clock(0))
    svg = drawing(found, title="a <title>", ident="x") + close_up(found, 5, title="t", ident="y")
    assert len(svg) < 150_000
    assert "15,000" in svg
    assert "<npf>" not in svg and "a &lt;title&gt;" in svg


def test_report_shows_it(tmp_path: Path) -> None:
    """report.html has both drawings, the table and what may be read from them; a bad one says why not."""
    trial = trial_of(write(tmp_path / "t", files()))
    run = made_up.folder(tmp_path, made_up.record((PLANNED,)), [trial])
    write(run.trial_path(trial.key), files())
    page = report_html(examine(run))
    assert "<h2>Timeline</h2>" in page and 'id="timeline0-title"' in page and "1 npf" in page
    assert "the order is true" in page and "not to be trusted" not in page
    write(run.trial_path(trial.key), files(clock=clock(0)))
    assert "not to be trusted" in report_html(examine(run))
    write(run.trial_path(trial.key), files(guest=timelines.HEAD))
    assert "not to be trusted" in report_html(examine(run))


def test_trace_of_a_trial_without_environment(tmp_path: Path) -> None:
    """A trial that has none still gets a file."""
    found = timeline(tmp_path)
    assert json.loads(trace_json(found, made_up.trial(PLANNED, environment=None)))["otherData"]["clock"]
