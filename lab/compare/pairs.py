# SPDX-License-Identifier: GPL-2.0-or-later
"""Which trials stand against which: the cells of a comparison."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lab.results.conditions import guest_of
from lab.results.models import Clock, Outcome, RunRecord, Trial

BASE, PATCHED = "base", "patched"


@dataclass(frozen=True)
class Cell:
    """All boots of one case on one machine and clock, base against patched."""

    case: str
    machine: str
    clock: Clock
    base: tuple[Trial, ...]
    patched: tuple[Trial, ...]

    def side(self, role: str) -> tuple[Trial, ...]:
        return self.base if role == BASE else self.patched

    def outcomes(self, role: str) -> frozenset[Outcome]:
        return frozenset(trial.outcome for trial in self.side(role))

    @property
    def skipped(self) -> bool:
        """Both sides ran nothing but SKIP: the case means nothing here, by agreement."""
        return self.outcomes(BASE) == self.outcomes(PATCHED) == frozenset({Outcome.SKIP})

    @property
    def as_expected(self) -> bool:
        """Both sides failed, the patched one in no other way, as is known of the kernel."""
        known = all(side and all(t.as_expected for t in side) for side in (self.base, self.patched))
        return known and self.outcomes(PATCHED) <= self.outcomes(BASE)

    @property
    def mended(self) -> bool:
        """The base fails as it is known to, and the patched kernel does not fail."""
        return (
            bool(self.base)
            and all(trial.as_expected for trial in self.base)
            and self.outcomes(PATCHED) == {Outcome.PASS}
        )

    def passed(self, role: str) -> tuple[Trial, ...]:
        """The boots of one side whose numbers may be judged."""
        return tuple(trial for trial in self.side(role) if trial.outcome is Outcome.PASS)

    def one_sided(self) -> str:
        """How it stands against nothing, as where two runs have planned it on different clocks; "" if not."""
        if bool(self.base) == bool(self.patched):
            return ""
        ran, other = (BASE, PATCHED) if self.base else (PATCHED, BASE)
        ends = ", ".join(sorted(self.outcomes(ran)))
        where = f"{self.case} on {self.machine}"
        return f"{where}: on the {self.clock} clock it ran on {ran} ({ends}) and not on {other}"

    def why_incomparable(self) -> str:
        """Why numbers of the two sides must not be held against each other; "" if they may."""
        for role in (BASE, PATCHED):
            if not self.passed(role):
                ends = sorted(str(outcome) for outcome in self.outcomes(role))
                return f"{role}: " + (", ".join(ends) if ends else "was not run")
            if len({trial.kernel for trial in self.passed(role)}) > 1:
                return f"{role}: not all boots were of the same kernel"
        return _different_conditions(self.passed(BASE) + self.passed(PATCHED), self.clock)


def step_role(number: int) -> str:
    """The role of the kernel after the first `number` patches of a series."""
    return f"patch-{number}"


def cells(record: RunRecord, trials: Iterable[Trial]) -> list[Cell]:
    """Every cell that was planned or run, cases in the run's order, machines in the plan's order.

    Of several attempts at one trial only the last one counts.
    """
    newest = newest_attempts(trials)
    planned = [p for p in record.plan if p.role in (BASE, PATCHED)]
    entries: list[tuple[int, str, str, Clock]] = [(p.number, p.case, p.machine, p.clock) for p in planned]
    entries += [(t.number, t.case, t.machine, t.clock) for t in newest if t.role in (BASE, PATCHED)]
    case_order = {name: position for position, name in enumerate(record.cases)}
    entries.sort(key=lambda e: (case_order.get(e[1], len(case_order)), e[0]))
    keys = list(dict.fromkeys(entry[1:] for entry in entries))

    def side(key: tuple[str, str, Clock], role: str) -> tuple[Trial, ...]:
        found = [t for t in newest if (t.case, t.machine, t.clock) == key and t.role == role]
        return tuple(sorted(found, key=lambda t: t.repeat))

    return [Cell(*key, base=side(key, BASE), patched=side(key, PATCHED)) for key in keys]


def newest_attempts(trials: Iterable[Trial]) -> list[Trial]:
    """The last attempt at each trial, in plan order."""
    newest: dict[tuple[object, ...], Trial] = {}
    for trial in trials:
        key = (trial.case, trial.machine, trial.clock, trial.role, trial.repeat)
        held = newest.get(key)
        if held is None or (trial.attempt, trial.number) > (held.attempt, held.number):
            newest[key] = trial
    return sorted(newest.values(), key=lambda trial: trial.number)


def _different_conditions(trials: tuple[Trial, ...], clock: Clock) -> str:
    """Name the first condition beside the kernel that was not the same for all; "" if none.

    A resumed run may meet a newer QEMU, an edited case or machine: its numbers then have two possible causes.
    """
    if len({trial.case_digest for trial in trials}) > 1:
        return "the case was edited between the trials"
    if len({guest_of(trial.environment) for trial in trials if trial.environment is not None}) > 1:
        return "the guest's machine or its command line was not the same for all trials"
    fields = ["accelerator", "nesting", "traced", "qemu_version", "memory_backing"]
    if clock is Clock.REAL:
        fields += ["host", "host_kernel", "host_cpu"]
    for field in fields:
        seen = {str(getattr(t.environment, field)) for t in trials if t.environment is not None}
        if len(seen) > 1:
            return f"{field} was not the same for all trials: " + ", ".join(sorted(seen))
    return ""
