# SPDX-License-Identifier: GPL-2.0-or-later
"""Running a plan on this machine: as many guests at once as it has room for, each trial kept as it ends."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from pathlib import Path

from lab import files, log
from lab.campaign.executor import LOCAL, Executor
from lab.campaign.trial import run_trial
from lab.campaign.work import NONE_EXPECTED, Work
from lab.errors import Interrupted
from lab.guest.accelerator import Choice
from lab.guest.prepare import Bench, guest_memory
from lab.host import available_memory, cpus
from lab.kernel.driver_build import with_drivers
from lab.kernel.kernel import Kernel
from lab.results.models import Clock, Outcome, PlannedTrial, Trial
from lab.results.runfolder import RunFolder
from lab.spec.drivers import Driver
from lab.spec.expectations import Expectations
from lab.spec.models import Case, Machine
from lab.waiting import TICK, check_stop
from lab.workload.compile import build_workload

ATTEMPTS = 2
"""How often a trial is tried whose outcome is ERROR; every other outcome is final."""

GUEST_OVERHEAD = 256 << 20
"""Bytes that a QEMU takes beside its guest's memory, generously."""


class BrokenBoots:
    """Kernels that did not boot on a machine: reported once, not once per case."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._known: dict[tuple[str, str], str] = {}

    def note(self, trial: Trial) -> None:
        if trial.stage == "boot" and trial.outcome in (Outcome.CRASH, Outcome.TIMEOUT, Outcome.FAIL):
            with self._guard:
                self._known.setdefault(
                    (trial.kernel, trial.machine), f"{trial.outcome} in trial {trial.number}"
                )

    def why(self, kernel: Kernel, machine: str) -> str:
        """Why a further boot would only repeat a known failure; "" if none is known."""
        with self._guard:
            known = self._known.get((kernel.record.id, machine))
        return f"not run: this kernel does not boot on {machine} ({known})" if known else ""


@dataclass(frozen=True)
class Campaign:
    """A plan and what its names stand for."""

    bench: Bench
    run: RunFolder
    cases: Mapping[str, Case]
    machines: Mapping[str, Machine]
    kernels: Mapping[str, Kernel]  # by role
    drivers: Mapping[tuple[str, str], Sequence[Driver]]  # the lab's own, by case and machine
    choices: Mapping[tuple[str, Clock], Choice]  # accelerator by role and clock
    expectations: Expectations = NONE_EXPECTED
    broken: BrokenBoots = field(default_factory=BrokenBoots)
    executor: Executor = LOCAL
    timeline: bool = False


def run_campaign(campaign: Campaign, plan: Sequence[PlannedTrial]) -> None:
    """Run what the run folder does not hold yet. Raises Interrupted with the finished trials kept."""
    todo = missing(campaign.run, plan)
    if not todo:
        return
    programs = _compile(campaign, todo)
    campaign = replace(campaign, kernels=_with_drivers(campaign, todo))
    serial = [trial for trial in todo if trial.clock is Clock.REAL or _nested(campaign, trial)]
    parallel = [trial for trial in todo if trial not in serial]
    for batch, slots in ((parallel, _slots(campaign, parallel)), (serial, 1)):
        if batch:
            _run_batch(campaign, batch, slots, programs)


def _nested(campaign: Campaign, planned: PlannedTrial) -> bool:
    """Is it for the nested lab host, which does one trial after the other?"""
    choice = campaign.choices[planned.role, planned.clock]
    case, machine = campaign.cases[planned.case], campaign.machines[planned.machine]
    return campaign.executor.place(case, choice, machine).nested


def missing(run: RunFolder, plan: Sequence[PlannedTrial]) -> list[PlannedTrial]:
    """Planned trials that have not ended, or ended in ERROR: what a resumed run still has to do."""
    done = {trial.key for trial in run.readable_trials()[0] if trial.outcome is not Outcome.ERROR}
    return [planned for planned in plan if planned.key not in done]


def _compile(campaign: Campaign, todo: Sequence[PlannedTrial]) -> dict[str, Path | None]:
    """Compiled workloads by case, each built at most once."""
    include = files.shipped("testcases") / "include"
    programs: dict[str, Path | None] = {}
    for name in dict.fromkeys(planned.case for planned in todo):
        source = campaign.cases[name].workload_path
        programs[name] = None if source is None else build_workload(source, include)
    return programs


def _with_drivers(campaign: Campaign, todo: Sequence[PlannedTrial]) -> dict[str, Kernel]:
    """Each kernel with those of the lab's own modules that trials of its role load."""
    wanted: dict[str, dict[str, Driver]] = {role: {} for role in campaign.kernels}
    for planned in todo:
        for driver in campaign.drivers[planned.case, planned.machine]:
            wanted[planned.role][driver.name] = driver
    return {role: with_drivers(campaign.kernels[role], own.values()) for role, own in wanted.items()}


def _slots(campaign: Campaign, batch: Sequence[PlannedTrial]) -> int:
    """How many guests at once: one virtual CPU each, and never more memory than is free."""
    if not batch:
        return 1
    largest = max(
        guest_memory(campaign.cases[planned.case], campaign.machines[planned.machine]) for planned in batch
    )
    by_memory = available_memory() // (largest + GUEST_OVERHEAD)
    return max(1, min(cpus(), by_memory, len(batch)))


def _run_batch(
    campaign: Campaign,
    batch: Sequence[PlannedTrial],
    slots: int,
    programs: Mapping[str, Path | None],
) -> None:
    total = len(batch)
    stop = threading.Event()

    def one(position: int, planned: PlannedTrial) -> None:
        if not stop.is_set():
            check_stop()
            _until_no_error(campaign, planned, programs[planned.case], f"{position}/{total}")

    # QEMU dies with the thread that started it, so a guest's thread must outlive the guest: it does,
    # because the thread waits for it.
    with ThreadPoolExecutor(slots, thread_name_prefix="trial") as pool:
        futures = [pool.submit(one, position, planned) for position, planned in enumerate(batch, 1)]
        try:
            _watch(futures)
        except BaseException:
            stop.set()
            raise


def _watch(futures: Sequence[Future[None]]) -> None:
    """Wait for all; the first failure, or the user's wish to stop, ends the waiting."""
    pending = set(futures)
    while pending:
        done, pending = wait(pending, timeout=TICK)
        for future in done:
            future.result()
        if pending:
            _stop_if_asked(pending)


def _stop_if_asked(pending: set[Future[None]]) -> None:
    try:
        check_stop()
    except Interrupted:
        for future in pending:
            future.cancel()
        wait(pending)
        raise


def _until_no_error(campaign: Campaign, planned: PlannedTrial, program: Path | None, position: str) -> Trial:
    work = Work(
        planned=planned,
        case=campaign.cases[planned.case],
        machine=campaign.cases[planned.case].on(campaign.machines[planned.machine]),
        kernel=campaign.kernels[planned.role],
        choice=campaign.choices[planned.role, planned.clock],
        program=program,
        expectations=campaign.expectations,
        timeline=campaign.timeline,
    )
    place = campaign.executor.place(work.case, work.choice, work.machine)
    for attempt in range(1, ATTEMPTS + 1):
        with campaign.run.new_trial(planned.key) as folder:
            known = campaign.broken.why(work.kernel, planned.machine) or place.not_run
            trial = run_trial(
                campaign.bench,
                replace(work, attempt=attempt),
                folder,
                not_run=known,
                carrier=place.carrier,
            )
        campaign.broken.note(trial)
        what = f"{planned.case} {planned.machine} {planned.role}"
        log.info(f"[{position}] {what}: {trial.outcome} ({trial.seconds:.1f} s) {trial.reason}")
        if trial.outcome is not Outcome.ERROR:
            break
    return trial
