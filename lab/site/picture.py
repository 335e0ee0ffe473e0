# SPDX-License-Identifier: GPL-2.0-or-later
"""A night as the site shows it: its kernels beside its cases and machines, and how each cell ended."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from lab.compare.pairs import newest_attempts
from lab.errors import InfraError
from lab.history.model import Cell
from lab.results.models import Clock, KernelRecord, Outcome, PlannedTrial, RunRecord, Subject, Trial
from lab.results.night import NightRecord, read_night
from lab.results.runfolder import RunFolder

WORST_FIRST = (
    Outcome.CRASH,
    Outcome.TIMEOUT,
    Outcome.FAIL,
    Outcome.ERROR,
    Outcome.PASS,
    Outcome.SKIP,
)
"""Of several boots of one cell the first of these is how the cell ended."""

NOT_RUN = "not run"


@dataclass(frozen=True, slots=True)
class Column:
    """A kernel as it was asked for; all cells below it are its own."""

    kernel: str
    series: str
    kconfig: str

    @property
    def label(self) -> str:
        """debian:6.12 + prefault/pmd-size, lean+drm"""
        return self.kernel + (f" + {self.series}" if self.series else "") + self._configured

    @property
    def _configured(self) -> str:
        return f", {self.kconfig}" if self.kconfig else ""


@dataclass(frozen=True, slots=True)
class Row:
    """What is done to each kernel."""

    case: str
    machine: str
    clock: Clock

    @property
    def topic(self) -> str:
        return self.case.partition("/")[0]


@dataclass(frozen=True, slots=True)
class Box:
    """One cell: the boots that it had, or why it had none."""

    column: Column
    row: Row
    run: str  # whose trials they are: an earlier night's where nothing had changed since
    trials: tuple[Trial, ...]  # the newest attempt at each boot
    why: str = ""  # why there are none

    @property
    def worst(self) -> Trial | None:
        """The boot that says how the cell ended; of equals the first."""
        # An expected failure is no reason to overlook a failure that nobody expected.
        return min(self.trials, key=lambda t: (t.as_expected, WORST_FIRST.index(t.outcome)), default=None)

    @property
    def outcome(self) -> str:
        return str(self.worst.outcome) if self.worst else NOT_RUN

    @property
    def cell(self) -> Cell:
        """Its name in the history."""
        column, row = self.column, self.row
        return Cell(column.kernel, column.series, column.kconfig, row.machine, row.case, row.clock)


@dataclass(frozen=True, slots=True)
class Standing:
    """A cell that was not run again, because nothing had changed since it failed."""

    column: Column
    row: Row
    run: str  # the earlier night
    how: str


@dataclass(frozen=True)
class Picture:
    """All of a night."""

    run: RunFolder
    record: RunRecord
    night: NightRecord | None  # None: night.json is missing or damaged
    columns: list[Column]
    rows: list[Row]
    boxes: list[Box]
    kernels: dict[str, KernelRecord]  # by id
    booted: dict[Column, str] = field(default_factory=dict)  # the id of what was booted
    problems: dict[Column, str] = field(default_factory=dict)  # why a kernel could not be had
    at_fault: frozenset[Column] = frozenset()  # of these, those whose series does not apply or build
    still_broken: list[Standing] = field(default_factory=list)
    moved: dict[Column, str] = field(default_factory=dict)
    damaged: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.run.path.name

    def counts(self) -> dict[str, int]:
        """How many cells ended each way, the worst way first."""
        order = [*map(str, WORST_FIRST), NOT_RUN]
        ends = [box.outcome for box in self.boxes]
        return {end: ends.count(end) for end in order if end in ends}


Earlier = Mapping[str, "Picture"]
"""Pictures of other runs by name: results that stand for cells in which nothing had changed."""


def read_picture(run: RunFolder, earlier: Earlier | None = None) -> Picture:
    """Read a night. What is damaged in it is named; InfraError only if run.json cannot be read."""
    record = run.read()
    trials, damaged = run.readable_trials()
    kernels = {id_: kernel for picture in (earlier or {}).values() for id_, kernel in picture.kernels.items()}
    night: NightRecord | None = None
    try:
        kernels |= run.kernels()
        night = read_night(run)
    except InfraError as error:
        damaged.append(error.message)
    columns = {role: column_of(record, role) for role in _roles(record, trials)}
    boxes = _boxes(run.path.name, record, night, newest_attempts(trials), columns, earlier or {})
    told = night or NightRecord(matrix="")
    return Picture(
        run=run,
        record=record,
        night=night,
        columns=list(dict.fromkeys(columns.values())),
        rows=sorted({box.row for box in boxes}, key=lambda row: (row.case, row.machine, str(row.clock))),
        boxes=boxes,
        kernels=kernels,
        booted={columns[role]: id_ for role, id_ in record.kernels.items() if role in columns},
        problems={columns[role]: why for role, why in told.failed_kernels.items() if role in columns},
        at_fault=frozenset(columns[role] for role in told.at_fault if role in columns),
        still_broken=_still_broken(record, told, columns),
        moved={columns[role]: what for role, what in told.moved.items() if role in columns},
        damaged=[one.replace(f"{run.path}/", "") for one in damaged],
    )


def _still_broken(record: RunRecord, night: NightRecord, columns: dict[str, Column]) -> list[Standing]:
    """One for each cell: of several boots the first."""
    found: dict[tuple[Column, Row], Standing] = {}
    for one in record.plan:
        if how := night.still_broken.get(one.key):
            column, row = columns[one.role], Row(one.case, one.machine, one.clock)
            found.setdefault((column, row), Standing(column, row, night.unchanged.get(one.key, ""), how))
    return list(found.values())


def column_of(record: RunRecord, role: str) -> Column:
    """The kernel of a role; runs made before roles were written down know its role alone."""
    subject = record.subjects.get(role, Subject(kernel=role))
    return Column(subject.kernel, subject.series, subject.kconfig)


def _roles(record: RunRecord, trials: Iterable[Trial]) -> list[str]:
    """In the order of the matrix, kernels that could not be had among them."""
    found = [*record.subjects, *record.kernels, *(p.role for p in record.plan), *(t.role for t in trials)]
    return list(dict.fromkeys(found))


def _boxes(
    name: str,
    record: RunRecord,
    night: NightRecord | None,
    trials: list[Trial],
    columns: dict[str, Column],
    earlier: Earlier,
) -> list[Box]:
    places: dict[tuple[Column, Row], list[Trial | PlannedTrial]] = {}
    entries: list[Trial | PlannedTrial] = [*record.plan, *trials]
    for one in entries:
        place = columns[one.role], Row(one.case, one.machine, one.clock)
        places.setdefault(place, []).append(one)
    left_out = {one.key: one.why for one in night.not_run} if night else {}
    unchanged = night.unchanged if night else {}
    still = night.still_broken if night else {}
    failed = night.failed_kernels if night else {}
    held = {run: {(b.column, b.row): b for b in picture.boxes} for run, picture in earlier.items()}
    boxes = []
    for (column, row), here in places.items():
        ran = tuple(one for one in here if isinstance(one, Trial))
        stands = next((unchanged[one.key] for one in here if one.key in unchanged), "")
        if not ran and stands:
            kept = held.get(stands, {}).get((column, row))
            how = next((f"; it failed there: {still[one.key]}" for one in here if one.key in still), "")
            why = f"unchanged since {stands}, which is no longer there{how}"
            boxes.append(
                Box(column, row, stands, kept.trials, "") if kept else Box(column, row, stands, (), why)
            )
            continue
        reasons = [left_out[one.key] for one in here if one.key in left_out]
        reasons += [failed[one.role] for one in here if one.role in failed]
        unknown = "the night ended before it" if record.finished else "the night has not come to it yet"
        boxes.append(Box(column, row, name, ran, "" if ran else next(iter(reasons), unknown)))
    return boxes
