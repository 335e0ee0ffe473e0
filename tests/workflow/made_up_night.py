# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes run folders of nights with made-up trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import stand_ins

import lab
from lab.campaign.plan import planned_trial
from lab.results.models import (
    CaseRecord,
    Clock,
    KernelRecord,
    Outcome,
    RunRecord,
    Subject,
    Trial,
)
from lab.results.night import WORKFLOW, NightRecord, write_night
from lab.results.runfolder import RunFolder, write_record

CELLS = (("smoke/boot", "qxl"), ("prefault/first-touch", "qxl"), ("prefault/second-touch", "qxl"))

KERNEL = stand_ins.kernel_record()

ENVIRONMENT = stand_ins.environment(lab_version=lab.__version__)


def qemu() -> str:
    return ENVIRONMENT.qemu_version


def subject(series: str = "") -> Subject:
    return Subject(kernel="stock", series=series)


def make_night(
    when: str,
    *,
    kernel: KernelRecord = KERNEL,
    cells: Sequence[tuple[str, str]] = CELLS,
    roles: int = 1,
    outcomes: Mapping[str, Outcome] | None = None,
    asked: Subject | None = None,
    run: bool = True,
    leave_out: int = 0,
) -> RunFolder:
    """A night that ran all of its cells but the last `leave_out`; with `run=False` none has run yet."""
    names = ["stock", *(f"stock-{n}" for n in range(2, roles + 1))]
    places = [(role, case, machine) for role in names for case, machine in cells]
    plan = tuple(
        planned_trial(number, case, role, machine, Clock.VIRTUAL)
        for number, (role, case, machine) in enumerate(places, 1)
    )
    made_up = CaseRecord(title="t", question="q", memory_manager=None)
    folder = RunFolder.create(
        RunRecord(
            id=f"{when}-{WORKFLOW}-x-0000",
            workflow=WORKFLOW,
            command=("nightly",),
            lab_version=lab.__version__,
            created=when,
            title="made up",
            subjects={role: asked or subject() for role in names},
            kernels=dict.fromkeys(names, kernel.id) if run else {},
            cases={case: made_up for case, _ in cells},
            plan=plan,
            finished=run,
        )
    )
    write_night(folder, NightRecord(matrix="x.yaml"))
    if run:
        folder.add_kernel(kernel)
        for one in plan[: len(plan) - leave_out]:
            outcome = (outcomes or {}).get(one.case, Outcome.PASS)
            trial = Trial(
                **one.model_dump(include={"key", "number", "case", "role", "machine", "clock", "repeat"}),
                case_digest="d",
                kernel=kernel.id,
                outcome=outcome,
                reason="" if outcome is Outcome.PASS else "made up",
                stage="done",
                environment=ENVIRONMENT,
            )
            with folder.new_trial(one.key) as path:
                write_record(path / "trial.json", trial)
    return folder
