# SPDX-License-Identifier: GPL-2.0-or-later
"""What earlier nights know: which of tonight's cells need not be run again."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import lab
from lab.campaign.expected import skip_expected, with_expectation
from lab.errors import InfraError
from lab.kernel.kernel import Kernel
from lab.results.models import Outcome, PlannedTrial, RunRecord, Subject, Trial
from lab.results.night import WORKFLOW
from lab.results.runfolder import RunFolder, all_runs
from lab.spec.expectations import Expectations
from lab.spec.models import Case
from lab.workflow.night_kernels import subject_key

MAX_NIGHTS = 30
"""How many earlier nights are looked at."""

_SKIPPED = re.compile(r"\(\S*skips\.txt:\d+\)$")
"""What the reason of a SKIP that was expected ends in."""

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
    known: Expectations,
) -> dict[str, Standing]:
    """By key, the planned trials whose newest result is of the same kernel, case, timeout, lab and `qemu`
    (banner), and no other today by what is `known`."""
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
            kernel, case = kernels[planned.role], cases[planned.case]
            if (
                _stands(trial, record, kernel, case, qemu)
                and _timeout(record, trial.key) == planned.timeout
                and _as_expected_today(trial, known, kernel)
            ):
                found[planned.key] = Standing(folder.path.name, trial)
    return found


def _timeout(record: RunRecord, key: str) -> float | None:
    return next((one.timeout for one in record.plan if one.key == key), None)


def _as_expected_today(trial: Trial, known: Expectations, kernel: Kernel) -> bool:
    """Do today's expectations say of it what those of its night said?"""
    version = kernel.record.version
    skip = skip_expected(known, trial.case, trial.machine, version)
    if skip or (trial.outcome is Outcome.SKIP and _SKIPPED.search(trial.reason)):
        return trial.reason == skip
    bare = trial.model_copy(update={"expected": None})
    return with_expectation(known, bare, version).broken == trial.broken


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
