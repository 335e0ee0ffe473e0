# SPDX-License-Identifier: GPL-2.0-or-later
"""Reading a matrix: what only shows when it is seen beside cases, machines and series."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab import files
from lab.errors import InfraError, LabError, did_you_mean
from lab.spec.answer import names_of, releases_of, series_for
from lab.spec.catalog import Catalog
from lab.spec.document import Document, Loc, Problem
from lab.spec.loader import load_document, shown, spec_error
from lab.spec.matrix import SHIPPED, STOCK, CellRule, Matrix, is_mbox
from lab.spec.models import Case
from lab.spec.series_index import SeriesIndex, shipped_indexes
from lab.spec.versions import KernelRange

KINDS = ("debian", "source", "tree", "git", "tarball", "image")
ALONE = ("stock", "newest")
_KERNEL = re.compile(
    rf"{'|'.join(ALONE)}|(debian|source):[0-9]+\.[0-9][0-9A-Za-z.+~-]*|({'|'.join(KINDS[2:])}):.+"
)
_RELEASE = re.compile(r"(?:debian|source):([0-9]+\.[0-9]+)")


@dataclass(frozen=True)
class LoadedMatrix:
    """A matrix with what its names of cases stand for."""

    path: Path
    matrix: Matrix
    cases: tuple[Case, ...]  # of the product
    included: tuple[tuple[Case, ...], ...]  # of each entry of `include`

    @property
    def name(self) -> str:
        """What its nights are called by: `nightly`."""
        return self.path.stem


def shipped_matrix() -> Path:
    """The matrix that is taken where none is named. InfraError if the lab is installed without."""
    path = files.shipped("ci") / SHIPPED
    if not path.is_file():
        raise InfraError(f"there is no {shown(path)}", hint="name a matrix: lab nightly FILE")
    return path


def release_named(kernel: str) -> str | None:
    """The release, such as "6.12", that the name of a kernel says itself; None if only the archive knows."""
    match = _RELEASE.match(kernel)
    return match[1] if match else None


def built(kernel: str) -> bool:
    """Does the lab build it, so that a configuration means something?"""
    return kernel.partition(":")[0] in ("source", "tree", "git", "tarball")


def load_matrix(path: Path, catalog: Catalog, indexes: Sequence[SeriesIndex] | None = None) -> LoadedMatrix:
    """The matrix of a file, checked against cases, machines and series.

    Raises SpecError with all that is wrong, UserError if it cannot be read.
    """
    matrix, document = load_document(path, Matrix)
    check = _Check(path, matrix, document, catalog, shipped_indexes() if indexes is None else indexes)
    loaded = check.all()
    if check.problems:
        raise spec_error(path, check.problems)
    return loaded


class _Check:
    """Collects all that is wrong."""

    def __init__(
        self, path: Path, matrix: Matrix, document: Document, catalog: Catalog, indexes: Sequence[SeriesIndex]
    ) -> None:
        self.path, self.matrix, self.document, self.catalog = path, matrix, document, catalog
        self.indexes = indexes
        self.problems: list[Problem] = []
        self.configurations = {one.stem for one in files.shipped("kconfigs").glob("*.config")}
        self.series = {name for index in indexes for name in names_of(index)}

    def tell(self, loc: Loc, text: str) -> None:
        self.problems.append(Problem(self.document.mark(loc), text))

    def all(self) -> LoadedMatrix:
        matrix = self.matrix
        for at, entry in enumerate(matrix.kernels):
            self._kernel(("kernels", at, "kernel"), entry.kernel)
            self._twice(("kernels", at, "series"), entry.series)
            for number, series in enumerate(entry.series):
                self._series(("kernels", at, "series", number), series, entry.kernel)
        for key in ("configurations", "machines", "cases"):
            self._twice((key,), getattr(matrix, key) or ())
        self._same_kernel_twice()
        for at, name in enumerate(matrix.configurations):
            self._configuration(("configurations", at), name)
        for at, name in enumerate(matrix.machines or ()):
            self._machine(("machines", at), name)
        chosen: dict[str, Case] = {}
        for at, pattern in enumerate(matrix.cases):
            chosen |= {case.name: case for case in self._cases(("cases", at), pattern)}
        included = tuple(self._included(at) for at in range(len(matrix.include)))
        known = {**chosen, **{case.name: case for cases in included for case in cases}}
        for key in (
            () if self.problems else ("exclude", "limits", "priorities")
        ):  # no wrong name, no wrong echo
            for at, rule in enumerate(getattr(matrix, key)):
                self._rule((key, at), rule, known)
        return LoadedMatrix(self.path, matrix, tuple(chosen.values()), included)

    def _kernel(self, loc: Loc, text: str) -> None:
        if not _KERNEL.fullmatch(text):
            near = did_you_mean(text.partition(":")[0], (*ALONE, *(f"{kind}:" for kind in KINDS)))
            self.tell(loc, f"unknown kernel `{text}`; {near}")

    def _series(self, loc: Loc, name: str, kernel: str) -> None:
        if name == STOCK:
            return
        if kernel.startswith("image:"):
            self.tell(loc, f"{kernel} is built already: {name} cannot be applied to it")
        elif is_mbox(name):
            if not (self.path.parent / name).is_file():
                self.tell(loc, f"there is no file {shown(self.path.parent / name)}")
        elif name not in self.series:
            self.tell(loc, f"there is no series {name}; {did_you_mean(name, self.series)}")
        elif (release := release_named(kernel)) and series_for(self.indexes, name, release) is None:
            known = ", ".join(releases_of(self.indexes, name))
            self.tell(loc, f"{name} is for {known}, not {release}: this cell can never run")

    def _twice(self, loc: Loc, names: Sequence[str]) -> None:
        for at, name in enumerate(names):
            if name in names[:at]:
                self.tell((*loc, at), f"{name} is named twice")

    def _same_kernel_twice(self) -> None:
        seen: set[tuple[str, str]] = set()
        for at, entry in enumerate(self.matrix.kernels):
            pairs = {(entry.kernel, series) for series in entry.series}
            if again := sorted(series for _, series in pairs & seen):
                what = f"{entry.kernel} with {again[0]}" if again[0] != STOCK else entry.kernel
                self.tell(("kernels", at, "kernel"), f"{what} is named twice")
            seen |= pairs

    def _configuration(self, loc: Loc, text: str) -> None:
        for part in text.split("+"):
            if not part.endswith(".config") and part not in self.configurations:
                near = did_you_mean(part, self.configurations)
                self.tell(loc, f"there is no configuration {part or 'without a name'}; {near}")

    def _machine(self, loc: Loc, name: str) -> None:
        if name not in self.catalog.machines:
            self.tell(loc, f"there is no machine {name}; {did_you_mean(name, self.catalog.machines)}")

    def _cases(self, loc: Loc, pattern: str) -> Iterable[Case]:
        cases = self.catalog.cases
        topic = f"{pattern.rstrip('/')}/"
        try:
            if pattern.endswith((".yaml", ".yml")):
                return [self.catalog.case(str(self.path.parent / pattern))]
        except LabError as error:
            self.tell(loc, error.message)
            return []
        found = [case for name, case in cases.items() if name.startswith(topic) or _fits(pattern, name)]
        if not found:
            topics = {name.partition("/")[0] for name in cases}
            self.tell(loc, f"there is no case {pattern}; {did_you_mean(pattern, {*cases, *topics})}")
        return found

    def _included(self, at: int) -> tuple[Case, ...]:
        entry, loc = self.matrix.include[at], ("include", at)
        self._kernel((*loc, "kernel"), entry.kernel)
        self._series((*loc, "series"), entry.series, entry.kernel)
        if entry.configuration is not None:
            self._configuration((*loc, "configuration"), entry.configuration)
            if not built(entry.kernel):
                self.tell(
                    (*loc, "configuration"), f"{entry.kernel} is a package and has its own configuration"
                )
        if entry.machine is not None:
            self._machine((*loc, "machine"), entry.machine)
        found: dict[str, Case] = {}
        for number, pattern in enumerate(entry.cases):
            cases = {case.name: case for case in self._cases((*loc, "cases", number), pattern)}
            why_not = {name: never(case, entry.kernel) for name, case in cases.items()}
            if cases and all(why_not.values()):  # of several, those that can are run
                name, why = next(iter(why_not.items()))
                self.tell((*loc, "cases", number), f"{name} can never run here: {why}")
            found |= cases
        return tuple(found.values())

    def _rule(self, loc: tuple[str, int], rule: CellRule, cases: dict[str, Case]) -> None:
        matrix = self.matrix
        kernels = [*(one.kernel for one in matrix.kernels), *(one.kernel for one in matrix.include)]
        series = [name for entry in matrix.kernels for name in entry.series]
        machines = {name for case in cases.values() for name in case.machines}
        known: dict[str, Iterable[str]] = {
            "kernel": kernels,
            "series": [*series, *(entry.series for entry in matrix.include)],
            "configuration": [
                *matrix.configurations,
                *(entry.configuration for entry in matrix.include if entry.configuration),
            ],
            "machine": [
                *(matrix.machines or machines),
                *(one.machine for one in matrix.include if one.machine),
            ],
            "case": cases,
        }
        wanted = {key: text for key in known if (text := getattr(rule, key)) is not None}
        if not wanted:
            self.tell(loc, f"it names no cells; it must have at least one of: {', '.join(known)}")
        for key, pattern in wanted.items():
            if not any(_fits(pattern, name) for name in known[key]):
                near = did_you_mean(pattern, known[key])
                self.tell((*loc, key), f"no cell of this matrix has the {key} {pattern}; {near}")


def never(case: Case, kernel: str) -> str:
    """Why a case can mean nothing on the kernel of that name, as far as the name tells; "" if it may."""
    release = release_named(kernel)
    wanted = case.requires.kernel if case.requires is not None else None
    if release is None or wanted is None:
        return ""
    possible = KernelRange.parse(wanted)
    if possible.has(release) or possible.has(f"{release}.99999"):  # the first, or the last stable update
        return ""
    return f"it needs Linux {wanted}, this is {release}"


def _fits(pattern: str, name: str) -> bool:
    return name == pattern or fnmatch.fnmatchcase(name, pattern)
