# SPDX-License-Identifier: GPL-2.0-or-later
"""From regressions to one plan: a role for each good and each bad kernel. Builds and boots nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lab.campaign.plan import plan_trials
from lab.errors import SpecError, UserError
from lab.kernel.series import Series
from lab.results.models import Clock, PlannedTrial, Subject
from lab.results.repro import ReproRecord, WantedKernel, WantedRegression, WantedSign
from lab.spec.catalog import Catalog
from lab.spec.loader import shown
from lab.spec.models import Case
from lab.spec.regression import Side, SideName, Sign
from lab.spec.regression_file import LoadedRegression, find_regression, regressions
from lab.workflow.patched import find_series
from lab.workflow.subjects import SERIES_FOLDER


@dataclass(frozen=True)
class Planned:
    """All that is to be done, and the series that are to be kept with the run."""

    record: ReproRecord
    subjects: Mapping[str, Subject]  # the kernels, by role
    parts: Mapping[str, Sequence[Series]]  # their series, by role
    cases: tuple[Case, ...]
    trials: tuple[PlannedTrial, ...]


@dataclass
class _Planner:
    """Collects kernels and trials over several regressions."""

    every_version: bool
    subjects: dict[str, Subject] = field(default_factory=dict)
    parts: dict[str, Sequence[Series]] = field(default_factory=dict)
    trials: list[PlannedTrial] = field(default_factory=list)

    def add(self, loaded: LoadedRegression) -> WantedRegression:
        regression = loaded.regression
        return WantedRegression(
            name=loaded.name,
            title=regression.title,
            kind=regression.report.kind,
            case=loaded.case.name,
            machine=regression.machine,
            path=str(loaded.path),
            links=regression.report.links,
            good=self._kernels(loaded, "good"),
            bad=self._kernels(loaded, "bad"),
            good_signs=tuple(map(_wanted, regression.shows.good)),
            bad_signs=tuple(map(_wanted, regression.shows.bad)),
        )

    def _kernels(self, loaded: LoadedRegression, side: SideName) -> tuple[WantedKernel, ...]:
        asked = loaded.regression.sides(side)
        found = []
        for number, one in enumerate(asked if self.every_version else asked[:1], 1):
            role = f"{loaded.name}.{side}" + (f"-{number}" if number > 1 else "")
            self._subject(loaded, role, one)
            self.trials += plan_trials(
                [loaded.case],
                [role],
                clock=Clock.VIRTUAL,
                machines=[loaded.regression.machine],
                first=len(self.trials) + 1,
            )
            found.append(WantedKernel(role=role, label=_label(one), why=one.why or ""))
        return tuple(found)

    def _subject(self, loaded: LoadedRegression, role: str, side: Side) -> None:
        parts = find_series(side.series, side.kernel, loaded.path.parent) if side.series else ()
        names = (
            f"{SERIES_FOLDER}/{role}/{'' if part is parts[-1] else 'onto/'}{part.path.name}" for part in parts
        )
        self.subjects[role] = Subject(kernel=side.kernel, series=side.series or "", mboxes=tuple(names))
        self.parts[role] = parts


def plan_repro(names: Sequence[str], *, everything: bool, every_version: bool) -> Planned:
    """What is to be booted for these regressions, or for all of the catalogue.

    Raises SpecError with all that is wrong in their files, UserError for a name that is not there.
    """
    catalog = Catalog.load()
    wanted = tuple(regressions(catalog)) if everything else tuple(dict.fromkeys(names))
    if not wanted:
        known = ", ".join(regressions(catalog))
        raise UserError("no regression was named", hint=f"lab repro NAME, or --all; known: {known}")
    loaded = _load_all(catalog, wanted)
    planner = _Planner(every_version)
    record = ReproRecord(regressions=tuple(planner.add(one) for one in loaded))
    cases = {one.case.name: one.case for one in loaded}
    return Planned(record, planner.subjects, planner.parts, tuple(cases.values()), tuple(planner.trials))


def _load_all(catalog: Catalog, names: Sequence[str]) -> list[LoadedRegression]:
    """Every one, or the problems of all their files at once."""
    found: dict[str, LoadedRegression] = {}
    problems: list[str] = []
    for name in names:
        try:
            one = find_regression(catalog, name)
        except SpecError as error:
            problems += error.problems
            continue
        for other in found.values():
            _tell_apart(one, other)
        found[one.name] = one
    if problems:
        raise SpecError(problems)
    return list(found.values())


def _tell_apart(one: LoadedRegression, other: LoadedRegression) -> None:
    """UserError where two files stand for one name: of a regression, or of a case."""
    for what, name, taken in (("regression", one.name, other.name), ("case", one.case.name, other.case.name)):
        paths = (other.path, one.path) if what == "regression" else (other.case.path, one.case.path)
        if name == taken and paths[0] != paths[1]:
            raise UserError(
                f"{shown(paths[0])} and {shown(paths[1])} would both be the {what} {name}",
                hint="rename one of them",
            )


def _label(side: Side) -> str:
    """`6.1 + pmd-size`: narrow enough for a table."""
    name = side.kernel.removeprefix("debian:")
    return f"{name} + {side.series.rpartition('/')[2]}" if side.series else name


def _wanted(sign: Sign) -> WantedSign:
    told = {name: value for name, value in sign.model_dump().items() if value is not None}
    return WantedSign.model_validate(told)
