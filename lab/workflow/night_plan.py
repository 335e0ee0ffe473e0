# SPDX-License-Identifier: GPL-2.0-or-later
"""From a matrix file to what a night would do: names looked up, durations learned. Builds nothing."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lab import files
from lab.campaign.cells import Choice, NightPlan, pairs_named, plan_night
from lab.campaign.execute import GUEST_OVERHEAD
from lab.campaign.executor import ExecutorName
from lab.campaign.plan import word
from lab.campaign.schedule import Demand, Durations, Room, expected_seconds
from lab.errors import InfraError, LabError, UserError
from lab.guest.prepare import guest_memory
from lab.history.index import Index
from lab.host import available_memory, cpus
from lab.kernel.obtain import KCONFIG
from lab.kernel.packaged import unpacked
from lab.kernel.sources import Packaged, parse_source
from lab.results.models import Clock, PlannedTrial, Record, Subject
from lab.results.runfolder import all_runs, read_record, write_record
from lab.spec.answer import releases_of, series_for
from lab.spec.catalog import Catalog
from lab.spec.matrix import STOCK, is_mbox
from lab.spec.matrix_file import LoadedMatrix, load_matrix
from lab.spec.models import Machine
from lab.spec.series_index import SeriesIndex, shipped_indexes
from lab.workflow.answer_plan import real_name
from lab.workflow.patched import release_of
from lab.workflow.subjects import SERIES_FOLDER


@dataclass(frozen=True)
class Planned:
    """A night before it has begun."""

    loaded: LoadedMatrix
    plan: NightPlan
    machines: Mapping[str, Machine]
    durations: Durations


def plan(path: Path, executor: ExecutorName = "auto") -> Planned:
    """What the matrix of a file comes to tonight, where trials are run as `executor` says.

    Raises SpecError with all that is wrong in the file, UserError for a matrix without a cell.
    """
    catalog, indexes = Catalog.load(), shipped_indexes()
    loaded = load_matrix(path, catalog, indexes)
    chosen = {pair: choice(*pair, loaded, indexes) for pair in pairs_named(loaded.matrix)}
    found = plan_night(loaded, chosen, catalog.machines, nested=executor == "nested")
    return Planned(loaded, found, catalog.machines, learned_durations())


def choice(kernel: str, series: str, loaded: LoadedMatrix, indexes: Iterable[SeriesIndex]) -> Choice:
    """What a kernel of the matrix with one of its series stands for tonight. InfraError if the archive that
    must be asked cannot be reached."""
    source = str(parse_source(real_name(kernel)))
    if series == STOCK:
        return Choice(source)
    folder = f"{SERIES_FOLDER}/{word(series)}"
    if is_mbox(series):
        path = loaded.path.parent / series
        return Choice(source, {f"{folder}/{path.name}": path})
    indexes = tuple(indexes)
    try:
        release = release_of(source)
    except UserError as error:
        return Choice(source, left_out=f"{series} on {kernel}: {error.message}")
    mboxes = series_for(indexes, series, release)
    if mboxes is None:
        known = ", ".join(releases_of(indexes, series))
        return Choice(source, left_out=f"{series} is for {known}, and {kernel} is {release}")
    return Choice(source, {f"{folder}/{each.name}": each for each in mboxes})


def learned_durations() -> Durations:
    """What trials took in earlier runs of any workflow; none if there is no history that can be read."""
    try:
        with Index.open() as index:
            index.refresh(all_runs())
            return Durations(index.durations())
    except InfraError:
        return Durations()


def demands(planned: Planned, executor: ExecutorName, todo: Iterable[PlannedTrial]) -> list[Demand]:
    """What each trial is expected to take: as lab.campaign.execute finds it once kernels are there, but for a
    KVM of this host's that may or may not work. On the workers of a cluster nothing is taken here."""
    found = []
    for trial in todo:
        case = planned.plan.cases[trial.case]
        nested = executor == "nested" or (executor == "auto" and bool(case.needs))
        found.append(
            Demand(
                number=trial.number,
                seconds=planned.durations.of(case, trial.machine, trial.clock).seconds,
                memory=0 if nested else guest_memory(case, planned.machines[trial.machine]) + GUEST_OVERHEAD,
                priority=trial.priority,
                alone=trial.clock is Clock.REAL,
                lane="nested" if nested else "",
            )
        )
    return found


class Obtained(Record):
    """A kernel that was had before, in the cache's `obtained/`, so that the next night can be foretold."""

    kernel: str  # KernelRecord.id
    name: str  # KernelRecord.name
    at: str  # RFC 3339
    seconds: float  # that it took when it was not cached
    paths: tuple[str, ...]  # all of which must be there


@dataclass(frozen=True)
class Build:
    """A kernel that cells share."""

    role: str
    subject: Subject
    cells: int
    cached: bool
    note: str  # what is known of it
    seconds: float | None  # that having it is expected to take; None: n/a


def builds(planned: Planned) -> list[Build]:
    """Each kernel of the night, with what the cache has of it."""
    users = planned.plan.users()
    return [
        _build(role, subject, users[role], planned.plan.mboxes)
        for role, subject in planned.plan.subjects.items()
    ]


def _build(role: str, subject: Subject, cells: int, mboxes: Mapping[str, Path]) -> Build:
    known = read_obtained(obtained_path(subject, [mboxes[name] for name in subject.mboxes]))
    source = parse_source(subject.kernel)
    if isinstance(source, Packaged) and not subject.series:
        try:
            there, version = unpacked(source)
        except LabError as error:
            return Build(role, subject, cells, cached=False, note=error.message, seconds=None)
        note = f"unpacked: {version}" if there else f"to be fetched: {version}"
        return Build(role, subject, cells, there, note, 0.0 if there else known.seconds if known else None)
    if known is not None and all(Path(path).exists() for path in known.paths):
        return Build(role, subject, cells, cached=True, note=f"as of {known.at}: {known.name}", seconds=0.0)
    doing = "builds what it changes" if subject.series and isinstance(source, Packaged) else "to be built"
    took = f", {known.seconds:.0f} s the last time" if known else ""
    return Build(role, subject, cells, False, doing + took, known.seconds if known else None)


def obtained_path(subject: Subject, mboxes: Iterable[Path]) -> Path:
    """Where it is written down that a kernel was had."""
    parts: list[str | bytes] = [
        subject.kernel,
        subject.kconfig or KCONFIG,
        *(path.read_bytes() for path in mboxes),
    ]
    return files.cache_dir("obtained") / f"{files.sha256_text(*parts)[:20]}.json"


def read_obtained(path: Path) -> Obtained | None:
    """None if it was never had, or if what says so is damaged."""
    try:
        return read_record(path, Obtained) if path.is_file() else None
    except InfraError:
        return None


def note_obtained(path: Path, kernel: str, name: str, seconds: float, paths: Iterable[Path]) -> None:
    """Keep the time of a build: a kernel that came out of the cache says nothing about it."""
    before = read_obtained(path)
    longest = max(seconds, before.seconds) if before and before.kernel == kernel else seconds
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    write_record(
        path, Obtained(kernel=kernel, name=name, at=at, seconds=longest, paths=tuple(map(str, paths)))
    )


def foretold(planned: Planned, executor: ExecutorName, todo: Iterable[PlannedTrial]) -> float:
    """Seconds that these trials are expected to take on this machine."""
    return expected_seconds(demands(planned, executor, todo), Room(cpus(), available_memory()))
