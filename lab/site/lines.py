# SPDX-License-Identifier: GPL-2.0-or-later
"""The lines of the lists that a night's pages have beside the matrix."""

from __future__ import annotations

from dataclasses import dataclass

from lab.history.model import Entry
from lab.history.regressions import Regression
from lab.results.models import KernelRecord
from lab.site.picture import Column, Row


@dataclass(frozen=True)
class Summary:
    """A night in one line."""

    run: str
    when: str
    page: str
    data: str
    finished: bool
    counts: dict[str, int]
    new: int
    cells: int


@dataclass(frozen=True)
class Listed:
    """One line of a list of cells."""

    column: Column
    row: Row
    outcome: str
    expected: bool
    reason: str
    page: str


@dataclass(frozen=True)
class KernelLine:
    """A kernel of the night."""

    column: Column
    record: KernelRecord | None
    problem: str
    at_fault: bool  # its series does not apply or build: no fault of the lab's or of the archive's
    moved: str


@dataclass(frozen=True)
class Past:
    """How a cell ended in one night."""

    outcome: str
    expected: bool
    when: str
    page: str


@dataclass(frozen=True)
class News:
    """Something that is new since the nights before."""

    one: Regression
    kernels: str  # the two to compare, or that it is one
    page: str


@dataclass(frozen=True)
class Other:
    """Another boot of the same cell."""

    page: str
    repeat: int
    outcome: str


def between(before: Entry | None, after: Entry) -> str:
    if before is None:
        return ""
    if before.kernel_id == after.kernel_id:
        return f"the same kernel: {after.kernel_name}"
    return f"{before.kernel_name} to {after.kernel_name}"
