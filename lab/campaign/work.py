# SPDX-License-Identifier: GPL-2.0-or-later
"""What one trial needs, and who may carry it out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lab.campaign.counting import can_count
from lab.guest.accelerator import Choice
from lab.guest.prepare import Bench
from lab.kernel.kernel import Kernel
from lab.results.models import Clock, PlannedTrial, Trial
from lab.spec.expectations import Expectations
from lab.spec.models import Case, Machine

NONE_EXPECTED = Expectations()


@dataclass(frozen=True)
class Work:
    """All that one trial needs; the planned trial names it, the rest is what the names stand for."""

    planned: PlannedTrial
    case: Case
    machine: Machine
    kernel: Kernel
    choice: Choice
    program: Path | None  # the compiled workload
    earlier: tuple[str, ...] = ()  # what came of the attempts before this one
    expectations: Expectations = NONE_EXPECTED
    nested: bool = False  # the guest runs in the nested lab host
    outer_argv: tuple[str, ...] = ()  # of that host's QEMU
    timeline: bool = False  # trace the measured span, in guest and host

    @property
    def attempt(self) -> int:
        return len(self.earlier) + 1

    @property
    def counts_exits(self) -> bool:
        return (self.case.exits or self.timeline) and can_count(self.choice, self.planned.clock)

    @property
    def clock_of_numbers(self) -> Clock:
        """Time taken under emulation without counting instructions is functional, whatever was asked for."""
        emulated = self.choice.accelerator == "tcg" or self.nested
        if self.planned.clock is Clock.REAL and emulated:
            return Clock.FUNCTIONAL
        return self.planned.clock


Carrier = Callable[[Bench, Work, Path], Trial]
"""Carries a trial out, with its evidence in the folder: `run_here`, or `nested.NestedHost.run`."""
