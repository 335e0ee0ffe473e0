# SPDX-License-Identifier: GPL-2.0-or-later
"""A timeline as a trace file: Chrome's trace event format, which ui.perfetto.dev opens. Pure.

One process for the guest with tracks for touches and its faults, one for the host with tracks for exits and
host faults; an arrow leads from each touch to its exits. The format has microseconds: one of them stands for
a thousand units of the trial's clock.
"""

from __future__ import annotations

import json
from typing import Any

from lab.report.clean import one_line
from lab.report.timeline import Timeline
from lab.results.models import Environment, Trial

GUEST, HOST = 1, 2
TOUCHES, FAULTS, EXITS, HOST_FAULTS = 1, 2, 1, 2

Entry = dict[str, Any]


def trace_json(timeline: Timeline, trial: Trial) -> str:
    """The whole file."""
    events = [*_names(timeline, trial), *_touches(timeline), *_guest_faults(timeline)]
    events += [*_exits(timeline), *_host_faults(timeline)]
    whole = {"traceEvents": events, "displayTimeUnit": "ns", "otherData": facts(timeline, trial)}
    return json.dumps(whole, separators=(",", ":")) + "\n"


def facts(timeline: Timeline, trial: Trial) -> dict[str, str]:
    """What a reader must know of the numbers."""
    told = {
        "case": trial.case,
        "machine": trial.machine,
        "kernel": trial.kernel,
        "clock": str(clock_of(trial)),
        "unit": f"1 us on the axis is 1,000 {timeline.unit}",
        "trust": trust(timeline, trial),
    }
    if trial.environment is not None:
        told["accelerator"] = accelerator(trial.environment)
    told |= {f"n/a: {name}": why for name, why in timeline.missing.items()}
    if timeline.problems:
        told["DO NOT TRUST"] = "; ".join(timeline.problems)
    return {name: one_line(text) for name, text in told.items()}


def accelerator(environment: Environment) -> str:
    """Under what the guest ran."""
    return environment.accelerator + (", nested: in a guest under emulation" if environment.nesting else "")


def trust(timeline: Timeline, trial: Trial) -> str:
    """What may be read from the axis."""
    own = "tracing itself takes a part of each"
    if timeline.unit == "insn":
        return f"order and lengths are exact, in guest instructions; {own}"
    if clock_of(trial) == "functional":
        return "the order is true; lengths are wall time under emulation, and are not judged"
    return f"wall time; {own}"


def clock_of(trial: Trial) -> str:
    """The clock that it really ran on; before it ran, the one that was planned."""
    return str(trial.environment.clock if trial.environment is not None else trial.clock)


def _names(timeline: Timeline, trial: Trial) -> list[Entry]:
    where = f"clock {clock_of(trial)}"
    if trial.environment is not None:
        where += f", {accelerator(trial.environment)}"
    tracks = [(GUEST, TOUCHES, "touches"), (GUEST, FAULTS, "guest faults")]
    processes = [(GUEST, f"guest: {trial.case} on {trial.machine} ({where})")]
    if timeline.exits is not None:
        processes.append((HOST, f"host: KVM and QEMU ({where})"))
        tracks.append((HOST, EXITS, "exits"))
    if timeline.host_faults is not None:
        tracks.append((HOST, HOST_FAULTS, "host faults in an exit"))
        tracks += [(HOST, thread, f"host faults of QEMU's thread {thread}") for thread in _others(timeline)]
    return [
        *(_name("process", pid, 0, name) for pid, name in processes),
        *(_name("thread", pid, tid, name) for pid, tid, name in tracks),
    ]


def _name(kind: str, pid: int, tid: int, name: str) -> Entry:
    return {"ph": "M", "name": f"{kind}_name", "pid": pid, "tid": tid, "args": {"name": name}}


def _others(timeline: Timeline) -> list[int]:
    """Threads of QEMU that faulted outside of an exit."""
    return sorted({one.thread for one in timeline.host_faults or () if one.exit is None})


def _slice(timeline: Timeline, pid: int, tid: int, name: str, begin: int, end: int, **args: Any) -> Entry:
    told = {key: value for key, value in args.items() if value is not None}
    first, last = _units(timeline, begin), _units(timeline, end)
    at = {"ts": first / 1000, "dur": (last - first) / 1000}
    return {"ph": "X", "pid": pid, "tid": tid, "name": name, **at, "args": told}


def _units(timeline: Timeline, ticks: int) -> int:
    """Whole units since the earliest event. Perfetto leaves out what is before 0 and knows no parts of units:
    it would round begin and length of a slice, each for itself, and take off the track what then overlaps."""
    return round(timeline.units(ticks)) - round(timeline.units(timeline.earliest))


def _touches(timeline: Timeline) -> list[Entry]:
    return [
        _slice(timeline, GUEST, TOUCHES, f"touch {t.number}", t.begin, t.end, touch=t.number, page=t.page)
        for t in timeline.touches
    ]


def _guest_faults(timeline: Timeline) -> list[Entry]:
    return [
        {
            "ph": "i",
            "s": "t",
            "pid": GUEST,
            "tid": FAULTS,
            "name": "page fault",
            "ts": _units(timeline, one.time) / 1000,
            "args": {"touch": _touch(one.touch), "address": hex(one.address), "write": one.write},
        }
        for one in timeline.guest_faults or ()
    ]


def _exits(timeline: Timeline) -> list[Entry]:
    events = []
    for number, one in enumerate(timeline.exits or ()):
        gpa = hex(one.address) if one.address is not None else None
        events.append(
            _slice(
                timeline, HOST, EXITS, one.reason, one.begin, one.end,
                exit=number, touch=_touch(one.touch), guest_physical=gpa, write=one.write,
            )
        )  # fmt: skip
        if one.touch is not None:
            arrow = {
                "cat": "exit of",
                "name": "exit of",
                "id": number,
                "ts": _units(timeline, one.begin) / 1000,
            }
            events.append({"ph": "s", "pid": GUEST, "tid": TOUCHES, **arrow})
            events.append({"ph": "f", "bp": "e", "pid": HOST, "tid": EXITS, **arrow})
    return events


def _host_faults(timeline: Timeline) -> list[Entry]:
    return [
        _slice(
            timeline, HOST, HOST_FAULTS if one.exit is not None else one.thread,
            "fault for the guest" if one.for_guest else "fault of QEMU", one.begin, one.end,
            exit=one.exit, touch=_touch(one.touch), address=hex(one.address),
        )
        for one in timeline.host_faults or ()
    ]  # fmt: skip


def _touch(number: int | None) -> int | str:
    return "none" if number is None else number
