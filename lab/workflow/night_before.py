# SPDX-License-Identifier: GPL-2.0-or-later
"""What earlier nights know: which of tonight's cells need not be run again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import lab
from lab.errors import InfraError
from lab.kernel.kernel import Kernel
from lab.results.models import Outcome, PlannedTrial, RunRecord, Subject, Trial
from lab.results.night import WORKFLOW
from lab.results.runfolder import RunFolder, all_runs
from lab.spec.models import Case
from lab.workflow.night_kernels import subject_key

MAX_NIGHTS = 30
"""How many earlier nights are looked at."""

Place = tuple[tuple[str, str, str], str, str, str, int]
"""Kernel as asked for, case, machine, clock, repeat: the same boot in every night."""


@dataclass(frozen=True)
class Standing:
    """The result of an earlier night that stands for a trial of this one."""

    run: str
    trial: Trial


def earlier_nights(run: RunFolder) -> Iterator[tuple[RunFolder, RunRecord]]:
    """The nights before this one that can be read, newest first."""
    names = [one for one in all_runs() if f"-{WORKFLOW}-" in one.path.name and one.path.name < run.path.name]
    for folder in list(reversed(names))[:MAX_NIGHTS]:
        try:
            record = folder.read()
        except InfraError:
            continue
        if record.workflow == WORKFLOW:
            yield folder, record


def unchanged(
    run: RunFolder,
    todo: Iterable[PlannedTrial],
    kernels: Mapping[str, Kernel],
    cases: Mapping[str, Case],
    qemu: str,
) -> dict[str, Standing]:
    """By key, the planned trials whose newest result is of the same kernel, case, lab and `qemu` (banner)."""
    subjects = run.read().subjects
    waiting = {_place(subjects[one.role], one): one for one in todo if one.role in kernels}
    found: dict[str, Standing] = {}
    for folder, record in earlier_nights(run):
        if not waiting:
            break
        for trial in folder.readable_trials()[0]:
            subject = record.subjects.get(trial.role)
            planned = waiting.pop(_place(subject, trial), None) if subject is not None else None
            if planned is None:
                continue
            if _stands(trial, record, kernels[planned.role], cases[planned.case], qemu):
                found[planned.key] = Standing(folder.path.name, trial)
    return found


def _place(subject: Subject, one: PlannedTrial | Trial) -> Place:
    return subject_key(subject), one.case, one.machine, str(one.clock), one.repeat


def _stands(trial: Trial, record: RunRecord, kernel: Kernel, case: Case, qemu: str) -> bool:
    environment = trial.environment
    version = record.lab_version if environment is None else environment.lab_version
    return (
        trial.outcome is not Outcome.ERROR
        and trial.kernel == kernel.record.id
        and trial.case_digest == case.digest
        and version == lab.__version__
        and (environment is None or environment.qemu_version == qemu)
    )
