# SPDX-License-Identifier: GPL-2.0-or-later
"""Guest faults, exits and host faults of a span on one axis, each with the touch that it came from. Pure.

Touches follow each other without a gap, so whatever happened in the span has exactly one. That the axis is
right is not believed but checked: what the guest has noted must lie where its CPU was in the guest.
"""

from __future__ import annotations

import functools
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from lab.report.timeline_files import BadTimeline, HostClock, Recorded, Ticks
from lab.results.trace_text import Event, Trace

_ADDRESS = re.compile(r"address=(?:0x)?([0-9a-f]{1,16})\b")
_GUEST_ERROR = re.compile(r"error_code=0x([0-9a-f]{1,16})\b")
_REASON = re.compile(r"(?:vcpu [0-9]+,? )?reason (\S{1,40})(?: \S+)*? rip ")
_NESTED_FAULT = re.compile(r"address (?:0x)?([0-9a-f]{1,16}) error_code (?:0x)?([0-9a-f]{1,16})\b")
_PROBED = re.compile(r"address=0x([0-9a-f]{1,16}) flags=0x([0-9a-f]{1,8})$")

WRITE = 1 << 1
"""In the error code of a page fault, and of a nested one."""

FROM_USER = 0x40
"""FAULT_FLAG_USER of handle_mm_fault(): an access of QEMU's own; without it KVM asks for its guest."""

NESTED = frozenset({"npf", "EPT_VIOLATION"})
"""What the tracepoint kvm_exit calls an exit for a fault in the nested tables, on AMD and Intel."""


@dataclass(frozen=True)
class Touch:
    """Times are ticks of the axis, from the first touch on."""

    number: int
    page: int
    begin: int
    end: int


@dataclass(frozen=True)
class GuestFault:
    time: int
    address: int
    write: bool
    touch: int | None


@dataclass(frozen=True)
class Exit:
    begin: int
    end: int  # where the guest ran on
    reason: str
    touch: int | None
    address: int | None = None  # of a nested fault: guest-physical
    write: bool | None = None


@dataclass(frozen=True)
class HostFault:
    begin: int
    end: int
    address: int  # QEMU's
    for_guest: bool  # KVM took it; else an access of QEMU's own
    thread: int
    touch: int | None
    exit: int | None  # number of the exit that it belongs to


@dataclass(frozen=True)
class Timeline:
    """All of one span."""

    unit: str  # "insn" or "ns"
    scale: float  # units a tick
    touches: tuple[Touch, ...]
    guest_faults: tuple[GuestFault, ...] | None  # None: n/a
    exits: tuple[Exit, ...] | None
    host_faults: tuple[HostFault, ...] | None
    missing: dict[str, str] = field(default_factory=dict)  # what is n/a, and why
    problems: tuple[str, ...] = ()  # why it cannot be trusted

    def units(self, ticks: int) -> float:
        """A time or a length in `unit`."""
        return round(ticks * self.scale, 3)

    @functools.cached_property
    def earliest(self) -> int:
        """When the first of all began, in ticks: on the way to the span exits come before its touches."""
        groups = (self.touches, self.exits or (), self.host_faults or ())
        begins = [one.begin for group in groups for one in group]
        return min([*begins, *(one.time for one in self.guest_faults or ())], default=0)

    @property
    def reasons(self) -> Counter[str]:
        """Exits by reason."""
        return Counter(one.reason for one in self.exits or ())

    @property
    def without_touch(self) -> int:
        """Exits before the first touch and after the last: the workload's way to the span and out of it."""
        return sum(one.touch is None for one in self.exits or ())


def build(recorded: Recorded) -> Timeline:
    """Put all on one axis. Raises BadTimeline if an event has not the words that it should."""
    ticks, clock = recorded.ticks, recorded.clock
    host = recorded.host if clock is not None else None
    axis = _Axis(ticks, clock if host is not None else None)
    missing, problems = _missing(recorded), _lost(recorded)
    guest_faults = exits = host_faults = None
    if recorded.guest is not None:
        guest_faults = _guest_faults(recorded.guest, axis)
        problems += _miscounted(guest_faults, ticks)
    if host is not None and clock is not None:
        exits, in_guest = _exits(host, clock.thread, axis)
        problems += _misplaced(axis, [one.time for one in guest_faults or ()], in_guest)
        problems += _unpaired(host, exits)
        problems += _moved(clock)
        if "host faults" not in clock.missing:
            host_faults = _host_faults(host, clock.thread, axis, exits)
    scale = 1.0 if ticks.unit == "insn" else ticks.length / (axis.edges[-1] - axis.edges[0])
    return Timeline(
        ticks.unit, scale, axis.touches, guest_faults, exits, host_faults, missing, tuple(problems)
    )


class _Axis:
    """The host's TSC where there is a host's trace, else the guest's, from the first touch on."""

    def __init__(self, ticks: Ticks, clock: HostClock | None) -> None:
        if clock is not None and not clock.clocks:
            raise BadTimeline("the guest's TSC offset was never read: the span did not begin")
        self._clock = clock.clocks[0] if clock is not None else None
        self._zero = 0
        self._zero = self.of_guest(ticks.edges[0])
        self.edges = [self.of_guest(edge) for edge in ticks.edges]
        self.touches = tuple(
            Touch(number, page, begin, end)
            for number, (page, begin, end) in enumerate(
                zip(ticks.pages, self.edges, self.edges[1:], strict=False)
            )
        )

    def of_guest(self, time: int) -> int:
        return (self._clock.on_host(time) if self._clock is not None else time) - self._zero

    def of_host(self, time: int) -> int:
        return time - self._zero

    def touch(self, time: int) -> int | None:
        """The touch that this time lies in."""
        number = bisect_right(self.edges, time) - 1
        return number if 0 <= number < len(self.touches) else None


def _guest_faults(trace: Trace, axis: _Axis) -> tuple[GuestFault, ...]:
    found = []
    for event in trace.events:
        address, error = _ADDRESS.search(event.text), _GUEST_ERROR.search(event.text)
        if event.name != "page_fault_user" or address is None or error is None:
            raise _odd(event)
        time = axis.of_guest(event.time)
        found.append(GuestFault(time, int(address[1], 16), bool(int(error[1], 16) & WRITE), axis.touch(time)))
    return tuple(found)


def _exits(trace: Trace, thread: int, axis: _Axis) -> tuple[tuple[Exit, ...], list[tuple[int, int]]]:
    """The exits, and between which times the CPU was in the guest."""
    exits: list[Exit] = []
    in_guest: list[tuple[int, int]] = []
    begun: Exit | None = None
    entered: int | None = None
    for event in trace.events:
        if event.thread != thread or not event.name.startswith("kvm_"):
            continue
        time = axis.of_host(event.time)
        if event.name == "kvm_exit":
            reason = _REASON.match(event.text)
            if reason is None:
                raise _odd(event)
            begun = Exit(time, time, reason[1], axis.touch(time))
            exits.append(begun)
            if entered is not None:
                in_guest.append((entered, time))
            entered = None
        elif event.name == "kvm_page_fault" and begun is not None:
            exits[-1] = begun = _with_fault(begun, event)
        elif event.name == "kvm_entry":
            entered = time
            if begun is not None:
                exits[-1] = replace(begun, end=time)
            begun = None
    return tuple(exits), in_guest


def _with_fault(one: Exit, event: Event) -> Exit:
    fault = _NESTED_FAULT.search(event.text)
    if fault is None:
        raise _odd(event)
    return replace(one, address=int(fault[1], 16), write=bool(int(fault[2], 16) & WRITE))


def _host_faults(trace: Trace, vcpu: int, axis: _Axis, exits: Sequence[Exit]) -> tuple[HostFault, ...]:
    """Each from the probe's entry to its return, or as the moment of an exception where there is no probe."""
    found: list[HostFault] = []
    running: dict[int, list[int]] = {}
    begins = [one.begin for one in exits]
    probed = any(event.name == "host_fault" for event in trace.events)
    for event in trace.events:
        time = axis.of_host(event.time)
        if event.name == "host_fault_done" and running.get(event.thread):
            at = running[event.thread].pop()
            found[at] = replace(found[at], end=time)
        elif event.name == ("host_fault" if probed else "page_fault_user"):
            match = (_PROBED if probed else _ADDRESS).search(event.text)
            if match is None:
                raise _odd(event)
            number = bisect_right(begins, time) - 1 if event.thread == vcpu else -1
            inside = number if number >= 0 and time <= exits[number].end else None
            touch = exits[inside].touch if inside is not None else axis.touch(time)
            for_guest = probed and not int(match[2], 16) & FROM_USER
            running.setdefault(event.thread, []).append(len(found))
            found.append(HostFault(time, time, int(match[1], 16), for_guest, event.thread, touch, inside))
    return tuple(found)


def _odd(event: Event) -> BadTimeline:
    return BadTimeline(f"an event {event.name} says {event.text!r:.80}")


def _missing(recorded: Recorded) -> dict[str, str]:
    missing = {}
    if recorded.guest is None:
        missing["guest faults"] = "the guest's kernel traces no page faults"
    if recorded.host is None or recorded.clock is None:
        missing["exits"] = missing["host faults"] = "KVM did not run the guest"
    return missing | (recorded.clock.missing if recorded.clock is not None else {})


def _lost(recorded: Recorded) -> list[str]:
    traces = {"guest": recorded.guest, "host": recorded.host}
    return [
        f"the trace of the {name} has lost {trace.lost:,} events"
        for name, trace in traces.items()
        if trace is not None and trace.lost
    ]


def _miscounted(faults: Sequence[GuestFault], ticks: Ticks) -> list[str]:
    inside = sum(one.touch is not None for one in faults)
    if inside == ticks.faults:
        return []
    return [
        f"{inside:,} traced faults lie in a touch, the guest's kernel counted {ticks.faults:,} in the span"
    ]


def _misplaced(axis: _Axis, faults: Sequence[int], in_guest: Sequence[tuple[int, int]]) -> list[str]:
    """While an exit is handled the guest stands: nothing that it noted can be from then."""
    entries = [entry for entry, _ in in_guest]
    noted = [*axis.edges, *faults]
    wrong = 0
    for time in noted:
        at = bisect_right(entries, time) - 1
        wrong += at < 0 or time > in_guest[at][1]
    if not wrong:
        return []
    return [
        f"the clocks of guest and host do not fit: {wrong:,} of {len(noted):,} times that the guest noted "
        "are from when its CPU was not in the guest, by the host's trace"
    ]


def _unpaired(trace: Trace, exits: Sequence[Exit]) -> list[str]:
    nested = sum(one.reason in NESTED for one in exits)
    faults = sum(event.name == "kvm_page_fault" for event in trace.events)
    return [] if nested == faults else [f"{nested:,} exits are nested faults, KVM tells of {faults:,}"]


def _moved(clock: HostClock) -> list[str]:
    return [] if len(set(clock.clocks)) == 1 else ["the guest's TSC was set while it ran"]
