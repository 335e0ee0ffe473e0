# SPDX-License-Identifier: GPL-2.0-or-later
"""Is the kernel with this series better or worse than without it?"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from lab.compare.verdict import reject
from lab.errors import InfraError, Interrupted, SeriesError, UserError
from lab.guest.prepare import Bench
from lab.kernel.module_build import build_steps
from lab.kernel.obtain import obtain
from lab.kernel.series import Series, read_series
from lab.results.models import Conclusion, RunRecord, Verdict
from lab.results.runfolder import RunFolder
from lab.spec.catalog import Catalog
from lab.spec.models import Case
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

SERIES_FOLDER = "series"
"""Of a run: holds the copy of the series that is judged, under the name it came with."""

NOTHING_BUILT = Verdict(
    verdict=Conclusion.PASS,
    stage="build",
    reasons=("the series changes nothing that is built: base and patched are the same, byte for byte",),
)


def start_validation(mbox: Path, base: str | None, cases: Sequence[str], options: Options) -> RunFolder:
    """Read the series, choose the cases, and write down what is to be done; nothing is built yet."""
    record = _record(read_series(mbox), base, cases, options)
    run = RunFolder.create(record)
    kept = run.path / record.series
    kept.parent.mkdir()
    shutil.copyfile(mbox, kept)
    return run


def _record(series: Series, base: str | None, cases: Sequence[str], options: Options) -> RunRecord:
    catalog = Catalog.load()
    chosen = choose_cases(catalog, series, cases)
    record = new_record("validate", series.name, catalog, chosen, ("base", "patched"), options)
    choice = "given with --base" if base else "no base was given: the distribution's stock kernel"
    return record.model_copy(
        update={
            "series": f"{SERIES_FOLDER}/{series.path.name}",
            "title": series.title,
            "base_source": base or "stock",
            "base_choice": choice,
        }
    )


def preview(mbox: Path, base: str | None, cases: Sequence[str], options: Options) -> list[Previewed]:
    """What `validate` would boot: builds both kernels, boots nothing."""
    series = read_series(mbox)
    record = _record(series, base, cases, options)
    before, *steps = build_steps(obtain(record.base_source, with_build=True), series)
    return preview_trials(Bench.set_up(), record, {"base": before, "patched": steps[-1]})


def validate(run: RunFolder) -> Ended:
    """Carry out what `start_validation` wrote down, or go on where it was interrupted."""
    with run.owned():
        record = run.read()
        try:
            bench = Bench.set_up()
            series = read_series(run.path / record.series)
            base, *steps = build_steps(obtain(record.base_source, with_build=True), series)
            patched = steps[-1]
            if base.record.build_id == patched.record.build_id:
                return conclude(run, rejection=NOTHING_BUILT)
            run_trials(bench, run, {"base": base, "patched": patched})
            return conclude(run)
        except SeriesError as error:
            return conclude(run, rejection=reject(error))
        except Interrupted:
            note_interruption(run)
            raise interrupted(run, "validate") from None
        except InfraError as error:
            raise failed(error, run, "validate") from error.__cause__


def choose_cases(catalog: Catalog, series: Series, names: Sequence[str]) -> list[Case]:
    """The cases that were named, else those that are about the paths the series touches."""
    if names:
        return list(catalog.select(names))
    chosen = list(catalog.cases_for_paths(series.touched))
    if not chosen:
        paths = ", ".join(series.touched[:5])
        raise UserError(
            f"no case is about what the series touches ({paths})",
            hint="name the cases: lab validate SERIES CASE...",
        )
    return chosen
