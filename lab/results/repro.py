# SPDX-License-Identifier: GPL-2.0-or-later
"""repro.json of a run: which regressions it is to confirm, and what each of its kernels has to show.

With the trials it is all that the verdict is made of, so that it can be reached again from the run folder.
"""

from __future__ import annotations

from pydantic import Field

from lab.results.models import Record
from lab.results.runfolder import RunFolder, read_record, write_record

WORKFLOW = "repro"
"""RunRecord.workflow of such a run."""

FILE_NAME = "repro.json"


class WantedSign(Record):
    """One thing that a trial has to show (lab.spec.regression.Sign); fields that do not apply are empty."""

    outcome: str = ""
    check: str = ""
    result: str = ""  # of the check: "ok" or "not ok"
    says: str = ""  # words of what the check saw
    metric: str = ""
    least: float | None = None
    most: float | None = None
    splat: str = ""  # words of its title
    seen: bool = True  # is there to be such a splat, or none?


class WantedKernel(Record):
    """A kernel that is good, or bad."""

    role: str  # of the run's kernels: "NAME.good", "NAME.bad-2"
    label: str  # as a table names it: "6.12.57"
    why: str = ""  # why this version, where it stands for another


class WantedRegression(Record):
    """One regression with all its kernels."""

    name: str
    title: str
    kind: str  # "reported" or "observed"
    case: str
    machine: str
    path: str = ""  # of the YAML, where it was run
    links: tuple[str, ...] = ()
    good: tuple[WantedKernel, ...]
    bad: tuple[WantedKernel, ...]
    good_signs: tuple[WantedSign, ...]
    bad_signs: tuple[WantedSign, ...]

    @property
    def roles(self) -> tuple[str, ...]:
        return tuple(kernel.role for kernel in (*self.good, *self.bad))


class ReproRecord(Record):
    """What the run is to confirm."""

    regressions: tuple[WantedRegression, ...]
    lacking: dict[str, str] = Field(default_factory=dict)  # role -> why its kernel could not be had


def read_repro(run: RunFolder) -> ReproRecord:
    """InfraError if the run has none, or a damaged one."""
    return read_record(run.path / FILE_NAME, ReproRecord)


def write_repro(run: RunFolder, record: ReproRecord) -> None:
    write_record(run.path / FILE_NAME, record)
