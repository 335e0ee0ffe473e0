# SPDX-License-Identifier: GPL-2.0-or-later
"""Exits by reason, counted by the kernel that runs QEMU: a histogram of the tracepoint kvm:kvm_exit.

The kernel adds them up itself (a hist trigger), so no event can be lost to a full buffer. The lab's own
instance of tracefs keeps it apart from whoever else traces.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from lab.errors import InfraError
from lab.instrument.exits import REASONS
from lab.instrument.tracefs import TRACEFS, own_instance

EVENT = "events/kvm/kvm_exit"

_ENTRY = re.compile(r"^\{ exit_reason: +([0-9]+), isa: +([0-9]+) *\} hitcount: +([0-9]+)$", re.MULTILINE)
_DROPPED = re.compile(r"^ *Dropped: ([0-9]+)$", re.MULTILINE)


class ExitTrace:
    """A running histogram."""

    def __init__(self, instance: Path) -> None:
        self._hist = instance / EVENT / "hist"

    def read(self) -> dict[str, int]:
        """Exits so far, by name. InfraError if the kernel could not keep count."""
        return parse(self._hist.read_text())


def parse(text: str) -> dict[str, int]:
    """What the file `hist` says; exits of one name are added up, unknown ones are called by their number."""
    dropped = _DROPPED.search(text)
    if dropped is None or int(dropped[1]):
        raise InfraError("tracefs lost exits: its histogram is full, or not as expected")
    found: dict[str, int] = {}
    for code, isa, count in _ENTRY.findall(text):
        name = REASONS.get(int(isa), {}).get(int(code), f"x{int(code):x}")
        found[name] = found.get(name, 0) + int(count)
    return found


@contextlib.contextmanager
def traced(thread: int, tracefs: Path = TRACEFS) -> Iterator[ExitTrace]:
    """Count the exits of one vCPU, told by its thread's id. InfraError, with the reason, where that is not
    permitted or the kernel cannot."""
    armed = f"hist:keys=exit_reason,isa if common_pid=={thread}"
    with own_instance(str(thread), tracefs) as instance:
        trigger = instance / EVENT / "trigger"
        try:
            trigger.write_text(armed)
        except OSError as error:
            raise InfraError(f"tracefs: no histogram of kvm_exit: {error.strerror}") from error
        try:
            yield ExitTrace(instance)
        finally:
            with contextlib.suppress(OSError):
                trigger.write_text(f"!{armed}")
