# SPDX-License-Identifier: GPL-2.0-or-later
"""One run folder as the index keeps it. What is wrong with it is told in sentences, and passed over."""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from lab.errors import InfraError
from lab.history.boots import Boot, Damaged, Setups, read_boot, text
from lab.history.model import Cell
from lab.history.passed_over import sentence
from lab.report.clean import one_line
from lab.report.untrusted import open_regular
from lab.results.models import Clock, KernelRecord, RunRecord, Subject
from lab.results.night import FILE_NAME, WORKFLOW, NightRecord, read_night
from lab.results.runfolder import RunFolder

MAX_RECORD = 64 << 20
"""Bytes of a run.json or a night.json: one of 100,000 planned trials has some 30 MB."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A planned trial that was left out, because the result of an earlier run still holds."""

    key: str
    cell: Cell
    run: str


@dataclass(frozen=True, slots=True)
class RunFacts:
    """A run folder, read."""

    record: RunRecord | None  # None: run.json cannot be used
    created: str = ""  # RFC 3339, UTC
    kernels: dict[str, KernelRecord] = field(default_factory=dict)  # by id
    boots: dict[Cell, list[Boot]] = field(default_factory=dict)
    standing: list[Standing] = field(default_factory=list)
    setups: dict[str, str] = field(default_factory=dict)  # digest -> JSON of the conditions
    damaged: list[str] = field(default_factory=list)


def stamp(run: RunFolder) -> str:
    """Changes whenever something is added to the run: a trial's folder appears, run.json is written anew.

    Raises OSError if there is no run.
    """
    parts = []
    for name in ("run.json", "trials", FILE_NAME):
        try:
            about = (run.path / name).stat()
        except FileNotFoundError:
            if name == "run.json":
                raise
            parts.append("-")
        else:
            size = 0 if name == "trials" else about.st_size
            parts.append(f"{about.st_ino}.{size}.{about.st_mtime_ns}")
    return " ".join(parts)


def read_run(run: RunFolder) -> RunFacts:
    """Read what the index keeps of a run. Never raises for what is wrong inside of it."""
    try:
        _bounded(run.path / "run.json")
        record = run.read()
        created = _utc(record.created)
    except (InfraError, Damaged) as error:
        why = _words(error).replace(f"{run.path}/", "")
        if _of_another_form(run.path / "run.json"):
            why = why.replace("is damaged", "is of another format", 1)
        return RunFacts(None, damaged=[sentence(run.path.name, why)])
    facts = RunFacts(record, created)
    _read_kernels(run, facts)
    cells = _Cells(record, facts.kernels)
    _read_trials(run, facts, cells)
    if record.workflow == WORKFLOW:
        _read_standing(run, facts, cells)
    return facts


def _words(error: Exception) -> str:
    return one_line(error.message if isinstance(error, InfraError) else str(error), limit=400)


def _of_another_form(path: Path) -> bool:
    """Is it whole, and a lab's, though not one of ours? (An older lab's, or a newer one's.)"""
    try:
        _bounded(path)
        document = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError, Damaged):
        return False
    return isinstance(document, dict) and {"lab_version", "workflow", "plan"} <= document.keys()


def _bounded(path: Path) -> None:
    """Raise Damaged for a record that is no plain file of a bearable size."""
    try:
        with open_regular(path) as handle:
            if handle.seek(0, os.SEEK_END) > MAX_RECORD:
                raise Damaged(f"{path} is larger than {MAX_RECORD >> 20} MiB")
    except OSError as error:
        raise Damaged(f"cannot read {path}: {error.strerror}") from error


def _utc(text: str) -> str:
    """A time as RFC 3339 in UTC, so that times compare as texts; Damaged if it is none."""
    try:
        moment = datetime.datetime.fromisoformat(text[:40])
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=datetime.UTC)
        return moment.astimezone(datetime.UTC).isoformat(timespec="seconds")
    except (ValueError, OverflowError):
        raise Damaged(f"{text!r:.60} is no time") from None


def _read_kernels(run: RunFolder, facts: RunFacts) -> None:
    for path in sorted(run.path.glob("kernels/*/kernel.json"))[:1000]:
        try:
            _bounded(path)
            kernel = KernelRecord.model_validate_json(path.read_bytes())
        except (OSError, ValueError, Damaged):
            name = one_line(path.relative_to(run.path.parent).as_posix())
            facts.damaged.append(f"{name} is damaged: its kernel is told by its id alone")
            continue
        facts.kernels[kernel.id] = kernel


class _Cells:
    """Which cell a trial belongs to; each made once."""

    def __init__(self, record: RunRecord, kernels: Mapping[str, KernelRecord]) -> None:
        self._record = record
        self._kernels = kernels
        self._made: dict[tuple[str, str, str, Clock], Cell] = {}

    def of(self, role: str, machine: str, case: str, clock: Clock) -> Cell:
        key = (role, machine, case, clock)
        if key not in self._made:
            subject = self._subject(role)
            series, kconfig = text(subject.series), text(subject.kconfig)
            self._made[key] = Cell(text(subject.kernel), series, kconfig, machine, case, clock)
        return self._made[key]

    def _subject(self, role: str) -> Subject:
        """As the run tells; for one that does not tell, the kernel's own name."""
        if role in self._record.subjects:
            return self._record.subjects[role]
        kernel = self._kernels.get(self._record.kernels.get(role, ""))
        name = kernel.name if kernel else self._record.base_source or role
        base, _, series = name.partition(" + ")
        return Subject(kernel=base, series=series)


def _read_trials(run: RunFolder, facts: RunFacts, cells: _Cells) -> None:
    setups = Setups(facts.setups)
    slow = {kernel.id for kernel in facts.kernels.values() if kernel.debug_options}
    newest: dict[tuple[Cell, str, int], Boot] = {}
    trials = run.path / "trials"
    try:
        keys = sorted(entry.name for entry in os.scandir(trials) if not entry.name.startswith("."))
    except OSError:
        return
    for key in keys:
        path = f"{trials}/{key}/trial.json"
        try:
            boot = read_boot(path, key, setups)
        except Damaged as error:
            name = one_line(f"{run.path.name}/trials/{key}/trial.json")
            facts.damaged.append(f"{name} is damaged: {_words(error)}")
            continue
        if boot is None:
            continue
        if boot.kernel in slow:
            # Times of a kernel that is built to find bugs mean nothing (compare.debug).
            counts = {name: one for name, one in boot.numbers.items() if one[2] == Clock.COUNT}
            boot = replace(boot, numbers=counts)
        cell = cells.of(boot.role, boot.machine, boot.case, boot.clock)
        held = newest.get((cell, boot.role, boot.repeat))
        if held is None or (boot.attempt, boot.number) > (held.attempt, held.number):
            newest[cell, boot.role, boot.repeat] = boot
    for (cell, _, _), boot in newest.items():
        facts.boots.setdefault(cell, []).append(boot)


def _read_standing(run: RunFolder, facts: RunFacts, cells: _Cells) -> None:
    if not (run.path / FILE_NAME).exists():
        return
    try:
        _bounded(run.path / FILE_NAME)
        night: NightRecord = read_night(run)
    except (InfraError, Damaged) as error:
        facts.damaged.append(_words(error).replace(f"{run.path.parent}/", ""))
        return
    assert facts.record is not None
    for planned in facts.record.plan:
        if stands := night.unchanged.get(planned.key):
            machine, case = text(planned.machine), text(planned.case)
            cell = cells.of(text(planned.role), machine, case, planned.clock)
            facts.standing.append(Standing(text(planned.key), cell, text(stands)))
