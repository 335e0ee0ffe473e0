# SPDX-License-Identifier: GPL-2.0-or-later
"""From a matrix to its cells, to the builds that they share, and to a plan of trials: pure functions."""

from __future__ import annotations

import fnmatch
import functools
import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lab.campaign.plan import clock_of, planned_trial, word
from lab.errors import UserError
from lab.history.model import Cell
from lab.results.models import Clock, PlannedTrial, Subject
from lab.spec.matrix import STOCK, CellRule, Matrix
from lab.spec.matrix_file import LoadedMatrix, built
from lab.spec.models import Case, Machine

MAX_ROLE = 80
"""Characters of a kernel's name within a run: it is a part of file names."""

MAX_CELLS = 200_000
"""More is taken for a slip of the pen."""


@dataclass(frozen=True)
class Choice:
    """What a kernel of the matrix, with one of its series, stands for."""

    source: str  # as --kernel takes it: "debian:7.3" for newest
    mboxes: Mapping[str, Path] = field(default_factory=dict)  # name in the run folder -> where it lies now
    left_out: str = ""  # why there is no such kernel


Chosen = Mapping[tuple[str, str], Choice]
"""By kernel and series as the matrix names them."""


@dataclass(frozen=True, slots=True)
class NightCell:
    """One cell of a night, and how it is run."""

    cell: Cell
    role: str  # of the run's kernels
    trials: int
    timeout: float | None  # seconds for the workload; None: the case's own
    priority: int


@dataclass(frozen=True)
class NightPlan:
    """All that a night is to do."""

    cells: tuple[NightCell, ...]
    subjects: Mapping[str, Subject]  # the kernels, by role
    cases: Mapping[str, Case]
    trials: tuple[PlannedTrial, ...]
    mboxes: Mapping[str, Path]  # name in the run folder -> where it lies now
    left_out: tuple[str, ...]  # one sentence for each reason, with how many cells it is about
    excluded: int  # cells

    def users(self) -> Counter[str]:
        """How many cells share the kernel of each role."""
        return Counter(one.role for one in self.cells)


@dataclass(frozen=True)
class _Wanted:
    """One cell in the words of the matrix."""

    kernel: str
    series: str
    kconfig: str
    machine: str
    case: Case

    def fits(self, rule: CellRule) -> bool:
        return (
            _fits(rule.kernel, self.kernel)
            and _fits(rule.series, self.series)
            and _fits(rule.configuration, self.kconfig)
            and _fits(rule.machine, self.machine)
            and _fits(rule.case, self.case.name)
        )


@functools.lru_cache(maxsize=1 << 16)
def _fits(pattern: str | None, name: str) -> bool:
    return pattern is None or pattern == name or fnmatch.fnmatchcase(name, pattern)


def plan_night(
    loaded: LoadedMatrix, chosen: Chosen, machines: Mapping[str, Machine], *, nested: bool = False
) -> NightPlan:
    """Every cell once, in the order of the matrix, and its trials. `nested`: all of them are run in the
    nested lab host, whose KVM counts no instructions.

    Raises UserError for a matrix without a cell, or with more than MAX_CELLS.
    """
    matrix = loaded.matrix
    subjects: dict[str, Subject] = {}
    roles: dict[tuple[str, str, str], str] = {}
    cells: dict[Cell, NightCell] = {}
    left_out: Counter[str] = Counter()
    excluded = 0
    for wanted in _all_wanted(loaded):
        if any(wanted.fits(rule) for rule in matrix.exclude):
            excluded += 1
            continue
        choice = chosen[wanted.kernel, wanted.series]
        clock = clock_of(wanted.case, Clock(matrix.clock), nested=nested)
        if why := choice.left_out or _never(wanted, machines[wanted.machine], clock):
            left_out[why] += 1
            continue
        named = choice.source, wanted.series, wanted.kconfig
        if named not in roles:
            roles[named] = _role(*named, taken=subjects)
            subjects[roles[named]] = _subject(choice, wanted)
        subject = subjects[roles[named]]
        cell = Cell(subject.kernel, subject.series, subject.kconfig, wanted.machine, wanted.case.name, clock)
        if cell not in cells:
            cells[cell] = _with_rules(cell, roles[named], wanted, matrix)
        if len(cells) > MAX_CELLS:
            raise UserError(f"the matrix has more than {MAX_CELLS:,} cells", hint="exclude some")
    reasons = tuple(f"{why}: {count:,} cells left out" for why, count in left_out.items())
    if not cells:
        told = "; ".join([*reasons, f"{excluded:,} excluded"][:4])
        raise UserError(f"{loaded.path}: the matrix has no cell that could be run ({told})")
    cases = {case.name: case for case in (*loaded.cases, *(c for some in loaded.included for c in some))}
    used = dict.fromkeys(one.cell.case for one in cells.values())
    return NightPlan(
        cells=tuple(cells.values()),
        subjects=subjects,
        cases={name: cases[name] for name in used},
        trials=tuple(_trials(cells.values())),
        mboxes={name: path for choice in chosen.values() for name, path in choice.mboxes.items()},
        left_out=reasons,
        excluded=excluded,
    )


def _all_wanted(loaded: LoadedMatrix) -> Iterator[_Wanted]:
    """The product, kernel after kernel, then what is included beside it."""
    matrix = loaded.matrix
    for entry in matrix.kernels:
        for series in entry.series:
            for kconfig in matrix.configurations if built(entry.kernel) else ("",):
                for case in loaded.cases:
                    for machine in matrix.machines or case.machines:
                        yield _Wanted(entry.kernel, series, kconfig, machine, case)
    for extra, cases in zip(matrix.include, loaded.included, strict=True):
        own = (extra.configuration,) if extra.configuration else matrix.configurations
        for kconfig in own if built(extra.kernel) else ("",):
            for case in cases:
                for machine in (extra.machine,) if extra.machine else case.machines:
                    yield _Wanted(extra.kernel, extra.series, kconfig, machine, case)


def _never(wanted: _Wanted, machine: Machine, clock: Clock) -> str:
    """Why this cell could only fail, as far as that shows without its kernel."""
    if machine.passthrough is not None and clock is Clock.VIRTUAL:
        return f"the machine {wanted.machine} has a device of the host, which counts no instructions"
    return ""


def _subject(choice: Choice, wanted: _Wanted) -> Subject:
    series = "" if wanted.series == STOCK else wanted.series
    return Subject(kernel=choice.source, kconfig=wanted.kconfig, series=series, mboxes=tuple(choice.mboxes))


def _role(source: str, series: str, kconfig: str, *, taken: Mapping[str, Subject]) -> str:
    """What the run calls a kernel: `debian-6.12+prefault.pmd-size`; unlike all that are taken."""
    kind, colon, rest = source.partition(":")
    where, at, revision = rest.rpartition("@") if "@" in rest else (rest, "", "")
    name = word(f"{kind}{colon}{Path(where).name}{at}{revision}").strip("-")  # a path by its last part
    name += f"_{word(kconfig)}" if kconfig else ""
    name += f"+{word(Path(series).stem if series.endswith('.mbox') else series)}" if series != STOCK else ""
    if len(name) > MAX_ROLE or name in taken or name in ("base", "patched"):
        digest = hashlib.sha256("\0".join((source, series, kconfig)).encode()).hexdigest()[:8]
        name = f"{name[: MAX_ROLE - 9]}-{digest}"
    return name


def _with_rules(cell: Cell, role: str, wanted: _Wanted, matrix: Matrix) -> NightCell:
    trials, timeout, priority = matrix.trials, None, 0
    for limit in matrix.limits:
        if wanted.fits(limit):
            trials = trials if limit.trials is None else limit.trials
            timeout = timeout if limit.timeout is None else limit.timeout
    for rule in matrix.priorities:
        if wanted.fits(rule):
            priority = rule.priority
    return NightCell(cell, role, trials, timeout, priority)


def _trials(cells: Iterable[NightCell]) -> Iterator[PlannedTrial]:
    number = 0
    for one in cells:
        for repeat in range(1, one.trials + 1):
            number += 1
            yield planned_trial(
                number,
                one.cell.case,
                one.role,
                one.cell.machine,
                one.cell.clock,
                repeat,
                timeout=one.timeout,
                priority=one.priority,
            )


def pairs_named(matrix: Matrix) -> Sequence[tuple[str, str]]:
    """Each kernel with each series that the matrix names for it."""
    product = [(entry.kernel, series) for entry in matrix.kernels for series in entry.series]
    return tuple(dict.fromkeys([*product, *((one.kernel, one.series) for one in matrix.include)]))
