# SPDX-License-Identifier: GPL-2.0-or-later
"""What the history of many runs consists of: plain values, read from the index, never written by hand."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from lab.results.models import Clock, Outcome


@dataclass(frozen=True, slots=True)
class Cell:
    """What stays the same from night to night: one case, on a kernel as it is asked for, on a machine."""

    kernel: str  # as --kernel takes it: "debian:6.12"; what it stands for may move
    series: str  # its name, "" without one
    kconfig: str  # what a tree is built with; "" means the default
    machine: str
    case: str
    clock: Clock

    @property
    def label(self) -> str:
        """One line for a reader: what of it is the usual is left out."""
        kernel = f"{self.kernel} + {self.series}" if self.series else self.kernel
        built = f" ({self.kconfig})" if self.kconfig else ""
        clock = "" if self.clock is Clock.VIRTUAL else f", {self.clock} clock"
        return f"{self.case} on {self.machine}, {kernel}{built}{clock}"


@dataclass(frozen=True, slots=True)
class Night:
    """A run of the workflow `nightly`."""

    run: str  # name of its folder
    created: str  # RFC 3339, UTC
    finished: bool
    outcomes: dict[str, int]  # of its cells, without those that an earlier night stands for
    path: Path


class Measured(
    NamedTuple
):  # a trend of 10,000 cells has a million of these and of Point: tuples are made fast
    """One number of a cell in one run: the median over its boots that passed."""

    value: float
    unit: str
    clock: Clock


@dataclass(frozen=True, slots=True)
class Entry:
    """One cell in one run: the worst of its boots, the newest attempt of each."""

    cell: Cell
    run: str
    key: str  # of that boot's trial folder
    number: int
    kernel_id: str
    kernel_name: str  # with its version: "debian:6.12.43-1 + pmd-size"
    outcome: Outcome
    reason: str
    expected: bool  # a failure that a file of expectations explains
    signature: str  # "KASAN: use-after-free in f Read", "FAIL: check a, check b"; "" for what did not fail
    seconds: float  # host wall time, the median over boots
    started: str  # RFC 3339, UTC
    measurements: dict[str, Measured] = field(default_factory=dict)
    exact: str = ""  # the very kernel, as --kernel takes it: "debian:6.12.43-1", "git:URL@COMMIT"
    version: str = ""  # of the kernel: of its package, or of its tree
    commit: str = ""  # 40 hex digits, if it was built from one
    digest: str = ""  # of the case
    setup: str = ""  # digest of what else makes numbers differ: QEMU, accelerator, ...
    trials: int = 0  # boots that say something about the kernel: neither SKIP nor ERROR
    bad: int = 0  # of these, those that failed, expected or not

    @property
    def broken(self) -> bool:
        """Did it fail, and was that not to be expected?"""
        return self.outcome in (Outcome.FAIL, Outcome.CRASH, Outcome.TIMEOUT) and not self.expected

    @property
    def good(self) -> bool:
        """Does it say that the kernel is fit: it passed, or failed as it is known to?"""
        return self.outcome is Outcome.PASS or (self.expected and not self.broken)


class Point(NamedTuple):
    """One number in a trend."""

    run: str
    started: str
    kernel_id: str
    value: float
    unit: str
    clock: Clock
    digest: str = ""  # of the case
    setup: str = ""  # see Entry.setup

    @property
    def conditions(self) -> tuple[str, str]:
        """All beside the kernel that could move the number."""
        return self.digest, self.setup


@dataclass(frozen=True, slots=True)
class ChangePoint:
    """A trend's level before and after; `at` is the first point of the new one."""

    at: Point
    before: float
    after: float
    change: float | None  # after/before - 1; None if before is 0
    last: Point | None = None  # the last point of the old level
    alike: bool = True  # nothing beside the kernel changed with it


@dataclass(frozen=True, slots=True)
class Rate:
    """How often something fails, with its Wilson score interval at 95 %."""

    bad: int
    total: int
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Signature:
    """A way to fail, in words that stay the same from boot to boot."""

    kind: str  # "KASAN", "panic", "TIMEOUT", "FAIL", ...
    title: str
    count: int  # cells of the run that show it
    first_run: str  # the first run, of any workflow, that shows it
    new: bool  # no earlier night has it


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What a refresh of the index found."""

    added: tuple[str, ...] = ()  # runs that are new, or have changed
    gone: tuple[str, ...] = ()
    kept: int = 0  # runs that had not changed
    damaged: tuple[str, ...] = ()  # one sentence for each run or trial that was passed over
