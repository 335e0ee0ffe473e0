# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes the files of a trial with a timeline: a guest with a TSC of its own, four touches, two faults."""

from __future__ import annotations

import json
from pathlib import Path

OFFSET = -5000
"""guest = host + OFFSET"""

TICKS = b"touches 1 ns\nfaults 2\nlength 500\nbegin 1000\n0 400\n1 50\n16 500\n17 50\n"
"""The guest's TSC: 1000 to 1400, 1450, 1950, 2000; half a nanosecond each."""

HEAD = b"# tracer: nop\n#\n# entries-in-buffer/entries-written: %d/%d   #P:1\n#\n"
CPU = 98


def trace(lines: list[str], lost: int = 0) -> bytes:
    """The file `trace` of an instance."""
    return HEAD % (len(lines), len(lines) + lost) + "".join(line + "\n" for line in lines).encode()


def event(time: int, name: str, text: str, thread: int = CPU, comm: str = "qemu-system-x86") -> str:
    return f" {comm}-{thread}      [001] d..1. {time:>12}: {name}: {text}"


def guest_fault(time: int) -> str:
    text = "address=0x7ffff7be0000 ip=0x4043ab error_code=0x6"
    return event(time, "page_fault_user", text, thread=80, comm="workload")


def leave(time: int, reason: str) -> str:
    text = f"vcpu 0 reason {reason} rip 0xffffffff8107e914 info1 0x1 info2 0x0 intr_info 0xec error_code 0x0"
    return event(time, "kvm_exit", text)


def enter(time: int) -> str:
    return event(time, "kvm_entry", "vcpu 0, rip 0xffffffff8107e916")


GUEST = trace([guest_fault(1010), guest_fault(1460)])
HOST_LINES = [
    enter(5900),
    leave(6100, "npf"),
    event(6110, "kvm_page_fault", "vcpu 0 rip 0x4043ab address 0x00000000fd000000 error_code 0x6"),
    event(6120, "host_fault", "(handle_mm_fault+0x0/0x280) address=0x7f0000001000 flags=0x1"),
    event(6200, "host_fault_done", "(__get_user_pages+0x1/0x2 <- handle_mm_fault) result=0"),
    enter(6300),
    event(6350, "host_fault", "(handle_mm_fault+0x0/0x280) address=0x55000000 flags=0x41", thread=90),
    event(6360, "host_fault_done", "(exc_page_fault+0x1/0x2 <- handle_mm_fault) result=0", thread=90),
    leave(6600, "interrupt"),
    enter(6700),
    leave(7100, "io"),
]
"""Host times of the touches: 6000 to 6400, 6450, 6950, 7000."""


def clock(offset: int = OFFSET) -> bytes:
    edge = {"offset": offset, "ratio": 1, "bits": 0}
    return json.dumps({"thread": CPU, "clocks": [edge, edge], "missing": {}}).encode()


def files(**changed: bytes | None) -> dict[str, bytes]:
    """A whole trial's, by name below its folder; `None` leaves one out."""
    whole = {
        "samples/touches.ticks": changed.get("ticks", TICKS),
        "samples/guest.trace": changed.get("guest", GUEST),
        "host.trace": changed.get("host", trace(HOST_LINES)),
        "host-clock.json": changed.get("clock", clock()),
    }
    return {name: content for name, content in whole.items() if content is not None}


def write(folder: Path, contents: dict[str, bytes]) -> Path:
    """Into a trial's folder."""
    (folder / "samples").mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return folder
