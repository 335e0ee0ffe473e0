# SPDX-License-Identifier: GPL-2.0-or-later
"""How do these cases do on this kernel?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lab import files
from lab.compare.verdict import reject
from lab.errors import InfraError, Interrupted, SeriesError
from lab.guest.prepare import Bench
from lab.kernel.kernel import Kernel
from lab.kernel.obtain import obtain, obtain_steps
from lab.kernel.series import Series, joined, read_series
from lab.kernel.sources import parse_source
from lab.results.models import RunRecord
from lab.results.runfolder import RunFolder
from lab.spec.catalog import Catalog
from lab.workflow.campaigns import (
    Ended,
    Options,
    Previewed,
    conclude,
    failed,
    interrupted,
    new_record,
    note_interruption,
    preview_trials,
    run_trials,
)
from lab.workflow.patched import find_series


@dataclass(frozen=True)
class Subject:
    """The kernel that cases are to be run on."""

    kernel: str
    series: str = ""  # applied to it, as patched.find_series takes it
    folder: Path = field(default_factory=Path.cwd)  # where the user stands


def start_run(cases: Sequence[str], subject: Subject, options: Options) -> RunFolder:
    """Write down what is to be run; nothing is booted yet."""
    record, parts = _asked(cases, subject, options)
    run = RunFolder.create(record)
    for name, part in zip(_series_names(record), parts, strict=True):
        files.write_whole(run.path / name, part.raw)
    return run


def _asked(cases: Sequence[str], subject: Subject, options: Options) -> tuple[RunRecord, tuple[Series, ...]]:
    """The record, and the series to be applied, in order."""
    catalog = Catalog.load()
    chosen = catalog.select(cases) if cases else list(catalog.cases.values())
    source = str(parse_source(subject.kernel))  # a name that is none is told before there is a run
    record = new_record("run", subject.kernel, catalog, chosen, ("kernel",), options)
    asked = {"base_source": source, "title": source}
    if not subject.series:
        return record.model_copy(update=asked), ()
    parts = find_series(subject.series, source, subject.folder)
    asked["title"] = f"{source} + {parts[-1].name}"
    asked["series"] = f"series/{parts[-1].path.name}"
    asked["series_onto"] = f"series/onto/{parts[0].path.name}" if len(parts) > 1 else ""
    return record.model_copy(update=asked), parts


def _series_names(record: RunRecord) -> list[str]:
    """Where the run keeps its series, in the order in which they are applied."""
    return [name for name in (record.series_onto, record.series) if name]


def preview(cases: Sequence[str], subject: Subject, options: Options) -> list[Previewed]:
    """What `run_cases` would boot: builds the kernel, boots nothing."""
    record, parts = _asked(cases, subject, options)
    return preview_trials(Bench.set_up(), record, {"kernel": _kernel(record, parts)})


def _kernel(record: RunRecord, parts: Sequence[Series]) -> Kernel:
    if not parts:
        return obtain(record.base_source, with_build=False, kconfig=record.kconfig)
    return obtain_steps(record.base_source, joined(parts), kconfig=record.kconfig)[-1]


def run_cases(run: RunFolder) -> Ended:
    """Carry out what `start_run` wrote down, or go on where it was interrupted."""
    with run.owned():
        try:
            bench = Bench.set_up()
            record = run.read()
            parts = [read_series(run.path / name) for name in _series_names(record)]
            run_trials(bench, run, {"kernel": _kernel(record, parts)})
            return conclude(run)
        except SeriesError as error:
            return conclude(run, rejection=reject(error))
        except Interrupted:
            note_interruption(run)
            raise interrupted(run, "run") from None
        except InfraError as error:
            raise failed(error, run, "run") from error.__cause__
