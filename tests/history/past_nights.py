# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes run folders of nights: a few cells with the outcomes and numbers that a test wants."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import stand_ins

from lab.files import sha256_text
from lab.history.model import Cell
from lab.results.models import (
    CaseRecord,
    Check,
    Clock,
    Expected,
    KernelRecord,
    Measurement,
    MetricRecord,
    Outcome,
    PlannedTrial,
    RunRecord,
    Splat,
    Subject,
    Trial,
)
from lab.results.night import NightRecord, write_night
from lab.results.runfolder import RunFolder, write_record

TOUCH, SPARSE, BOOT = "prefault/first-touch", "prefault/sparse-touch", "smoke/boot"
METRICS = {
    "max": MetricRecord(title="longest touch", unit="time", better="lower", tolerance=0.05, gate=True),
    "faults": MetricRecord(title="page faults", unit="count", better="lower", tolerance=0.0, gate=False),
}
ENVIRONMENT = stand_ins.environment(guest_cmdline="console=ttyS0 lab.nonce=0123456789abcdef nokaslr")
OOPS = Splat(
    kind="oops",
    title="BUG: unable to handle page fault in ttm_bo_vm_fault",
    line=700,
    excerpt="[    1.000000] BUG: unable to handle page fault\n[    1.000001] RIP: 0010:ttm_bo_vm_fault+0x12",
)


@dataclass(frozen=True)
class Had:
    """What one boot of a case came to."""

    case: str = TOUCH
    outcome: Outcome = Outcome.PASS
    numbers: dict[str, float] = field(default_factory=dict)
    splats: tuple[Splat, ...] = ()
    failed: tuple[str, ...] = ()  # checks
    reason: str = ""
    role: str = "6.12"
    machine: str = "qxl"
    clock: Clock = Clock.VIRTUAL
    repeat: int = 1
    attempt: int = 1
    digest: str = "d" * 64
    expected: bool = False
    qemu: str = ENVIRONMENT.qemu_version
    stage: str = "run"
    seconds: float = 5.0


@dataclass(frozen=True)
class Version:
    """What a role stands for in a night."""

    kernel: str = "debian:6.12"
    version: str = "6.12.43-1"
    series: str = ""
    commit: str = ""
    kconfig: str = ""
    debug: tuple[str, ...] = ()

    @property
    def record(self) -> KernelRecord:
        name = self.kernel if self.commit else f"debian:{self.version}"
        name += f" + {self.series}" if self.series else ""
        return stand_ins.kernel_record(
            id=sha256_text(self.version, self.series, self.commit, self.kernel)[:12],
            name=name,
            release=self.version,
            version=self.version,
            commit=self.commit,
            debug_options=self.debug,
        )


def night(
    runs: Path,
    day: int,
    boots: Iterable[Had],
    *,
    versions: dict[str, Version] | None = None,
    workflow: str = "nightly",
    unchanged: dict[str, str] | None = None,
    more: Iterable[Had] = (),
    **about: Any,
) -> RunFolder:
    """A run of one day; `more` is planned and not run."""
    known = {"6.12": Version()} | (versions or {})
    boots, more = list(boots), list(more)
    planned = [_planned(number, had) for number, had in enumerate([*boots, *more], 1)]
    roles = dict.fromkeys(had.role for had in [*boots, *more])
    run = RunFolder(runs / f"202601{day:02d}T010000Z-{workflow}-made-{day:04x}")
    (run.path / "trials").mkdir(parents=True)
    run.write(
        RunRecord(
            id=run.path.name,
            workflow=workflow,
            command=(workflow,),
            lab_version="0.1.0",
            created=f"2026-01-{day:02d}T01:00:00Z",
            subjects={
                role: Subject(
                    kernel=known[role].kernel, series=known[role].series, kconfig=known[role].kconfig
                )
                for role in roles
            },
            kernels={role: known[role].record.id for role in roles},
            cases={
                name: CaseRecord(title=name, question="?", memory_manager="ttm", metrics=METRICS)
                for name in dict.fromkeys(had.case for had in [*boots, *more])
            },
            plan=tuple(planned),
            finished=True,
        )
    )
    for role in roles:
        run.add_kernel(known[role].record)
    for one, had in zip(planned, boots, strict=False):
        with run.new_trial(one.key) as folder:
            write_record(folder / "trial.json", _trial(one, had, known[had.role].record.id, day))
    if workflow == "nightly":
        write_night(run, NightRecord(matrix="made", unchanged=unchanged or {}, **about))
    return run


def _planned(number: int, had: Had) -> PlannedTrial:
    key = f"{number:04d}-{had.case.replace('/', '.')}-{had.machine}-{had.role}-{had.repeat}"
    return PlannedTrial(
        number=number,
        key=key,
        case=had.case,
        role=had.role,
        machine=had.machine,
        clock=had.clock,
        repeat=had.repeat,
    )


def _trial(one: PlannedTrial, had: Had, kernel: str, day: int) -> Trial:
    def clock_of(metric: str) -> Clock:
        return Clock.COUNT if metric == "faults" else had.clock

    return Trial(
        **one.model_dump(exclude={"timeout", "priority"}),
        case_digest=had.digest,
        kernel=kernel,
        attempt=had.attempt,
        outcome=had.outcome,
        reason=had.reason,
        expected=Expected(kind="fail", reason="known", where="fails.txt:1", met=True)
        if had.expected
        else None,
        stage=had.stage,
        measurements=tuple(
            Measurement(
                metric=name,
                value=value,
                unit={Clock.COUNT: "count", Clock.VIRTUAL: "insn"}.get(clock_of(name), "ns"),
                clock=clock_of(name),
            )
            for name, value in had.numbers.items()
        ),
        checks=tuple(Check(name=name, result="not ok") for name in had.failed),
        splats=had.splats,
        seconds=had.seconds,
        started=f"2026-01-{day:02d}T01:00:10+00:00",
        environment=ENVIRONMENT.model_copy(update={"clock": had.clock, "qemu_version": had.qemu}),
    )


def cell(had: Had | None = None, version: Version | None = None) -> Cell:
    had, version = had or Had(), version or Version()
    return Cell(version.kernel, version.series, version.kconfig, had.machine, had.case, had.clock)
