# SPDX-License-Identifier: GPL-2.0-or-later
"""Monitors that come and go while a workload runs: the steps of its case, one each time that it asks."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Sequence

from lab.errors import InfraError
from lab.guest.display import Display
from lab.guest.guest import End, Guest
from lab.spec.models import Resize
from lab.waiting import Deadline

ASKS = b"# display next\n"
"""The line of the workload's output that asks for a step (display_next() of kms.h)."""

DEAD_SECONDS = 3.0
"""How long a guest that no longer answers has to show that it is dead."""


def wait_end(guest: Guest, steps: Sequence[Resize], deadline: Deadline) -> End:
    """As `Guest.wait_end`, with the steps taken on the way. InfraError if QEMU does not take one."""
    with contextlib.ExitStack() as stack:
        display: Display | None = None
        for number, step in enumerate(steps):
            end = guest.wait_until(functools.partial(_asks_or_ends, guest, number), deadline)
            if end is not End.HAPPENED:
                return end
            if _asked(guest) <= number:
                break
            try:
                if display is None:
                    display = Display(guest.monitor)
                    stack.callback(display.close)
                display.resize(step.output, *step.pixels)
            except InfraError:
                # A guest that dies takes its display along: that is the guest's end, not the lab's failure.
                end = guest.wait_end(Deadline("end of a guest without a display", DEAD_SECONDS))
                if end is End.DEADLINE:
                    raise
                return end
        return guest.wait_end(deadline)


def _asked(guest: Guest) -> int:
    """How often the workload has asked so far."""
    return guest.streams.reader.stdout.count(ASKS)


def _asks_or_ends(guest: Guest, number: int) -> bool:
    """Has the workload asked for that step, or ended without?"""
    return _asked(guest) > number or guest.streams.reader.exit_status is not None
