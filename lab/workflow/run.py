# SPDX-License-Identifier: GPL-2.0-or-later
"""How do these cases do on this kernel?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lab.compare.verdict import reject
from lab.errors import SeriesError
from lab.guest.prepare import Bench
from lab.kernel.series import Series
from lab.kernel.sources import parse_source
from lab.results.models import RunRecord
from lab.results.runfolder import RunFolder
from lab.spec.catalog import Catalog
from lab.workflow.campaigns import (
    Ended,
    Options,
    Previewed,
    carrying_out,
    conclude,
    new_record,
    preview_trials,
    run_trials,
    set_up,
)
from lab.workflow.patched import find_series
from lab.workflow.subjects import keep_series, kept_series, obtain_subject, subject_of, with_series

ROLE = "kernel"
"""Of the only kernel of such a run."""


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
    keep_series(run, record.subjects[ROLE], parts)
    return run


def _asked(cases: Sequence[str], subject: Subject, options: Options) -> tuple[RunRecord, tuple[Series, ...]]:
    """The record, and the series to be applied, in order."""
    catalog = Catalog.load()
    chosen = catalog.select(cases) if cases else list(catalog.cases.values())
    source = str(parse_source(subject.kernel))  # a name that is none is told before there is a run
    parts = find_series(subject.series, source, subject.folder) if subject.series else ()
    record = new_record("run", subject.kernel, catalog, chosen, (ROLE,), options)
    asked = with_series(source, options.kconfig, parts)
    update = {
        "base_source": source,
        "title": f"{source} + {asked.series}" if parts else source,
        "series": asked.mboxes[-1] if parts else "",
        "subjects": {ROLE: asked},
    }
    return record.model_copy(update=update), parts


def preview(cases: Sequence[str], subject: Subject, options: Options) -> list[Previewed]:
    """What `run_cases` would boot: builds the kernel, boots nothing."""
    record, parts = _asked(cases, subject, options)
    return preview_trials(Bench.set_up(), record, {ROLE: obtain_subject(record.subjects[ROLE], parts)})


def run_cases(run: RunFolder) -> Ended:
    """Carry out what `start_run` wrote down, or go on where it was interrupted."""
    with carrying_out(run):
        try:
            bench = set_up(run)
            subject = subject_of(run, ROLE)
            run_trials(bench, run, {ROLE: obtain_subject(subject, kept_series(run, subject))})
            return conclude(run)
        except SeriesError as error:
            return conclude(run, rejection=reject(error))
