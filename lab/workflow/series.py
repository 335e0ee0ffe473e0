# SPDX-License-Identifier: GPL-2.0-or-later
"""Does each shipped series still apply to, and build on, each release that it is for? Boots nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lab import log
from lab.errors import LabError, SeriesError, UserError, did_you_mean
from lab.kernel.kernel import Kernel
from lab.kernel.module_build import build_steps
from lab.kernel.obtain import obtain
from lab.kernel.series import Series, joined, read_series
from lab.spec.series_index import SeriesIndex, shipped_indexes


@dataclass(frozen=True)
class Offered:
    """One shipped series."""

    index: SeriesIndex
    mbox: str

    @property
    def name(self) -> str:
        """As `lab validate` takes it: `topic/series/name.mbox`."""
        return f"{self.index.folder.parent.name}/series/{self.mbox}"

    def read(self) -> Series:
        """The series, after the one it goes on top of, if any."""
        return joined([read_series(path) for path in self.index.to_apply(self.mbox)])


@dataclass(frozen=True)
class Checked:
    """What came of one series on one kernel."""

    series: str
    version: str  # as the index names it
    kernel: str  # the package that stood for it; "" if none could be had
    result: str  # "builds", "fails" (the series is at fault) or "cannot tell"
    detail: str


def offered_series() -> list[Offered]:
    """All series that ship with the lab."""
    return [Offered(index, mbox) for index in shipped_indexes() for mbox in index.series]


def check_series(names: Sequence[str]) -> Iterator[Checked]:
    """Apply and build the named series (or all), each on each of its versions, one result at a time."""
    known = {offered.name: offered for offered in offered_series()}
    for name in names:
        if name not in known:
            raise UserError(f"there is no shipped series {name}", hint=did_you_mean(name, known))
    chosen = [known[name] for name in names or known]
    for version in sorted({v for one in chosen for v in one.index.one(one.mbox).versions}, key=_as_numbers):
        for one in chosen:
            if version in one.index.one(one.mbox).versions:
                yield _check(one, version)


def _as_numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _check(one: Offered, version: str) -> Checked:
    base: Kernel | None = None
    try:
        with log.step(f"check {one.name} on {version}"):
            base = obtain(f"debian:{version}", with_build=True)
            patched = build_steps(base, one.read())[-1]
        detail = (
            f"{', '.join(patched.record.replaced_modules) or 'nothing'} by {patched.record.module_compiler}"
        )
        return Checked(one.name, version, base.record.name, "builds", detail)
    except SeriesError as error:
        return Checked(one.name, version, base.record.name if base else "", "fails", error.message)
    except LabError as error:
        if error.exit_code == 130:
            raise
        return Checked(one.name, version, base.record.name if base else "", "cannot tell", error.message)
