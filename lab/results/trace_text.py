# SPDX-License-Identifier: GPL-2.0-or-later
"""The text of a trace of the kernel's, by the TSC. It comes from guests as well as from hosts: bounded, and
read strictly."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass

HOST_TRACE = "host.trace"
"""In a trial's folder: what the host's kernel did for the guest, by the host's TSC."""

HOST_CLOCK = "host-clock.json"
"""Beside it: how the guest's TSC follows from the host's, and what was not recorded."""

MAX_TEXT = 48 << 20
MAX_EVENTS = 400_000
MAX_LINE = 600
MAX_REMARKS = 100
"""Lines that are no events: the table's head, and where each processor's buffer begins."""

_WRITTEN = re.compile(rb"# entries-in-buffer/entries-written: ([0-9]{1,12})/([0-9]{1,12}) ")
_EVENT = re.compile(
    rb" *[^\n]{1,24}-([0-9]{1,7}) +\[[0-9]{3,5}\] (?:[^ \n]{4,6} )? *([0-9]{1,20}): "
    rb"([a-z_0-9]{1,64}): ?([^\n]{0,400})\n"
)


class BadTrace(Exception):
    """The text is no trace by the TSC; the message says where."""


@dataclass(frozen=True)
class Event:
    """One line of a trace."""

    thread: int
    time: int  # TSC
    name: str
    text: str  # the event's own words


@dataclass(frozen=True)
class Trace:
    """The events in order of time, and how many more there were."""

    events: tuple[Event, ...]
    lost: int  # overwritten before they were read


def parse_trace(text: bytes) -> Trace:
    """The file `trace` of an instance whose clock is x86-tsc. Raises BadTrace at the first odd line."""
    if len(text) > MAX_TEXT:
        raise BadTrace(f"it is larger than {MAX_TEXT >> 20} MiB")
    events: list[Event] = []
    remarks = 0
    lost: int | None = None
    for number, line in enumerate(io.BytesIO(text), start=1):
        if line.startswith(b"#") and remarks < MAX_REMARKS:
            remarks += 1
            head = _WRITTEN.match(line)
            lost = int(head[2]) - int(head[1]) if head is not None and lost is None else lost
            continue
        match = _EVENT.fullmatch(line) if len(line) <= MAX_LINE else None
        if match is None:
            raise BadTrace(f"line {number} is no event by the TSC")
        if len(events) == MAX_EVENTS:
            raise BadTrace(f"it has more than {MAX_EVENTS:,} events")
        events.append(
            Event(int(match[1]), int(match[2]), match[3].decode(), match[4].decode(errors="replace"))
        )
    if lost is None or lost < 0:
        raise BadTrace("it does not say how many events there were")
    # Of several processors' buffers the kernel merges by time; the same tick on two of them keeps its order.
    return Trace(tuple(sorted(events, key=lambda event: event.time)), lost)
