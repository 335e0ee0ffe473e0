# SPDX-License-Identifier: GPL-2.0-or-later
"""Reading what a trial with a timeline has left: when its touches were, and the traces of guest and host.

    samples/touches.ticks   each touch by the guest's TSC (testcases/include/touch.h)
    samples/guest.trace     the workload's page faults in tracefs, by the same clock
    host.trace              KVM and QEMU's faults in tracefs, by the host's TSC
    host-clock.json         how one TSC follows from the other, and what was not recorded

All is bounded and parsed strictly; the first two come from the guest.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lab.report.untrusted import open_regular
from lab.results.trace_text import HOST_CLOCK, HOST_TRACE, MAX_TEXT, BadTrace, Trace, parse_trace

TICKS_FILE = "touches.ticks"
GUEST_FILE = "guest.trace"
MAX_TICKS = 200_000
"""Touches; far more than a timeline can show."""

MAX_TICKS_BYTES = 16 << 20
MAX_CLOCK_BYTES = 1 << 20

_HEAD = re.compile(rb"touches 1 (insn|ns)\nfaults ([0-9]{1,12})\nlength ([0-9]{1,18})\nbegin ([0-9]{1,19})\n")
_TOUCH = re.compile(rb"([0-9]{1,9}) ([0-9]{1,15})")


class BadTimeline(Exception):
    """A file is not what it should be; the message names it."""


@dataclass(frozen=True)
class Ticks:
    """The touches of a span, one behind the other."""

    unit: str  # "insn" or "ns", of `length`
    faults: int  # of the span, as the kernel counts them
    length: int  # of the span
    edges: tuple[int, ...]  # the guest's TSC before the first touch and after each
    pages: tuple[int, ...]


class TscOfGuest(BaseModel):
    """guest = host * ratio / 2^bits + offset"""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    offset: int = Field(ge=-(1 << 63), lt=1 << 64)
    ratio: int = Field(gt=0, lt=1 << 64)
    bits: int = Field(ge=0, le=64)

    def on_host(self, guest: int) -> int:
        """The host's TSC when the guest's was `guest`."""
        # KVM's offset is a signed number of 64 bits, and its sums wrap.
        return (((guest - self.offset) % (1 << 64)) << self.bits) // self.ratio


class HostClock(BaseModel):
    """host-clock.json"""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    thread: int  # of the virtual CPU
    clocks: tuple[TscOfGuest, ...] = Field(max_length=200, strict=False)  # at each edge of a span
    missing: dict[str, str] = Field(max_length=8)


@dataclass(frozen=True)
class Recorded:
    """All that a trial has for its timeline."""

    ticks: Ticks
    guest: Trace | None  # None: the guest has no such events
    host: Trace | None
    clock: HostClock | None


def read_recorded(folder: Path) -> Recorded | None:
    """What is in a trial's folder; None if its workload told no touches. Raises BadTimeline."""
    raw = _read(folder / "samples" / TICKS_FILE, MAX_TICKS_BYTES)
    if raw is None:
        return None
    clock = _read(folder / HOST_CLOCK, MAX_CLOCK_BYTES)
    return Recorded(
        ticks=parse_ticks(raw),
        guest=_trace(folder / "samples" / GUEST_FILE),
        host=_trace(folder / HOST_TRACE),
        clock=None if clock is None else _clock(clock),
    )


def parse_ticks(raw: bytes) -> Ticks:
    """Raises BadTimeline at the first odd line."""
    head = _HEAD.match(raw)
    if head is None:
        raise BadTimeline(f"{TICKS_FILE} does not begin as it should")
    edges = [int(head[4])]
    pages: list[int] = []
    for number, line in enumerate(raw[head.end() :].split(b"\n")[:-1], start=5):
        match = _TOUCH.fullmatch(line)
        if match is None:
            raise BadTimeline(f"{TICKS_FILE} line {number} is not `page ticks`")
        if len(pages) == MAX_TICKS:
            raise BadTimeline(f"{TICKS_FILE} has more than {MAX_TICKS:,} touches")
        pages.append(int(match[1]))
        edges.append(edges[-1] + int(match[2]))
    if not pages or not raw.endswith(b"\n") or edges[-1] == edges[0]:
        raise BadTimeline(f"{TICKS_FILE} holds no touch, or is cut off")
    return Ticks(head[1].decode(), int(head[2]), int(head[3]), tuple(edges), tuple(pages))


def _clock(raw: bytes) -> HostClock:
    try:
        return HostClock.model_validate_json(raw)
    except ValidationError as error:
        raise BadTimeline(f"{HOST_CLOCK}: {error.errors()[0]['msg']}") from error


def _trace(path: Path) -> Trace | None:
    raw = _read(path, MAX_TEXT)
    try:
        return None if raw is None else parse_trace(raw)
    except BadTrace as error:
        raise BadTimeline(f"{path.name}: {error}") from error


def _read(path: Path, limit: int) -> bytes | None:
    try:
        with open_regular(path) as file:
            raw = file.read(limit + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BadTimeline(f"{path.name} cannot be read: {error.strerror}") from error
    if len(raw) > limit:
        raise BadTimeline(f"{path.name} is larger than {limit >> 20} MiB")
    return raw
