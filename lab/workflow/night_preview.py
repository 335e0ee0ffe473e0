# SPDX-License-Identifier: GPL-2.0-or-later
"""What a night would do and how long that would take, as data and as text. Builds and boots nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from lab.campaign.executor import ExecutorName
from lab.report.layout import paragraph, table
from lab.spec.loader import shown
from lab.workflow.night_plan import Build, Planned, builds, foretold

SHOWN_CELLS = 200
"""Cells listed as text; --json has all."""


@dataclass(frozen=True)
class CellPreview:
    """One cell and what is known of it."""

    kernel: str
    series: str
    configuration: str
    machine: str
    case: str
    clock: str
    trials: int
    timeout: float | None  # seconds; None: the case's own
    priority: int
    seconds: float  # expected, of one trial
    duration_from: str  # "learned", "alike" (on another machine) or "guess"


@dataclass(frozen=True)
class Preview:
    """All that `lab nightly --dry-run` tells."""

    matrix: str
    cells: tuple[CellPreview, ...]
    trials: int
    excluded: int
    left_out: tuple[str, ...]
    builds: tuple[Build, ...]
    trial_seconds: float  # on this machine, with as many at once as it has room for
    build_seconds: float | None  # None: one of the builds was never done before


def preview(planned: Planned, executor: ExecutorName) -> Preview:
    """What the night would come to. InfraError if the archive must be asked and cannot be."""
    plan = planned.plan
    cells = []
    for one in plan.cells:
        cell = one.cell
        seconds, origin = planned.durations.of(plan.cases[cell.case], cell.machine, cell.clock)
        cells.append(
            CellPreview(
                kernel=cell.kernel,
                series=cell.series,
                configuration=cell.kconfig,
                machine=cell.machine,
                case=cell.case,
                clock=str(cell.clock),
                trials=one.trials,
                timeout=one.timeout,
                priority=one.priority,
                seconds=round(seconds, 1),
                duration_from=origin,
            )
        )
    shared = tuple(builds(planned))
    known = [one.seconds for one in shared]
    return Preview(
        matrix=shown(planned.loaded.path),
        cells=tuple(cells),
        trials=len(plan.trials),
        excluded=plan.excluded,
        left_out=plan.left_out,
        builds=shared,
        trial_seconds=round(foretold(planned, executor, plan.trials), 1),
        build_seconds=None if None in known else round(sum(one or 0.0 for one in known), 1),
    )


def as_data(found: Preview) -> dict[str, Any]:
    """For --json."""
    return asdict(found) | {
        "builds": [asdict(one) | {"subject": one.subject.model_dump()} for one in found.builds]
    }


def as_text(found: Preview) -> str:
    """Kernels with what is cached of them, cells, and the time that all of it is expected to take."""
    kernels = [
        (one.role, f"{one.cells:,}", "cached" if one.cached else "not cached", one.note)
        for one in found.builds
    ]
    lines = table(("kernel", "cells", "", "what is known"), kernels, right=(1,))
    lines += ["", *_cells(found.cells), ""]
    for why in found.left_out:
        lines += paragraph(why, first="left out: ", rest="  ")
    lines += [f"{len(found.cells):,} cells, {found.trials:,} trials; {found.excluded:,} cells excluded"]
    origins = Counter(cell.duration_from for cell in found.cells)
    told = {"learned": "learned from earlier trials", "alike": "from other machines", "guess": "guessed"}
    from_where = ", ".join(f"{origins[kind]:,} {words}" for kind, words in told.items() if origins[kind])
    lines.append(
        f"expected: {duration(found.trial_seconds)} for the trials (durations of cells: {from_where})"
    )
    lines.append(_build_time(found))
    return "\n".join(lines) + "\n"


def _cells(cells: Iterable[CellPreview]) -> list[str]:
    rows = [
        (
            cell.case,
            cell.machine,
            " + ".join(filter(None, (cell.kernel, cell.series)))
            + (f", {cell.configuration}" if cell.configuration else ""),
            cell.clock,
            str(cell.trials),
            f"{cell.seconds:.0f} {cell.duration_from}",
        )
        for cell in cells
    ]
    header = ("case", "machine", "kernel", "clock", "boots", "seconds")
    more = len(rows) - SHOWN_CELLS
    lines = table(header, rows[:SHOWN_CELLS], right=(4,))
    return [*lines, *([f"and {more:,} more; --json has all"] if more > 0 else [])]


def _build_time(found: Preview) -> str:
    missing = [one for one in found.builds if not one.cached]
    if not missing:
        return "expected: no time for kernels, all are cached"
    if found.build_seconds is None:
        return f"expected: n/a for {len(missing)} kernels that are not cached: some were never had before"
    return f"expected: {duration(found.build_seconds)} for {len(missing)} kernels that are not cached"


def duration(seconds: float) -> str:
    """`1 h 05 min`, `12 min`, `45 s`.

    >>> duration(3900), duration(719.6), duration(45)
    ('1 h 05 min', '12 min', '45 s')
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
