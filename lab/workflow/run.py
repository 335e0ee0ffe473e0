# SPDX-License-Identifier: GPL-2.0-or-later
"""How do these cases do on this kernel?"""

from __future__ import annotations

from collections.abc import Sequence

from lab.errors import InfraError, Interrupted
from lab.guest.prepare import Bench
from lab.kernel.kernel import Kernel
from lab.kernel.obtain import obtain
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


def start_run(cases: Sequence[str], kernel: str, options: Options) -> RunFolder:
    """Write down what is to be run; nothing is booted yet."""
    return RunFolder.create(_record(cases, kernel, options))


def _record(cases: Sequence[str], kernel: str, options: Options) -> RunRecord:
    catalog = Catalog.load()
    chosen = catalog.select(cases) if cases else list(catalog.cases.values())
    source = str(parse_source(kernel))  # a name that is none is told before there is a run
    record = new_record("run", kernel, catalog, chosen, ("kernel",), options)
    return record.model_copy(update={"base_source": source, "title": source})


def preview(cases: Sequence[str], kernel: str, options: Options) -> list[Previewed]:
    """What `run_cases` would boot; boots nothing."""
    record = _record(cases, kernel, options)
    return preview_trials(Bench.set_up(), record, {"kernel": _kernel(record)})


def _kernel(record: RunRecord) -> Kernel:
    return obtain(record.base_source, with_build=False, kconfig=record.kconfig)


def run_cases(run: RunFolder) -> Ended:
    """Carry out what `start_run` wrote down, or go on where it was interrupted."""
    with run.owned():
        try:
            bench = Bench.set_up()
            run_trials(bench, run, {"kernel": _kernel(run.read())})
            return conclude(run)
        except Interrupted:
            note_interruption(run)
            raise interrupted(run, "run") from None
        except InfraError as error:
            raise failed(error, run, "run") from error.__cause__
