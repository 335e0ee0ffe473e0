# SPDX-License-Identifier: GPL-2.0-or-later
"""night.json: what a night knows beside its trials: what was left out, which kernels it could not have."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lab.results.models import Record
from lab.results.runfolder import RunFolder, read_record, write_record

WORKFLOW = "nightly"
"""RunRecord.workflow of a night."""

FILE_NAME = "night.json"


class NotRun(Record):
    """A planned trial that was left out."""

    key: str  # PlannedTrial.key
    why: str  # one sentence: "the time budget of 2 h is used up"
    because: Literal["budget", "unchanged", "kernel", "case"] = "budget"


class NightRecord(Record):
    """What a night says beside its plan and its trials."""

    matrix: str  # name or path of the matrix file
    budget_seconds: float | None = None  # None: as long as it takes
    skip_unchanged: bool = False  # asked for with --skip-unchanged
    expected_seconds: float | None = None  # what its trials were expected to take together
    not_run: tuple[NotRun, ...] = ()
    unchanged: dict[str, str] = Field(default_factory=dict)  # trial key -> run whose result stands for it
    still_broken: dict[str, str] = Field(default_factory=dict)  # of these, those that fail there: key -> how
    failed_kernels: dict[str, str] = Field(default_factory=dict)  # role -> why it could not be had or built
    at_fault: tuple[str, ...] = ()  # of these roles, those whose series does not apply or build
    moved: dict[str, str] = Field(default_factory=dict)  # role -> "was <id> in <run>, now <id>"
    left_out: tuple[
        str, ...
    ] = ()  # cells of the matrix that are not in the plan, one sentence for each reason


def read_night(run: RunFolder) -> NightRecord:
    """The night's own facts. InfraError if the run has none or they are damaged."""
    return read_record(run.path / FILE_NAME, NightRecord)


def write_night(run: RunFolder, night: NightRecord) -> None:
    write_record(run.path / FILE_NAME, night)
