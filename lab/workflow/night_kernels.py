# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernels of a night: each obtained once; one that cannot be had is told, and the night goes on."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lab import files, log
from lab.errors import Interrupted, LabError, SeriesError
from lab.kernel.kernel import Kernel
from lab.results.models import RunRecord, Subject
from lab.results.runfolder import RunFolder
from lab.waiting import Deadline
from lab.workflow.night_plan import note_obtained, obtained_path
from lab.workflow.subjects import kept_series, obtain_subject

OVER = "the time budget was used up before its kernel was had"


@dataclass
class Kernels:
    """What came of the kernels of a night, by role."""

    ready: dict[str, Kernel] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)  # why
    at_fault: list[str] = field(default_factory=list)  # of these, those whose series does not apply or build
    left: dict[str, str] = field(default_factory=dict)  # not begun: why


def obtain_all(run: RunFolder, roles: Iterable[str], until: Deadline | None) -> Kernels:
    """Obtain the kernels of these roles, one after the other, until the budget is used up.

    Raises Interrupted only; what a build has done by then is kept in the cache.
    """
    subjects = run.read().subjects
    found = Kernels()
    for role in roles:
        if until is not None and until.expired:
            found.left[role] = OVER
            continue
        try:
            found.ready[role] = _obtained(run, subjects[role])
        except Interrupted:
            raise
        except SeriesError as error:
            found.failed[role] = error.message
            found.at_fault.append(role)
        except LabError as error:
            found.failed[role] = error.message
        except OSError as error:
            found.failed[role] = str(error)
        if role in found.failed:
            log.info(f"kernel {role}: {found.failed[role]}")
    return found


def _obtained(run: RunFolder, subject: Subject) -> Kernel:
    started = time.monotonic()
    kernel = obtain_subject(subject, kept_series(run, subject))
    kept = obtained_path(subject, [run.path / name for name in subject.mboxes])
    seconds = round(time.monotonic() - started, 1)
    paths = [kernel.root, kernel.vmlinuz, *kernel.replaced.values()]
    note_obtained(kept, kernel.record.id, kernel.record.name, seconds, paths)
    return kernel


def moved_since(
    run: RunFolder, kernels: Mapping[str, Kernel], earlier: Iterable[RunRecord]
) -> dict[str, str]:
    """The roles whose name stands for another kernel than in the newest earlier night that had it."""
    waiting = {subject_key(subject): role for role, subject in run.read().subjects.items() if role in kernels}
    found: dict[str, str] = {}
    for night in earlier:
        for theirs, subject in night.subjects.items():
            before = night.kernels.get(theirs, "")
            if not before or (role := waiting.pop(subject_key(subject), None)) is None:
                continue
            now = kernels[role].record.id
            if now != before:
                found[role] = f"was {before} in {night.id}, now {now}"
        if not waiting:
            break
    return found


def subject_key(subject: Subject) -> tuple[str, str, str]:
    """What a kernel is asked for by, in every night."""
    return subject.kernel, subject.series, subject.kconfig


def mboxes_of(run: RunFolder, names: Mapping[str, Path]) -> None:
    """Keep the series of a night in its run folder, under the names that its kernels have for them."""
    for name, path in names.items():
        files.write_whole(run.path / name, path.read_bytes())
