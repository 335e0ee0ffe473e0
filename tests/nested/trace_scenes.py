# SPDX-License-Identifier: GPL-2.0-or-later
"""What test_timeline_guests.py does in the nested lab host: recordings of a QEMU that stands, and what they
leave in tracefs."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lab import proc
from lab.instrument.host_trace import recording
from lab.instrument.tracefs import TRACEFS
from lab.waiting import Deadline


@contextlib.contextmanager
def virtual_cpu() -> Iterator[int]:
    """The thread of a virtual CPU under KVM."""
    argv = [os.environ["QEMU"], "-accel", "kvm", "-nodefaults", "-display", "none", "-S"]
    child = proc.spawn([*argv, "-name", "idle,debug-threads=on"])
    deadline = Deadline("virtual CPU", 60)
    try:
        while not deadline.expired:
            for thread in Path(f"/proc/{child.pid}/task").iterdir():
                if (thread / "comm").read_text().strip() == "CPU 0/KVM":
                    yield int(thread.name)
                    return
            deadline.slice()
    finally:
        proc.kill_group(child)


def left() -> list[str]:
    """What labs have in tracefs."""
    instances = [path.name for path in (TRACEFS / "instances").iterdir()]
    probes = (TRACEFS / "kprobe_events").read_text().splitlines()
    return [*instances, *(probe.split()[0] for probe in probes)]


def cleans_up() -> bytes:
    """What is there while it records, after its end, an exception, SIGKILL, and the next one's end."""
    seen: list[list[str]] = []
    with virtual_cpu() as thread, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with recording(thread, folder):
            seen.append(left())
        seen.append(left())
        with contextlib.suppress(KeyError), recording(thread, folder):
            raise KeyError
        seen.append(left())
        killed = os.fork()
        if not killed:
            with recording(thread, folder):
                os.kill(os.getpid(), signal.SIGKILL)
        os.waitpid(killed, 0)
        seen.append(left())
        with recording(thread, folder):
            pass
        seen.append(left())
    return json.dumps(seen).encode()
