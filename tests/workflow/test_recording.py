# SPDX-License-Identifier: GPL-2.0-or-later
"""From the text of tracefs to a frame trace: each kind of event, marks, flips, and text that is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.errors import UserError
from lab.instrument.drm_probes import MAX_EVENTS, PROBES, probe_lines, read_events
from lab.workflow.recording import Recorded, trace_of
from lab.workload.frame_trace import parse_trace, print_trace

HEADER = "# tracer: nop\n#\n# entries-in-buffer/entries-written: 9/9   #P:1\n#\n"
BASE = 0x7F0000000000


class Text:
    """Writes a trace as the kernel does."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.time = 1.0

    def put(self, event: str, rest: str, task: str = "a b-12 [000]-7") -> Text:
        self.time += 0.001
        self.lines.append(f"  {task:>20}     [001] d..2. {self.time:12.6f}: {event}: {rest}")
        return self

    def probe(self, kind: str, **values: int) -> Text:
        number = next(at for at, (name, _, fetch) in enumerate(PROBES) if name == kind and "vmf" not in fetch)
        arguments = " ".join(f"{name}={value:#x}" for name, value in values.items())
        return self.put(f"{kind}{number}", f"(some_function+0x0/0x120 [ttm]) {arguments}")

    def create(self, obj: int, pages: int) -> Text:
        return self.probe("create", obj=obj, size=pages << 12).probe("create", obj=obj, size=pages << 12)

    def map(self, obj: int, vma: int, pages: int) -> Text:
        return self.probe(
            "map", obj=obj, vma=vma, start=BASE + (vma << 32), end=BASE + (vma << 32) + (pages << 12)
        )

    def fault(self, vma: int, page: int, pages: int, offset: int, *, write: bool = True) -> Text:
        start = BASE + (vma << 32)
        return self.probe(
            "fault",
            vma=vma,
            pgoff=offset + page,
            address=start + (page << 12),
            flags=0x254 | write,
            start=start,
            end=start + (pages << 12),
        )

    def close(self, vma: int, pages: int) -> Text:
        return self.probe("close", vma=vma, start=BASE + (vma << 32), end=BASE + (vma << 32) + (pages << 12))

    def zap(self, offset: int, pages: int) -> Text:
        return self.probe("zap", begin=offset << 12, length=pages << 12)

    def release(self, obj: int) -> Text:
        return self.probe("release", obj=obj)

    def mark(self, words: str) -> Text:
        return self.put("tracing_mark_write", f"faultlab {words}")

    def wait(self, seconds: float) -> Text:
        self.time += seconds
        return self

    def recorded(self, **options: int) -> Recorded:
        return trace_of(read_events(HEADER + "\n".join([*self.lines, ""])), **options)

    def steps(self, **options: int) -> list[str]:
        """The lines of the trace between `rate` and `end`."""
        lines = print_trace(self.recorded(**options).trace).split("\n")
        return lines[2:-2]


OFFSET = 0x100040


def test_a_whole_life() -> None:
    """Creating, mapping, faulting, evicting, unmapping and freeing become steps, told once each."""
    text = Text().mark("frame 50%").create(0xA0, 64).map(0xA0, 1, 64)
    for page in (0, 16, 32):
        text.fault(1, page, 64, OFFSET)
    text.mark("frame 100%").zap(OFFSET, 64).zap(OFFSET, 64).fault(1, 5, 64, OFFSET, write=False)
    text.mark("frame 100%").close(1, 64).close(1, 64).zap(OFFSET, 64).release(0xA0).mark("end")
    text.create(0xB0, 1).map(0xB0, 2, 1).fault(2, 0, 1, OFFSET)
    assert text.steps() == [
        "frame 0 50%",
        "create 1 64",
        "map 1 64",
        "touch 1 w 0+3/16",
        "frame 1",
        "evict 1",
        "touch 1 r 5",
        "frame 2",
        "unmap 1",
        "free 1",
    ]


def test_what_is_paused_is_left_out() -> None:
    """Between pause and resume nothing is recorded; what comes before the first frame is setup."""
    text = (
        Text().mark("pause").create(0xA0, 8).map(0xA0, 1, 8).fault(1, 0, 8, OFFSET).close(1, 8).release(0xA0)
    )
    text.mark("resume").create(0xA0, 4).map(0xA0, 1, 4).fault(1, 3, 4, OFFSET).mark("frame 100%")
    assert text.steps() == ["create 1 4", "map 1 4", "touch 1 w 3", "frame 0"]


def test_a_page_that_faults_again_is_one_touch() -> None:
    """A fault that the kernel had to try twice is one fault of the program."""
    text = Text().mark("frame 100%").create(0xA0, 4).map(0xA0, 1, 4)
    text.fault(1, 2, 4, OFFSET).fault(1, 2, 4, OFFSET)
    assert text.steps()[-1] == "touch 1 w 2"


def test_a_write_to_a_page_that_was_read_is_a_touch_of_its_own() -> None:
    """Drivers that track writes fault for reading and again for writing."""
    text = Text().mark("frame 100%").create(0xA0, 4).map(0xA0, 1, 4)
    text.fault(1, 2, 4, OFFSET, write=False).fault(1, 2, 4, OFFSET).fault(1, 2, 4, OFFSET)
    assert text.steps()[-2:] == ["touch 1 r 2", "touch 1 w 2"]


def test_mappings_from_before_are_in_the_setup() -> None:
    """A mapping that was there before the recording appears once it faults, as large as it is."""
    text = Text().mark("frame 100%").mark("frame 100%").fault(7, 9, 300, OFFSET).zap(OFFSET, 300)
    assert text.steps() == ["create 1 300", "map 1 300", "frame 0", "frame 1", "touch 1 w 9", "evict 1"]


def test_a_bo_mapped_twice_becomes_two() -> None:
    """Two mappings of one BO at once are two BOs, and a note says so."""
    text = Text().mark("frame 100%").create(0xA0, 4).map(0xA0, 1, 4).fault(1, 0, 4, OFFSET)
    text.map(0xA0, 2, 4).fault(2, 1, 4, OFFSET).close(1, 4).close(2, 4).release(0xA0)
    assert text.steps()[1:] == [
        "create 1 4", "map 1 4", "touch 1 w 0", "create 2 4", "map 2 4", "touch 2 w 1",
        "unmap 1", "unmap 2", "free 1", "free 2",
    ]  # fmt: skip
    assert "more than once" in text.recorded().notes[0]


def test_numbers_are_used_again_and_untouched_bos_left_out() -> None:
    """A long recording needs as few numbers as there are BOs at a time."""
    text = Text().mark("frame 100%").create(0x99, 4)
    for obj in range(1, 30):
        text.create(obj << 8, 4).map(obj << 8, obj, 4).fault(obj, 0, 4, OFFSET + obj * 8)
        text.close(obj, 4).release(obj << 8)
    assert {line.split()[1] for line in text.steps()[1:]} == {"1"}


def test_partial_unmap_is_noted() -> None:
    """A part that is unmapped cannot be told, so a note counts it."""
    text = Text().mark("frame 100%").create(0xA0, 4).map(0xA0, 1, 4).fault(1, 0, 4, OFFSET)
    text.probe("close", vma=1, start=BASE + (1 << 32), end=BASE + (1 << 32) + 4096)
    assert text.steps()[-1] == "touch 1 w 0"
    assert "part" in text.recorded().notes[0]


def test_frames_begin_at_flips() -> None:
    """Without marks a flip begins a frame, a commit that only tests does not; the rate is what is seen."""
    text = Text().create(0xA0, 64).map(0xA0, 1, 64)
    for frame in range(5):
        text.probe("flip", none=1) if frame % 2 else text.probe("atomic", flags=1)
        text.probe("atomic", flags=0x100).fault(1, frame, 64, OFFSET).wait(1 / 50 - 0.003)
    steps = text.steps()
    assert sum(line.startswith("frame") for line in steps) == 5
    assert text.recorded().trace.rate == 50
    assert text.recorded(rate=75).trace.rate == 75


def test_frames_of_a_fixed_rate() -> None:
    """Without marks and flips time is cut in frames; a pause of seconds is none of them."""
    text = Text().create(0xA0, 64).map(0xA0, 1, 64).fault(1, 0, 64, OFFSET).wait(0.1).fault(1, 1, 64, OFFSET)
    text.wait(3600).fault(1, 2, 64, OFFSET)
    trace = text.recorded(fixed_rate=50).trace
    assert trace.rate == 50
    assert [i for i, frame in enumerate(trace.frames) if any(op.verb == "touch" for op in frame.ops)] == [
        0,
        5,
        6,
    ]


def test_an_empty_recording_is_told() -> None:
    """Neither a recording without frames nor one without faults becomes a trace."""
    with pytest.raises(UserError, match="no frame"):
        Text().recorded()
    with pytest.raises(UserError, match="no page fault"):
        Text().mark("frame 100%").create(0xA0, 4).recorded()


def test_lost_events_are_refused() -> None:
    """A buffer that overflowed holds another story."""
    with pytest.raises(UserError, match="overflowed"):
        list(read_events("# entries-in-buffer/entries-written: 8/9   #P:1\n"))
    with pytest.raises(UserError, match="overflowed"):
        list(read_events("CPU:3 [LOST 17 EVENTS]\n"))


def test_nonsense_is_passed_over_and_counted() -> None:
    """Lines of others, half lines and impossible addresses change nothing."""
    text = Text().mark("frame 100%").create(0xA0, 4).map(0xA0, 1, 4).fault(1, 1, 4, OFFSET)
    whole = text.steps()
    text.put("sched_switch", "prev_comm=x").put("fault4", "(x+0x0/0x1) vma=0x1").put(
        "fault4", "(x+0x0/0x1) vma=zz"
    )
    text.lines += ["", "x", text.lines[0][:40], "\x00" * 50]
    assert text.steps() == whole
    text.probe("fault", vma=1, pgoff=3, address=5, flags=0, start=0, end=0)
    assert text.steps() == whole
    assert "make no sense" in text.recorded().notes[0]


def test_events_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """No recording keeps the lab reading for ever."""
    monkeypatch.setattr("lab.instrument.drm_probes.MAX_EVENTS", 3)
    with pytest.raises(UserError, match="more than 3 events"):
        list(read_events("\n".join(Text().mark("a").mark("b").mark("c").mark("d").lines)))
    assert MAX_EVENTS > 100_000


@given(st.text(max_size=300))
def test_any_text_is_read(text: str) -> None:
    """No text does anything but give events or a UserError."""
    try:
        list(read_events(text))
    except UserError:
        return


@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.integers(0, 3), st.integers(0, 3), st.integers(0, 20)), max_size=40
    )
)
def test_any_order_of_events_gives_a_valid_trace(events: list[tuple[int, int, int, int]]) -> None:
    """Whatever a kernel tells in whatever order, the trace obeys its own rules."""
    text = Text().mark("frame 100%").create(0xFF, 32).map(0xFF, 9, 32).fault(9, 0, 32, OFFSET)
    for kind, obj, vma, page in events:
        match kind:
            case 0:
                text.create(obj, 16 + obj)
            case 1 | 2:
                text.map(obj, vma, 16 + page % 3)
            case 3 | 4 | 5:
                text.fault(vma, page % 16, 16 + page % 3, OFFSET + 64 * obj)
            case 6:
                text.close(vma, 16 + page % 3)
            case 7:
                text.zap(OFFSET + 64 * obj, 16)
            case 8:
                text.release(obj)
            case _:
                text.mark("frame 10%")
    recorded = text.recorded()
    assert parse_trace(print_trace(recorded.trace)) == recorded.trace


def test_probes_are_lines_for_the_recorder() -> None:
    """Each line is a name of its own, a function and what is fetched, within the recorder's bounds."""
    lines = probe_lines().splitlines()
    assert len(lines) == len(PROBES) == len({line.split()[0] for line in lines})
    assert all(len(line) < 400 and len(line.split()[0]) < 32 for line in lines)
