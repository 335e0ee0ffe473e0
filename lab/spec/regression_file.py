# SPDX-License-Identifier: GPL-2.0-or-later
"""Reading a regression: what only shows when it is seen beside cases, machines and series."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.errors import LabError, SpecError, UserError, did_you_mean
from lab.spec.answer import names_of, releases_of, series_for
from lab.spec.catalog import REGRESSIONS, Catalog
from lab.spec.document import Document, Loc, Problem
from lab.spec.loader import load_document, shown, spec_error
from lab.spec.models import Case
from lab.spec.regression import Regression, Side, SideName
from lab.spec.series_index import SeriesIndex, shipped_indexes

NEW = "new"
"""`lab repro new` is a command, so nothing can be called so."""

_NAME = re.compile(r"[a-z0-9][a-z0-9_.+-]{0,63}")
_KERNEL = re.compile(r"stock|(debian|source):[0-9]+\.[0-9][0-9A-Za-z.+~-]*|(tree|git|tarball|image):\S[ -~]*")
_RELEASE = re.compile(r"(?:debian|source):([0-9]+\.[0-9]+)")
_SIDES: tuple[SideName, ...] = ("good", "bad")


@dataclass(frozen=True)
class LoadedRegression:
    """A regression with what its names stand for."""

    name: str
    path: Path
    regression: Regression
    case: Case


def regressions(catalog: Catalog) -> dict[str, Path]:
    """The files of the catalogue, by name."""
    return {path.stem: path for path in sorted((catalog.root / REGRESSIONS).glob("*.yaml"))}


def find_regression(catalog: Catalog, name: str) -> LoadedRegression:
    """That of the catalogue, or the one in a YAML file anywhere.

    Raises UserError with the nearest names, or SpecError with all that is wrong in its file.
    """
    if name.endswith((".yaml", ".yml")):
        return load_regression(Path(name), catalog)
    known = regressions(catalog)
    if name not in known:
        hint = f"{did_you_mean(name, known)}; one of your own is named by its path, ./NAME/NAME.yaml"
        raise UserError(f"there is no regression {name}", hint=hint)
    return load_regression(known[name], catalog)


def load_regression(
    path: Path, catalog: Catalog, indexes: Sequence[SeriesIndex] | None = None
) -> LoadedRegression:
    """The regression in a file, checked against cases, machines and series.

    Raises SpecError with all that is wrong, UserError if it cannot be read.
    """
    regression, document = load_document(path, Regression)
    check = _Check(path, regression, document, catalog, shipped_indexes() if indexes is None else indexes)
    case = check.all()
    if case is None or check.problems:
        raise spec_error(path, check.problems)
    return LoadedRegression(path.stem, path.absolute(), regression, case)


class _Check:
    """Collects all that is wrong."""

    def __init__(
        self,
        path: Path,
        regression: Regression,
        document: Document,
        catalog: Catalog,
        indexes: Sequence[SeriesIndex],
    ) -> None:
        self.path, self.regression, self.document = path, regression, document
        self.catalog, self.indexes = catalog, indexes
        self.problems: list[Problem] = []

    def tell(self, loc: Loc, text: str) -> None:
        self.problems.append(Problem(self.document.mark(loc), text))

    def all(self) -> Case | None:
        """The case; None if it is not to be had, which is told then."""
        if not _NAME.fullmatch(self.path.stem) or self.path.stem == NEW:
            self.tell((), f"{self.path.stem} is no name for a regression: small letters, digits and -")
        if (machine := self.regression.machine) not in self.catalog.machines:
            near = did_you_mean(machine, self.catalog.machines)
            self.tell(("machine",), f"there is no machine {machine}; {near}")
        self._report()
        case = self._case()
        for side in _SIDES:
            self._kernels(side)
            self._signs(side, case)
        self._opposites()
        return case

    def _report(self) -> None:
        report = self.regression.report
        if report.kind == "reported" and not report.links and report.changelog is None:
            text = "reported where? Give 'links' or 'changelog', or call it observed"
            self.tell(("report", "kind"), text)

    def _case(self) -> Case | None:
        name = self.regression.case
        at = str(self.path.parent / name) if name.endswith((".yaml", ".yml")) else name
        try:
            return self.catalog.case(at)
        except SpecError as error:
            self.tell(("case",), f"the case is wrong: {error.problems[0]}")
        except LabError as error:
            self.tell(("case",), "; ".join(filter(None, (error.message, error.hint))))
        return None

    def _kernels(self, side: SideName) -> None:
        sides = self.regression.sides(side)
        others = self.regression.good if side == "bad" else ()
        for at, one in enumerate(sides):
            loc: Loc = (side, at)
            if not _KERNEL.fullmatch(one.kernel):
                kinds = ("stock", "debian:", "source:", "tree:", "git:", "tarball:", "image:")
                near = did_you_mean(one.kernel.partition(":")[0], kinds)
                self.tell((*loc, "kernel"), f"unknown kernel `{one.kernel}`; {near}")
            self._series((*loc, "series"), one)
            if any(_same(one, other) for other in sides[:at]):
                self.tell((*loc, "kernel"), f"{one.label} is named twice")
            if any(_same(one, other) for other in others):
                self.tell((*loc, "kernel"), f"{one.label} is named as good and as bad")

    def _series(self, loc: Loc, side: Side) -> None:
        if side.series is None:
            return
        if side.series.endswith((".mbox", ".patch")):
            if not (self.path.parent / side.series).is_file():
                self.tell(loc, f"there is no file {shown(self.path.parent / side.series)}")
            return
        known = {name for index in self.indexes for name in names_of(index)}
        release = _RELEASE.match(side.kernel)
        if side.series not in known:
            near = did_you_mean(side.series, known)
            self.tell(loc, f"there is no series {side.series}; {near}")
        elif release and series_for(self.indexes, side.series, release[1]) is None:
            fitting = ", ".join(releases_of(self.indexes, side.series))
            self.tell(loc, f"{side.series} is for {fitting}, not {release[1]}")

    def _signs(self, side: SideName, case: Case | None) -> None:
        for at, sign in enumerate(self.regression.signs(side)):
            loc: Loc = ("shows", side, at)
            for key, text in sign.problems:
                self.tell((*loc, key) if key else loc, text)
            if case is not None and sign.metric is not None and sign.metric not in case.metrics:
                near = did_you_mean(sign.metric, case.metrics)
                self.tell((*loc, "metric"), f"{case.name} declares no metric {sign.metric}; {near}")

    def _opposites(self) -> None:
        """A check that cannot fail shows nothing."""
        shows = self.regression.shows
        pairs: Iterable[bool] = (good.excludes(bad) for good in shows.good for bad in shows.bad)
        if not any(pairs):
            self.tell(("shows",), "one kernel could be good and bad: no sign of one side excludes the other")


def _same(one: Side, other: Side) -> bool:
    return (one.kernel, one.series) == (other.kernel, other.series)
