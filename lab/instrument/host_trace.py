# SPDX-License-Identifier: GPL-2.0-or-later
"""What a host's kernel does for one virtual CPU in the spans that its guest announces: exits and entries of
KVM, faults in the nested tables, and faults of QEMU's memory, each by the host's TSC.

KVM resolves a guest's access to memory that the host has not mapped by itself, without an exception: a probe
on handle_mm_fault() sees these faults, and those of QEMU's own accesses.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

from lab.errors import InfraError
from lab.instrument.tracefs import TRACEFS, own_instance, sweep_instances
from lab.results.trace_text import HOST_CLOCK, HOST_TRACE, MAX_TEXT

EVENTS = ("kvm/kvm_exit", "kvm/kvm_entry", "kvm/kvm_page_fault")
PROBES = {
    "host_fault": "p:{group}/host_fault handle_mm_fault address=$arg2:x64 flags=$arg3:x32",
    "host_fault_done": "r:{group}/host_fault_done handle_mm_fault result=$retval:x32",
}
EXCEPTIONS = "exceptions/page_fault_user"
"""Where no probe can be set: the faults of QEMU's own accesses alone."""

BUFFER_KB = 8192
"""For each processor; an exit takes some 150 bytes with its entry and its fault."""

DEBUGFS = Path("/sys/kernel/debug/kvm")
_NUMBER = re.compile(r"-?[0-9]{1,20}")


class HostTrace:
    """A recording; it begins and ends at the edges of spans, while the guest stands."""

    def __init__(self, instance: Path, thread: int, debugfs: Path = DEBUGFS) -> None:
        self._instance = instance
        self._thread = thread
        self._debugfs = debugfs
        self._clocks: list[dict[str, int]] = []
        self.missing: dict[str, str] = {}
        """What could not be recorded, and why."""

    def edge(self, *, begins: bool) -> None:
        """The guest stands where a span begins, or ends. InfraError if the recording cannot be switched."""
        self._clocks.append(tsc_of(self._thread, self._debugfs))
        try:
            (self._instance / "tracing_on").write_text("1" if begins else "0")
        except OSError as error:
            raise InfraError(f"tracefs: tracing_on: {error.strerror}") from error

    def keep(self, folder: Path) -> None:
        """Write the evidence."""
        try:
            with (self._instance / "trace").open("rb") as text:
                (folder / HOST_TRACE).write_bytes(text.read(MAX_TEXT + 1))
        except OSError as error:
            raise InfraError(f"cannot keep the host's trace: {error.strerror}") from error
        _write_facts(folder, self._thread, self._clocks, self.missing)

    def arm(self, group: str | None) -> None:
        """Choose clock, threads and events; nothing is recorded yet. InfraError if KVM has no events."""
        threads = threads_of(tgid(self._thread))
        settings = [
            ("tracing_on", "0"),
            ("buffer_size_kb", str(BUFFER_KB)),
            ("trace_clock", "x86-tsc"),
            ("options/event-fork", "1"),
            ("set_event_pid", " ".join(map(str, threads))),
            *((f"events/{event}/enable", "1") for event in EVENTS),
        ]
        for name, value in settings:
            _write(self._instance / name, value)
        faults = [f"{group}/{name}" for name in PROBES] if group else [EXCEPTIONS]
        try:
            for event in faults:
                _write(self._instance / f"events/{event}/enable", "1")
        except InfraError as error:
            self.missing["host faults"] = error.message


def not_recorded(folder: Path, thread: int, why: str) -> None:
    """Write why there is no evidence of a guest that KVM ran."""
    _write_facts(folder, thread, [], {"exits": why, "host faults": why})


def _write_facts(folder: Path, thread: int, clocks: list[dict[str, int]], missing: dict[str, str]) -> None:
    facts = {"thread": thread, "clocks": clocks, "missing": missing}
    (folder / HOST_CLOCK).write_text(json.dumps(facts, indent=1) + "\n")


@contextlib.contextmanager
def recording(thread: int, folder: Path, tracefs: Path = TRACEFS) -> Iterator[HostTrace]:
    """Record what is done for the virtual CPU of that thread; the evidence is in `folder` in the end.

    InfraError, with the reason, where that is not permitted or the kernel cannot.
    """
    tsc_of(thread)  # without it there is no common axis
    sweep(tracefs)
    group = f"faultlab_{os.getpid()}_{thread}"
    # The probes outlive the instance that uses them, and are removed after it.
    with contextlib.ExitStack() as ending:
        ending.callback(_drop_probes, tracefs, group)
        why_none = _add_probes(tracefs, group)
        with own_instance(f"{thread}-timeline", tracefs) as instance:
            trace = HostTrace(instance, thread)
            if why_none:
                trace.missing["host faults of KVM"] = why_none
            trace.arm(None if why_none else group)
            try:
                yield trace
            finally:
                trace.keep(folder)


def tgid(thread: int) -> int:
    """The process of a thread."""
    found = re.search(r"^Tgid:\s+([0-9]+)$", _read(Path(f"/proc/{thread}/status")), re.MULTILINE)
    return int(found[1]) if found else thread


def sweep(tracefs: Path = TRACEFS) -> None:
    """Remove what killed labs have left; a probe costs every fault of the host. Instances use them: first."""
    sweep_instances(tracefs)
    _drop_probes(tracefs)


def threads_of(process: int) -> list[int]:
    """Those that it has now. InfraError if it has ended."""
    try:
        return sorted(int(path.name) for path in Path("/proc", str(process), "task").iterdir())
    except OSError as error:
        raise InfraError(f"process {process} has ended") from error


def tsc_of(thread: int, debugfs: Path = DEBUGFS) -> dict[str, int]:
    """How the guest's TSC follows from the host's: guest = host * ratio / 2^bits + offset.

    `thread` is one of the QEMU that runs the guest, which has one virtual CPU. InfraError if KVM does not
    tell.
    """
    found = sorted(debugfs.glob(f"{tgid(thread)}-*/vcpu0"))
    if not found:
        raise InfraError(
            f"KVM does not tell the guest's TSC offset: no {debugfs}/PID-FD/vcpu0, which root can read"
        )
    told = {"offset": _number(found[0] / "tsc-offset"), "ratio": 1, "bits": 0}
    if (found[0] / "tsc-scaling-ratio").exists():
        told["ratio"] = _number(found[0] / "tsc-scaling-ratio")
        told["bits"] = _number(found[0] / "tsc-scaling-ratio-frac-bits")
    return told


def _number(path: Path) -> int:
    text = _read(path).strip()
    if not _NUMBER.fullmatch(text):
        raise InfraError(f"{path} is no number: {text!r:.40}")
    return int(text)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError as error:
        raise InfraError(f"cannot read {path}: {error.strerror}") from error


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text)
    except OSError as error:
        raise InfraError(f"tracefs: {path.parent.name}/{path.name}: {error.strerror}") from error


def _command(path: Path, text: str) -> None:
    """Add a line to a file of commands. Not by open("a"), which seeks to an end that such a file has not."""
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    try:
        os.write(handle, text.encode() + b"\n")
    finally:
        os.close(handle)


def _add_probes(tracefs: Path, group: str) -> str:
    """Set the probes; why that cannot be done, or ""."""
    try:
        for definition in PROBES.values():
            _command(tracefs / "kprobe_events", definition.format(group=group))
    except OSError as error:
        return f"no probe on handle_mm_fault: {error.strerror}"
    return ""


def _drop_probes(tracefs: Path, group: str = "") -> None:
    """Remove the probes of this group; without one, those of labs that were killed."""
    with contextlib.suppress(OSError):
        text = (tracefs / "kprobe_events").read_text()
        for owner, name in re.findall(r"^[pr][0-9]*:(faultlab_[0-9]+_[0-9]+)/(\w+) ", text, re.MULTILINE):
            if owner == group or not (group or Path("/proc", owner.split("_")[1]).exists()):
                with contextlib.suppress(OSError):
                    _command(tracefs / "kprobe_events", f"-:{owner}/{name}")
