# SPDX-License-Identifier: GPL-2.0-or-later
"""From what tracefs saw to a frame trace whose replay faults as the original did (docs/frame-trace.md).

A page that is mapped does not tell when it is touched again. So what a recording holds is each page that
faulted, in order, as one touch: on the same kernel these are the touches that fault again.
"""

from __future__ import annotations

import itertools
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from lab.errors import UserError
from lab.instrument.drm_probes import Event
from lab.workload.frame_trace import MAX_RATE, Frame, FrameTrace, Op
from lab.workload.tidy_trace import tidy

PAGE_SHIFT = 12
WRITE = 1  # FAULT_FLAG_WRITE
TEST_ONLY = 0x100  # DRM_MODE_ATOMIC_TEST_ONLY
FAKE_OFFSET = 1 << 32
"""Bytes: mmap() offsets of DRM begin here, so nothing below is a BO's."""
MAX_ALIASES = 64

_FRAME = re.compile(r"faultlab frame ([1-9][0-9]?|100)%")


@dataclass(frozen=True)
class Recorded:
    """A trace, and what of the recording it cannot say."""

    trace: FrameTrace
    notes: tuple[str, ...]


@dataclass
class _Bo:
    """A BO of the trace: one mapping of a BO of the kernel, for a trace knows no two of one."""

    number: int
    pages: int
    offset: int | None = None  # the mmap() offset in pages, once known
    vma: int | None = None  # of the present mapping
    start: int = 0
    end: int = 0
    faulted: set[int] = field(default_factory=set)
    written: set[int] = field(default_factory=set)

    def emptied(self) -> None:
        """No page is mapped any more."""
        self.faulted, self.written = set(), set()

    def faults(self, page: int, *, write: bool) -> bool:
        """Note a fault; False if the page had it before, so that the kernel only tried again."""
        known = page in self.faulted and (not write or page in self.written)
        self.faulted.add(page)
        if write:
            self.written.add(page)
        return not known


@dataclass
class _Frame:
    time: float
    percent: int = 100
    ops: list[Op] = field(default_factory=list)


def trace_of(events: Iterable[Event], *, rate: int | None = None, fixed_rate: int = 60) -> Recorded:
    """The trace that these events tell.

    A frame begins at each mark `faultlab frame N%`; without marks at each page flip; without either,
    `fixed_rate` times a second. `rate` is what the trace says, by default what is seen. Raises UserError if
    there is nothing to tell.
    """
    kept = list(events)
    converter = _Converter(_boundaries(kept, fixed_rate))
    for event in kept:
        if not converter.take(event):
            break
    return converter.recorded(rate, fixed_rate)


def _boundaries(events: Sequence[Event], fixed_rate: int) -> str | float:
    """What begins a frame: the kind of event, or a period in seconds."""
    if any(event.kind == "mark" and _FRAME.fullmatch(event.text) for event in events):
        return "mark"
    return "flip" if any(_is_flip(event) for event in events) else 1 / fixed_rate


def _is_flip(event: Event) -> bool:
    return event.kind == "flip" or (event.kind == "atomic" and not event.values["flags"] & TEST_ONLY)


class _Converter:
    def __init__(self, boundary: str | float) -> None:
        self._boundary = boundary
        self._setup: list[Op] = []
        self._frames: list[_Frame] = []
        self._paused = False
        self._made = 0
        self._objects: dict[int, list[_Bo]] = {}
        self._by_offset: dict[int, list[_Bo]] = {}  # BOs whose mmap() offset is known
        self._mappings: dict[int, _Bo] = {}
        self._counts: dict[str, int] = {}

    def take(self, event: Event) -> bool:
        """Take one event; False when the recording has said that it is over."""
        if event.kind == "mark":
            return self._mark(event)
        if self._paused:
            return True
        self._maybe_frame(event)
        match event.kind:
            case "create":
                self._create(event.values)
            case "map":
                self._map(event.values)
            case "fault":
                self._fault(event.values)
            case "close":
                self._close(event.values)
            case "zap":
                self._zap(event.values)
            case "release":
                self._release(event.values["obj"])
        return True

    # ---- frames ------------------------------------------------------------------------------------------

    def _mark(self, event: Event) -> bool:
        if frame := _FRAME.fullmatch(event.text):
            self._frames.append(_Frame(event.time, int(frame[1])))
        elif event.text in ("faultlab pause", "faultlab resume"):
            self._paused = event.text.endswith("pause")
        return event.text != "faultlab end"

    def _maybe_frame(self, event: Event) -> None:
        if isinstance(self._boundary, str):
            if self._boundary == "flip" and _is_flip(event):
                self._frames.append(_Frame(event.time))
            return
        if not self._frames:
            self._frames.append(_Frame(event.time))
        # A pause of more than a second is no frames: nothing was drawn.
        while 0 <= event.time - self._frames[-1].time - self._boundary < 1:
            self._frames.append(_Frame(self._frames[-1].time + self._boundary))
        if event.time - self._frames[-1].time >= self._boundary:
            self._frames.append(_Frame(event.time))

    @property
    def _now(self) -> list[Op]:
        return self._frames[-1].ops if self._frames else self._setup

    # ---- events ------------------------------------------------------------------------------------------

    def _count(self, what: str) -> None:
        self._counts[what] = self._counts.get(what, 0) + 1

    def _new(self, pages: int, where: list[Op]) -> _Bo:
        self._made += 1
        where.append(Op("create", self._made, max(1, pages)))
        return _Bo(self._made, max(1, pages))

    def _create(self, values: Mapping[str, int]) -> None:
        if values["obj"] not in self._objects:  # two functions may tell of it
            self._objects[values["obj"]] = [self._new(values["size"] >> PAGE_SHIFT, self._now)]

    def _map(self, values: Mapping[str, int]) -> None:
        known = self._mappings.get(values["vma"])
        if known is not None and not known.faulted and known.start == values["start"]:
            return  # two functions told of it
        self._forget(values["vma"])
        pages = (values["end"] - values["start"]) >> PAGE_SHIFT
        family = self._objects.get(values["obj"])
        if family is None:  # made before the recording
            family = self._objects[values["obj"]] = [self._new(pages, self._setup)]
        self._attach(self._free_of(family, pages), values, self._now)

    def _free_of(self, family: list[_Bo], pages: int) -> _Bo:
        """The one of the family that is not mapped; a further one if all are."""
        for bo in family:
            if bo.vma is None and bo.pages >= pages:
                return bo
        if any(bo.vma is not None for bo in family):
            self._count("BOs that were mapped more than once at a time: each mapping is a BO of its own")
        further = self._new(max(pages, family[0].pages), self._now)
        if family[0].offset is not None:
            self._place(further, family[0].offset)
        family.append(further)
        return further

    def _place(self, bo: _Bo, offset: int) -> None:
        """Note the BO's mmap() offset, by which later events may name it."""
        if bo.offset == offset:
            return
        self._unplace(bo)
        bo.offset = offset
        there = self._by_offset.setdefault(offset, [])
        there.append(bo)
        if len(there) > MAX_ALIASES:
            raise UserError(f"a BO is mapped more than {MAX_ALIASES} times at once: no trace can tell that")

    def _unplace(self, bo: _Bo) -> None:
        if bo.offset is not None:
            self._by_offset[bo.offset].remove(bo)
            bo.offset = None

    def _attach(self, bo: _Bo, values: Mapping[str, int], where: list[Op]) -> None:
        bo.vma, bo.start, bo.end = values["vma"], values["start"], values["end"]
        bo.emptied()
        self._mappings[bo.vma] = bo
        where.append(Op("map", bo.number, min(bo.pages, (bo.end - bo.start) >> PAGE_SHIFT)))

    def _fault(self, values: Mapping[str, int]) -> None:
        start, end, address = values["start"], values["end"], values["address"]
        if not start <= address < end or values["pgoff"] << PAGE_SHIFT < FAKE_OFFSET:
            self._count("faults that make no sense: is this kernel older than 6.1?")
            return
        page = (address - start) >> PAGE_SHIFT
        bo = self._mappings.get(values["vma"])
        if bo is None or bo.start != start or bo.end != end:
            bo = self._stranger(values, values["pgoff"] - page)
        self._place(bo, values["pgoff"] - page)
        if page >= bo.pages:
            self._count("faults behind the end of their BO")
        elif bo.faults(page, write=(write := bool(values["flags"] & WRITE))):
            self._now.append(Op("touch", bo.number, write=write, first=page))

    def _stranger(self, values: Mapping[str, int], offset: int) -> _Bo:
        """The BO of a mapping whose beginning was not seen."""
        self._forget(values["vma"])
        pages = (values["end"] - values["start"]) >> PAGE_SHIFT
        there = self._by_offset.get(offset, [])
        bo = next((one for one in there if one.vma is None and one.pages >= pages), None)
        where = self._now
        if bo is None:
            where = self._setup
            bo = self._new(pages, where)
        self._attach(bo, values, where)
        return bo

    def _close(self, values: Mapping[str, int]) -> None:
        bo = self._mappings.get(values["vma"])
        if bo is None:
            return
        if (values["start"], values["end"]) != (bo.start, bo.end):
            self._count("mappings of which a part was unmapped: the trace keeps them whole")
            return
        self._forget(values["vma"])

    def _forget(self, vma: int) -> None:
        bo = self._mappings.pop(vma, None)
        if bo is not None:
            bo.vma = None
            bo.emptied()
            self._now.append(Op("unmap", bo.number))

    def _zap(self, values: Mapping[str, int]) -> None:
        for bo in self._by_offset.get(values["begin"] >> PAGE_SHIFT, ()):
            if bo.faulted:
                bo.emptied()
                self._now.append(Op("evict", bo.number))

    def _release(self, obj: int) -> None:
        for bo in self._objects.pop(obj, []):
            if bo.vma is not None:
                self._forget(bo.vma)
            self._unplace(bo)
            self._now.append(Op("free", bo.number))

    # ---- the end -----------------------------------------------------------------------------------------

    def recorded(self, rate: int | None, fixed_rate: int) -> Recorded:
        if not self._frames:
            raise UserError("the recording holds no frame", hint="was anything drawn while it ran?")
        setup, *rest = tidy([self._setup, *(frame.ops for frame in self._frames)])
        if not any(op.verb == "touch" for ops in (setup, *rest) for op in ops):
            raise UserError(
                "the recording holds no page fault on a BO",
                hint="mappings that were touched before it began do not fault again",
            )
        frames = tuple(
            Frame(tuple(ops), frame.percent) for ops, frame in zip(rest, self._frames, strict=True)
        )
        notes = tuple(f"{count} {what}" for what, count in self._counts.items())
        return Recorded(FrameTrace(rate or self._rate(fixed_rate), tuple(setup), frames), notes)

    def _rate(self, fixed_rate: int) -> int:
        times = [frame.time for frame in self._frames]
        steps = [after - before for before, after in itertools.pairwise(times) if after > before]
        return min(MAX_RATE, max(1, round(1 / statistics.median(steps)))) if steps else fixed_rate
