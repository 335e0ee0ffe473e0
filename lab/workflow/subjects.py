# SPDX-License-Identifier: GPL-2.0-or-later
"""A run's kernels, as they were asked for: the series that they are made with are kept in the run."""

from __future__ import annotations

from collections.abc import Sequence

from lab import files
from lab.errors import UserError
from lab.kernel.kernel import Kernel
from lab.kernel.obtain import KCONFIG, obtain, obtain_steps
from lab.kernel.series import Series, joined, read_series
from lab.results.models import Subject
from lab.results.runfolder import RunFolder

SERIES_FOLDER = "series"
"""Of a run: holds the series as they were taken."""


def with_series(kernel: str, kconfig: str, parts: Sequence[Series]) -> Subject:
    """A kernel with a series, or with one on top of another: the last one names it."""
    names = [f"{SERIES_FOLDER}/{'' if part is parts[-1] else 'onto/'}{part.path.name}" for part in parts]
    return Subject(
        kernel=kernel, kconfig=kconfig, series=parts[-1].name if parts else "", mboxes=tuple(names)
    )


def subject_of(run: RunFolder, role: str) -> Subject:
    """What a kernel of the run was asked for as. UserError if the run does not say."""
    found = run.read().subjects.get(role)
    if found is None:
        raise UserError(
            f"{run.path.name} does not say which kernel `{role}` is: it cannot be gone on with",
            hint="run the same command again",
        )
    return found


def keep_series(run: RunFolder, subject: Subject, parts: Sequence[Series]) -> None:
    """Copy the subject's series into the run folder, under the names that it has for them."""
    for name, part in zip(subject.mboxes, parts, strict=True):
        files.write_whole(run.path / name, part.raw)


def kept_series(run: RunFolder, subject: Subject) -> list[Series]:
    """The subject's series, in the order in which they are applied."""
    return [read_series(run.path / name) for name in subject.mboxes]


def obtain_subject(subject: Subject, parts: Sequence[Series]) -> Kernel:
    """The kernel, ready to boot, after the last patch of the series. Raises what `obtain_steps` raises."""
    kconfig = subject.kconfig or KCONFIG
    if not parts:
        return obtain(subject.kernel, with_build=False, kconfig=kconfig)
    return obtain_steps(subject.kernel, joined(parts), kconfig=kconfig)[-1]
