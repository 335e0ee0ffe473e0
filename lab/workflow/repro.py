# SPDX-License-Identifier: GPL-2.0-or-later
"""Is a regression there? Boots what was good and what is bad, and looks whether both are so."""

from __future__ import annotations

from collections.abc import Mapping

from lab import log
from lab.campaign.execute import run_campaign
from lab.errors import Interrupted, LabError
from lab.guest.prepare import Bench
from lab.kernel.kernel import Kernel
from lab.results.models import Subject
from lab.results.repro import WORKFLOW, read_repro, write_repro
from lab.results.runfolder import RunFolder
from lab.spec.catalog import Catalog
from lab.workflow.campaigns import (
    Ended,
    Options,
    Previewed,
    carrying_out,
    conclude,
    lab_host,
    new_record,
    open_campaign,
    preview_trials,
)
from lab.workflow.repro_plan import Planned
from lab.workflow.subjects import keep_series, kept_series, obtain_subject


def start_repro(planned: Planned, options: Options) -> RunFolder:
    """Write down what is to be confirmed; nothing is built yet."""
    names = [one.name for one in planned.record.regressions]
    record = new_record(
        WORKFLOW,
        names[0] if len(names) == 1 else "several",
        Catalog.load(),
        planned.cases,
        tuple(planned.subjects),
        options,
    )
    title = f"regression {names[0]}" if len(names) == 1 else f"{len(names)} regressions"
    update = {"plan": planned.trials, "title": title, "subjects": dict(planned.subjects)}
    run = RunFolder.create(record.model_copy(update=update))
    for role, subject in planned.subjects.items():
        keep_series(run, subject, planned.parts[role])
    write_repro(run, planned.record)
    return run


def repro(run: RunFolder) -> Ended:
    """Carry out what `start_repro` wrote down, or go on where it was interrupted."""
    with carrying_out(run):
        bench = Bench.set_up()
        kernels = _obtain_all(run)
        ready = [trial for trial in run.read().plan if trial.role in kernels]
        if ready:
            with lab_host(bench, run) as host:
                run_campaign(open_campaign(bench, run, kernels, host), ready)
        return conclude(run)


def preview(planned: Planned, options: Options) -> list[Previewed]:
    """What `repro` would boot: obtains the kernels, boots nothing."""
    record = new_record(
        WORKFLOW, "preview", Catalog.load(), planned.cases, tuple(planned.subjects), options
    ).model_copy(update={"plan": planned.trials})
    kernels = {
        role: obtain_subject(subject, planned.parts[role]) for role, subject in planned.subjects.items()
    }
    return preview_trials(Bench.set_up(), record, kernels)


def _obtain_all(run: RunFolder) -> Mapping[str, Kernel]:
    """The kernels by role, each obtained once; why one cannot be had is kept with the run."""
    record, wanted = read_repro(run), run.read().subjects
    known: dict[tuple[str, str, bytes], Kernel | str] = {}
    for role, subject in wanted.items():
        if _key(run, subject) not in known:
            known[_key(run, subject)] = _obtain(run, role, subject)
    found = {role: known[_key(run, subject)] for role, subject in wanted.items()}
    lacking = {role: one for role, one in found.items() if isinstance(one, str)}
    write_repro(run, record.model_copy(update={"lacking": lacking}))
    return {role: one for role, one in found.items() if isinstance(one, Kernel)}


def _key(run: RunFolder, subject: Subject) -> tuple[str, str, bytes]:
    """The same for subjects that are the same kernel."""
    return subject.kernel, subject.kconfig, b"".join(part.raw for part in kept_series(run, subject))


def _obtain(run: RunFolder, role: str, subject: Subject) -> Kernel | str:
    try:
        return obtain_subject(subject, kept_series(run, subject))
    except Interrupted:
        raise
    except LabError as error:
        log.info(f"kernel {role}: {error.message}")
        return error.message
