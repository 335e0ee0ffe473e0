# SPDX-License-Identifier: GPL-2.0-or-later
"""How do all these kernels do tonight? A matrix of kernels, machines and cases, run as one campaign."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import replace

import lab
from lab import files, log
from lab.campaign.execute import drop_outdated, missing, run_campaign
from lab.cluster.address import check_scheduler
from lab.errors import InfraError, UserError
from lab.guest.prepare import Bench
from lab.results.models import PlannedTrial, RunRecord
from lab.results.night import WORKFLOW, NightRecord, NotRun, read_night, write_night
from lab.results.runfolder import RunFolder, new_run_id
from lab.spec.catalog import Catalog
from lab.spec.loader import shown
from lab.waiting import Deadline
from lab.workflow.campaigns import (
    Ended,
    Options,
    carrying_out,
    case_record,
    conclude,
    find_case,
    lab_host,
    open_campaign,
    set_up,
)
from lab.workflow.night_before import Standing, earlier_nights, unchanged
from lab.workflow.night_kernels import Kernels, mboxes_of, moved_since, obtain_all
from lab.workflow.night_plan import Planned, foretold, learned_durations
from lab.workflow.night_preview import duration
from lab.workload.compile import build_workload


def start_night(
    planned: Planned, options: Options, *, budget: float | None = None, skip_unchanged: bool = False
) -> RunFolder:
    """Write down what is to be done; nothing is built yet. `budget`: seconds."""
    if options.executor == "dask":
        check_scheduler(options.scheduler)
    _ = Catalog.load().expectations  # a broken file is told before there is a run
    name, plan = shown(planned.loaded.path), planned.plan
    run = RunFolder.create(
        RunRecord(
            id=new_run_id(WORKFLOW, planned.loaded.name),
            workflow=WORKFLOW,
            command=options.command,
            lab_version=lab.__version__,
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            title=planned.loaded.matrix.title,
            cases={name: case_record(case) for name, case in plan.cases.items()},
            accelerator=options.accelerator,
            executor=options.executor,
            scheduler=options.scheduler if options.executor == "dask" else "",
            subjects=dict(plan.subjects),
            plan=plan.trials,
        )
    )
    mboxes_of(run, plan.mboxes)
    expected = round(foretold(planned, options.executor, plan.trials), 1)
    night = NightRecord(
        matrix=name,
        budget_seconds=budget,
        skip_unchanged=skip_unchanged,
        expected_seconds=expected,
        left_out=plan.left_out,
    )
    write_night(run, night)
    return run


def run_night(run: RunFolder, budget: float | None = None) -> Ended:
    """Carry out what `start_night` wrote down, or go on where it was interrupted or ran out of time.

    `budget` (seconds from now) replaces the one that was written down.
    """
    with carrying_out(run):
        night = read_night(run)
        budget = night.budget_seconds if budget is None else budget
        until = None if budget is None else Deadline("time budget", budget)
        bench = set_up(run)
        plan = run.read().plan
        wanted, _ = _compiled(run, missing(run, plan))
        kernels = obtain_all(run, _by_urgency(wanted), until)
        drop_outdated(run, plan, kernels.ready)
        todo, broken_cases = _compiled(run, missing(run, plan))
        standing = _standing(run, night, todo, kernels, bench)
        night = _before_trials(run, night, todo, broken_cases, kernels, standing)
        write_night(run, night.model_copy(update={"budget_seconds": budget}))
        left = _run_trials(bench, run, night, todo, kernels, until)
        told = f"the time budget of {duration(budget or 0.0)} was used up"
        _not_run(run, [NotRun(key=one.key, why=told) for one in left])
        return conclude(run)


def _compiled(run: RunFolder, todo: Sequence[PlannedTrial]) -> tuple[list[PlannedTrial], list[NotRun]]:
    """The trials whose workload there is, and those whose workload does not compile: one bad case does not
    end a night."""
    catalog, kept = Catalog.load(), run.read().cases
    include = files.shipped("testcases") / "include"
    broken: dict[str, str] = {}
    for name in dict.fromkeys(one.case for one in todo):
        try:
            source = find_case(catalog, name, kept[name]).workload_path
            if source is not None:
                build_workload(source, include)
        except (UserError, InfraError) as error:
            broken[name] = f"the case cannot be run: {error.message}"
            log.info(f"{name}: {broken[name]}")
    ready = [one for one in todo if one.case not in broken]
    left = [one for one in todo if one.case in broken]
    return ready, [NotRun(key=one.key, why=broken[one.case], because="case") for one in left]


def _by_urgency(todo: Sequence[PlannedTrial]) -> list[str]:
    """The kernels that trials wait for: those of the larger priority first, else in the order of the plan."""
    highest: dict[str, int] = {}
    for one in todo:
        highest[one.role] = max(one.priority, highest.get(one.role, one.priority))
    return sorted(highest, key=lambda role: -highest[role])


def _standing(
    run: RunFolder, night: NightRecord, todo: Sequence[PlannedTrial], kernels: Kernels, bench: Bench
) -> dict[str, Standing]:
    """The results of earlier nights that need not be had again, if that was asked for."""
    if not night.skip_unchanged:
        return {}
    catalog, kept = Catalog.load(), run.read().cases
    cases = {name: find_case(catalog, name, kept[name]) for name in dict.fromkeys(one.case for one in todo)}
    return unchanged(run, todo, kernels.ready, cases, bench.qemu.banner, catalog.expectations)


def _before_trials(
    run: RunFolder,
    night: NightRecord,
    todo: Sequence[PlannedTrial],
    broken_cases: Sequence[NotRun],
    kernels: Kernels,
    standing: Mapping[str, Standing],
) -> NightRecord:
    """What is known of the night before its first trial."""
    not_run = list(broken_cases)
    for one in todo:
        if one.role in kernels.failed:
            why = f"its kernel could not be had: {kernels.failed[one.role]}"
            not_run.append(NotRun(key=one.key, why=why, because="kernel"))
        elif one.role in kernels.left:
            not_run.append(NotRun(key=one.key, why=kernels.left[one.role]))
        elif one.key in standing:
            why = f"unchanged since {standing[one.key].run}: {standing[one.key].trial.outcome} there"
            not_run.append(NotRun(key=one.key, why=why, because="unchanged"))
    still = {key: one.trial for key, one in standing.items() if one.trial.broken}
    return night.model_copy(
        update={
            "not_run": tuple(not_run),
            "unchanged": {key: one.run for key, one in standing.items()},
            "still_broken": {key: f"{trial.outcome}: {trial.reason}" for key, trial in still.items()},
            "failed_kernels": kernels.failed,
            "at_fault": tuple(kernels.at_fault),
            "moved": night.moved | moved_since(run, kernels.ready, (one for _, one in earlier_nights(run))),
        }
    )


def _run_trials(
    bench: Bench,
    run: RunFolder,
    night: NightRecord,
    todo: Sequence[PlannedTrial],
    kernels: Kernels,
    until: Deadline | None,
) -> list[PlannedTrial]:
    """Run what is left; returns what was not begun for want of time."""
    left_out = {one.key for one in night.not_run}
    ready = [one for one in todo if one.key not in left_out]
    with lab_host(bench, run) as host:
        campaign = open_campaign(bench, run, kernels.ready, host)
        return run_campaign(replace(campaign, durations=learned_durations()), ready, until=until)


def _not_run(run: RunFolder, more: Sequence[NotRun]) -> None:
    night = read_night(run)
    write_night(run, night.model_copy(update={"not_run": (*night.not_run, *more)}))
