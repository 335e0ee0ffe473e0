# SPDX-License-Identifier: GPL-2.0-or-later
"""Running a plan on this machine: as many guests at once as it has room for, each trial kept as it ends."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from pathlib import Path

from lab import files, log
from lab.campaign.executor import LOCAL, Executor, Place
from lab.campaign.nested import nested_memory
from lab.campaign.schedule import Demand, Durations, Queue, Room
from lab.campaign.trial import run_trial
from lab.campaign.work import NONE_EXPECTED, Work
from lab.compare.words import counted
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
from lab.waiting import TICK, Deadline, check_stop
from lab.workload.compile import build_workload

ATTEMPTS = 2
"""How often a trial is tried whose outcome is ERROR; every other outcome is final."""

NESTED_ATTEMPTS = 3
"""In the nested lab host, whose emulated SVM loses guests and hosts (guest.labhost). It loses interrupts,
too: QEMU 7.2 changes the pending ones in helper_vmrun() without the lock that others take. So a guest that
hangs in there must do so twice before it is TIMEOUT."""

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
    durations: Durations = field(default_factory=Durations)  # none learned: the order of the plan


def run_campaign(
    campaign: Campaign, plan: Sequence[PlannedTrial], *, until: Deadline | None = None
) -> list[PlannedTrial]:
    """Run what the run folder does not hold yet, in the order of lab.campaign.schedule; returns what was not
    begun because `until` had passed. Raises Interrupted with the finished trials kept."""
    drop_outdated(campaign.run, plan, campaign.kernels)
    todo = missing(campaign.run, plan)
    if not todo:
        return []
    programs = _compile(campaign, todo)
    campaign = replace(campaign, kernels=_with_drivers(campaign, todo))
    demands = {planned.number: _demand(campaign, planned) for planned in todo}
    room = campaign.executor.room or _room_here(campaign, todo, demands.values())
    by_number = {planned.number: planned for planned in todo}
    queue = Queue(demands.values(), room)
    begun = 0

    def one(planned: PlannedTrial, position: int) -> None:
        _settled(campaign, planned, programs[planned.case], f"{position}/{len(todo)}")

    # QEMU dies with the thread that started it, so a guest's thread must outlive the guest: it does,
    # because the thread waits for it.
    with ThreadPoolExecutor(max(room.cores, 1), thread_name_prefix="trial") as pool:
        running: dict[Future[None], Demand] = {}
        while True:
            check_stop()
            while not (until is not None and until.expired) and (next_one := queue.take()) is not None:
                begun += 1
                running[pool.submit(one, by_number[next_one.number], begun)] = next_one
            if not running:
                return [by_number[waiting.number] for waiting in queue.left()]
            for future in wait(running, timeout=TICK, return_when=FIRST_COMPLETED).done:
                queue.done(running.pop(future))
                future.result()


def _place(campaign: Campaign, planned: PlannedTrial) -> Place:
    choice = campaign.choices[planned.role, planned.clock]
    case, machine = campaign.cases[planned.case], campaign.machines[planned.machine]
    return campaign.executor.place(case, choice, machine)


def _demand(campaign: Campaign, planned: PlannedTrial) -> Demand:
    """What a trial takes of this machine. The nested lab host does one after the other, and has its memory
    for as long as it lives. What is run elsewhere takes nothing."""
    case, machine = campaign.cases[planned.case], campaign.machines[planned.machine]
    place = _place(campaign, planned)
    demand = Demand(
        number=planned.number,
        seconds=campaign.durations.of(case, planned.machine, planned.clock).seconds,
        priority=planned.priority,
    )
    if place.elsewhere:
        # In the order of the plan, one after the other, what is compared on one host, or needs one device.
        bound = planned.clock is Clock.REAL or machine.passthrough is not None
        return replace(demand, lane=f"{planned.case} {planned.machine}" if bound else "")
    if place.nested:
        alone = planned.clock is Clock.REAL
        return replace(demand, lane="nested", alone=alone)
    memory = guest_memory(case, machine) + GUEST_OVERHEAD
    return replace(demand, memory=memory, alone=planned.clock is Clock.REAL)


def _room_here(campaign: Campaign, todo: Sequence[PlannedTrial], demands: Iterable[Demand]) -> Room:
    """This machine's processors, and the memory that is free, less what the nested lab host keeps."""
    memory = available_memory()
    if any(demand.lane for demand in demands):
        inside = [planned for planned in todo if _place(campaign, planned).nested]
        largest = max(guest_memory(campaign.cases[p.case], campaign.machines[p.machine]) for p in inside)
        memory -= nested_memory(largest) + GUEST_OVERHEAD
    return Room(cpus(), memory)


def drop_outdated(run: RunFolder, plan: Sequence[PlannedTrial], kernels: Mapping[str, Kernel]) -> None:
    """Drop the planned trials that are of another kernel than their role stands for now, if that is known.

    `debian:6.12`, `tree:PATH` or a branch may have moved on since the run was begun, and what is told of one
    name must be of one kernel.
    """
    keys = {planned.key for planned in plan}
    outdated: dict[tuple[str, str], list[str]] = {}
    for trial in run.readable_trials()[0]:
        kernel = kernels.get(trial.role) if trial.key in keys else None
        if kernel is not None and kernel.record.id != trial.kernel:
            outdated.setdefault((trial.role, trial.kernel), []).append(trial.key)
    for (role, before), ended in outdated.items():
        now = kernels[role].record
        told = f"{counted(len(ended), 'trial')} of {role} that ended will be run again"
        log.info(f"{told}: that was kernel {before}, and now it is {now.id} ({now.name})")
        for key in ended:
            run.drop_trial(key)


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


def _settled(campaign: Campaign, planned: PlannedTrial, program: Path | None, position: str) -> Trial:
    case = campaign.cases[planned.case]
    if planned.timeout is not None:
        case = case.model_copy(update={"timeout": planned.timeout})
    work = Work(
        planned=planned,
        case=case,
        machine=case.on(campaign.machines[planned.machine]),
        kernel=campaign.kernels[planned.role],
        choice=campaign.choices[planned.role, planned.clock],
        program=program,
        expectations=campaign.expectations,
        timeline=campaign.timeline,
    )
    place = _place(campaign, planned)
    earlier: tuple[Trial, ...] = ()
    while True:
        with campaign.run.new_trial(planned.key) as folder:
            known = campaign.broken.why(work.kernel, planned.machine) or place.not_run
            trial = run_trial(
                campaign.bench,
                replace(work, earlier=tuple(_told(one) for one in earlier)),
                folder,
                not_run=known,
                carrier=place.carrier,
            )
        what = f"{planned.case} {planned.machine} {planned.role}"
        log.info(f"[{position}] {what}: {trial.outcome} ({trial.seconds:.1f} s) {trial.reason}")
        if not _again(trial, earlier, nested=place.nested):
            campaign.broken.note(trial)
            return trial
        earlier = (*earlier, trial)


def _told(trial: Trial) -> str:
    """The note that a later attempt at this trial has of it."""
    return f"attempt {trial.attempt}: {trial.outcome}: {' '.join(trial.reason.split())[:400]}"


def _again(trial: Trial, earlier: Sequence[Trial], *, nested: bool) -> bool:
    """Whether this attempt is not the last word on the trial."""
    if trial.outcome is Outcome.ERROR:
        return trial.attempt < (NESTED_ATTEMPTS if nested else ATTEMPTS)
    hung = [one for one in (*earlier, trial) if one.outcome is Outcome.TIMEOUT]
    return nested and trial.outcome is Outcome.TIMEOUT and len(hung) == 1
