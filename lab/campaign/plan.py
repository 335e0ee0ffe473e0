# SPDX-License-Identifier: GPL-2.0-or-later
"""Which trials a campaign consists of: a pure function."""

from __future__ import annotations

import re
from collections.abc import Sequence

from lab.results.models import Clock, PlannedTrial
from lab.spec.models import Case


def plan_trials(
    cases: Sequence[Case],
    roles: Sequence[str],
    *,
    clock: Clock,
    machines: Sequence[str] = (),
    repeats: int = 1,
    first: int = 1,
    nested: bool = False,
) -> tuple[PlannedTrial, ...]:
    """Every case on every machine for every role, `repeats` boots each, numbered from `first`.
    A case that makes sense on one clock alone keeps that one. KVM counts no instructions, so what needs it,
    or is to run `nested`, is not on the virtual clock.

    Base and patched alternate, and every second pair is turned round, so that a host that drifts
    (warms up, gets busy) drifts for both.
    """
    plan: list[PlannedTrial] = []
    for repeat in range(1, repeats + 1):
        for case in cases:
            for machine in machines or case.machines:
                order = roles if repeat % 2 else list(reversed(roles))
                wanted = clock_of(case, clock, nested=nested)
                for role in order:
                    plan.append(planned_trial(first + len(plan), case.name, role, machine, wanted, repeat))
    return tuple(plan)


def clock_of(case: Case, asked: Clock, *, nested: bool = False) -> Clock:
    """The clock that a case is run on where `asked` is asked for."""
    if case.clock is not None:
        return Clock(case.clock)
    return Clock.FUNCTIONAL if asked is Clock.VIRTUAL and (case.needs or nested) else asked


def planned_trial(
    number: int,
    case: str,
    role: str,
    machine: str,
    clock: Clock,
    repeat: int = 1,
    *,
    timeout: float | None = None,
    priority: int = 0,
) -> PlannedTrial:
    """One trial under the key that its folder has."""
    again = f"-{repeat}" if repeat > 1 else ""
    key = f"{number:04d}-{case.replace('/', '.')}-{machine}-{role}{again}"
    return PlannedTrial(
        number=number,
        key=key,
        case=case,
        role=role,
        machine=machine,
        clock=clock,
        repeat=repeat,
        timeout=timeout,
        priority=priority,
    )


def word(text: str) -> str:
    """Fit to be part of a file name: `debian-6.12`, `prefault.pmd-size`."""
    return re.sub(r"[^A-Za-z0-9.+]+", "-", text.replace("/", ".").replace("+", "-"))
