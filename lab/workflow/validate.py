# SPDX-License-Identifier: GPL-2.0-or-later
"""Is the kernel with this series better or worse than without it?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lab import files
from lab.campaign.plan import plan_trials
from lab.compare.pairs import BASE, PATCHED, step_role
from lab.compare.verdict import reject
from lab.errors import SeriesError, UserError
from lab.guest.prepare import Bench
from lab.kernel.base import choose_base
from lab.kernel.gather import gather_series
from lab.kernel.kernel import Kernel
from lab.kernel.obtain import obtain_steps
from lab.kernel.series import Series, read_series
from lab.kernel.sources import enclosing_tree, parse_source
from lab.results.models import Conclusion, RunRecord, Verdict
from lab.results.runfolder import RunFolder
from lab.spec.catalog import Catalog
from lab.spec.models import Case
from lab.workflow.campaigns import (
    Ended,
    Options,
    Previewed,
    carrying_out,
    case_record,
    conclude,
    new_record,
    preview_trials,
    run_trials,
    set_up,
)
from lab.workflow.subjects import keep_series, with_series

SMOKE_CASE = "smoke/boot"

NOTHING_BUILT = Verdict(
    verdict=Conclusion.PASS,
    stage="build",
    reasons=("the series changes nothing that is built: base and patched are the same, byte for byte",),
)


@dataclass(frozen=True)
class Question:
    """What is to be validated."""

    series: str  # a file, a folder, a commit range, "-" or a message-id
    base: str | None = None  # None: see lab.kernel.base
    cases: tuple[str, ...] = ()  # none: those that are about what the series touches
    each_patch: bool = False  # boot the smoke case after every patch as well
    folder: Path = field(default_factory=Path.cwd)  # where the user stands


def start_validation(question: Question, options: Options) -> RunFolder:
    """Read the series, choose base and cases, and write down what is to be done; nothing is built yet."""
    with files.scratch(files.cache_dir("series") / "gathered") as kept:
        series = read_series(gather_series(question.series, kept, question.folder))
    record = _record(series, question, options)
    run = RunFolder.create(record)
    keep_series(run, record.subjects[PATCHED], [series])
    return run


def _record(series: Series, question: Question, options: Options) -> RunRecord:
    catalog = Catalog.load()
    base = choose_base(series, question.base, enclosing_tree(question.folder))
    chosen = choose_cases(catalog, series, question.cases)
    record = new_record("validate", series.name, catalog, chosen, (BASE, PATCHED), options)
    if question.each_patch:
        record = _with_steps(record, catalog.case(SMOKE_CASE), len(series.patches), options)
    source = str(parse_source(base.source))
    patched = with_series(source, options.kconfig, [series])
    return record.model_copy(
        update={
            "series": patched.mboxes[-1],
            "title": series.title,
            "base_source": source,
            "base_choice": base.why,
            "subjects": {BASE: with_series(source, options.kconfig, []), PATCHED: patched},
        }
    )


def _with_steps(record: RunRecord, smoke: Case, patches: int, options: Options) -> RunRecord:
    """The record with a smoke boot after every patch but the last, which the other cases boot anyway."""
    roles = [step_role(number) for number in range(1, patches)]
    machines = options.machines or smoke.machines
    steps = plan_trials([smoke], roles, clock=options.clock, machines=machines, first=len(record.plan) + 1)
    cases = {**record.cases, smoke.name: case_record(smoke)}
    return record.model_copy(update={"plan": (*record.plan, *steps), "cases": cases})


def preview(question: Question, options: Options) -> list[Previewed]:
    """What `validate` would boot: builds every kernel, boots nothing."""
    with files.scratch(files.cache_dir("series") / "gathered") as kept:
        series = read_series(gather_series(question.series, kept, question.folder))
    record = _record(series, question, options)
    return preview_trials(Bench.set_up(), record, _kernels(record, series))


def validate(run: RunFolder) -> Ended:
    """Carry out what `start_validation` wrote down, or go on where it was interrupted."""
    with carrying_out(run):
        record = run.read()
        try:
            bench = set_up(run)
            series = read_series(run.path / record.series)
            kernels = _kernels(record, series)
            if len({kernel.record.build_id for kernel in kernels.values()}) == 1:
                return conclude(run, rejection=NOTHING_BUILT)
            run_trials(bench, run, kernels)
            return conclude(run)
        except SeriesError as error:
            return conclude(run, rejection=reject(error))


def _kernels(record: RunRecord, series: Series) -> dict[str, Kernel]:
    """Base, patched, and the steps between them that the plan boots; every patch has been built."""
    base, *steps = obtain_steps(record.base_source, series, kconfig=record.kconfig)
    between = {step_role(number): kernel for number, kernel in enumerate(steps[:-1], 1)}
    planned = {trial.role for trial in record.plan}
    wanted = {role: kernel for role, kernel in between.items() if role in planned}
    return {BASE: base, PATCHED: steps[-1], **wanted}


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
