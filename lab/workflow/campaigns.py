# SPDX-License-Identifier: GPL-2.0-or-later
"""What `run` and `validate` share: a run folder is made from a request, and carried out from the folder
alone. So starting and resuming are the same thing."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import lab
from lab import files, proc
from lab.campaign.execute import Campaign, run_campaign
from lab.campaign.executor import Elsewhere, Executor, ExecutorName, lacks
from lab.campaign.fitness import skip_reason
from lab.campaign.nested import KERNEL as HOST_KERNEL
from lab.campaign.nested import nested_host
from lab.campaign.plan import plan_trials
from lab.campaign.probe import choose
from lab.campaign.trial import boot_of
from lab.campaign.work import Work
from lab.cluster.address import check_scheduler
from lab.errors import InfraError, Interrupted, UserError
from lab.guest.accelerator import Choice, Policy, without_probe
from lab.guest.argv import qemu_argv
from lab.guest.guest import write_command
from lab.guest.prepare import Bench
from lab.kernel.driver_build import with_drivers
from lab.kernel.kernel import Kernel
from lab.kernel.obtain import KCONFIG
from lab.kernel.sources import parse_source
from lab.report.write import write_reports
from lab.results.models import CaseRecord, Clock, MetricRecord, PlannedTrial, RunRecord, Verdict
from lab.results.runfolder import RunFolder, new_run_id
from lab.spec.catalog import Catalog
from lab.spec.models import Case, Machine
from lab.workload.compile import build_workload

TO_BE_PROBED = "if the probing boot succeeds"
"""Why a preview takes KVM: it boots nothing to find out."""

ONE_BOOT = frozenset({"guest", "record"})
"""Workflows whose runs are done again, not gone on with."""


@dataclass(frozen=True)
class Options:
    """How trials are to be run, whatever they are about."""

    machines: tuple[str, ...] = ()
    clock: Clock = Clock.VIRTUAL
    accelerator: Policy = "auto"
    repeats: int = 1
    kconfig: str = KCONFIG
    command: tuple[str, ...] = field(default_factory=tuple)  # argv after `lab`, for the record
    executor: ExecutorName = "auto"
    scheduler: str = ""  # of executor dask
    host_kernel: str = HOST_KERNEL  # of the nested lab host
    timeline: bool = False  # trace the measured spans


@dataclass(frozen=True)
class Ended:
    """A campaign that was carried out."""

    run: RunFolder
    verdict: Verdict


def new_record(
    workflow: str, name: str, catalog: Catalog, cases: Sequence[Case], roles: Sequence[str], options: Options
) -> RunRecord:
    """The record of a new run. UserError if a machine is unknown or no trial would be run."""
    for machine in options.machines:
        catalog.machine(machine)
    if options.executor == "dask":
        check_scheduler(options.scheduler)
    _ = catalog.expectations  # a broken file is told before there is a run
    nested = options.executor == "nested"
    plan = plan_trials(
        cases, roles, clock=options.clock, machines=options.machines, repeats=options.repeats, nested=nested
    )
    if not plan:
        raise UserError("there is no case to run", hint="see `lab list cases`")
    return RunRecord(
        id=new_run_id(workflow, name),
        workflow=workflow,
        command=options.command,
        lab_version=lab.__version__,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        cases={case.name: case_record(case) for case in cases},
        kconfig=options.kconfig,
        accelerator=options.accelerator,
        executor=options.executor,
        scheduler=options.scheduler if options.executor == "dask" else "",
        host_kernel=str(parse_source(options.host_kernel)),
        timeline=options.timeline,
        plan=plan,
    )


def case_record(case: Case) -> CaseRecord:
    metrics = {
        name: MetricRecord(
            title=metric.title,
            unit=metric.unit,
            better=metric.better,
            tolerance=metric.tolerance,
            gate=metric.gate,
        )
        for name, metric in case.metrics.items()
    }
    return CaseRecord(
        title=case.title,
        question=case.question,
        memory_manager=case.memory_manager,
        path=str(case.path),
        metrics=metrics,
    )


def set_up(run: RunFolder) -> Bench:
    """Bench.set_up, and a look at the run's cluster: what is wrong with it is told before hours of builds."""
    bench = Bench.set_up()
    if run.read().executor == "dask":
        from lab.workflow.clusters import look_at_cluster

        look_at_cluster(bench, run)
    return bench


def run_trials(bench: Bench, run: RunFolder, kernels: Mapping[str, Kernel]) -> None:
    """Record the kernels and run what the plan still lacks."""
    with lab_host(bench, run) as host:
        run_campaign(open_campaign(bench, run, kernels, host), run.read().plan)


def lab_host(bench: Bench, run: RunFolder) -> AbstractContextManager[Elsewhere]:
    """Who carries out what this host does not: the run's cluster, or the nested lab host, which is booted for
    the first trial that needs it."""
    if run.read().executor == "dask":
        from lab.workflow.clusters import cluster_of

        return cluster_of(bench, run)
    return nested_host(bench, run.path / "nested", kernel=run.read().host_kernel)


def open_campaign(
    bench: Bench, run: RunFolder, kernels: Mapping[str, Kernel], host: Elsewhere | None = None
) -> Campaign:
    """Record the kernels, and find what the names in the plan stand for. Without `host` all is run here."""
    record = run.read()
    for kernel in kernels.values():
        run.add_kernel(kernel.record)
    run.write(
        record.model_copy(update={"kernels": {role: kernel.record.id for role, kernel in kernels.items()}})
    )
    catalog = Catalog.load()
    planned = record.plan
    cases = {name: find_case(catalog, name, kept) for name, kept in record.cases.items()}
    machines = {name: catalog.machine(name) for name in dict.fromkeys(trial.machine for trial in planned)}
    return Campaign(
        bench=bench,
        run=run,
        cases=cases,
        machines=machines,
        kernels=kernels,
        expectations=catalog.expectations,
        timeline=record.timeline,
        drivers={
            (trial.case, trial.machine): catalog.drivers_for(cases[trial.case], machines[trial.machine])
            for trial in planned
        },
        executor=Executor(record.executor, host, host.room if host is not None else None),
        choices={
            (role, clock): _choose(bench, kernels[role], record, clock, host)
            for role, clock in dict.fromkeys((trial.role, trial.clock) for trial in planned)
            if role in kernels  # a long run gets its kernels one after the other
        },
    )


def _choose(bench: Bench, kernel: Kernel, record: RunRecord, clock: Clock, host: Elsewhere | None) -> Choice:
    if host is not None and record.executor in ("nested", "dask") and clock is not Clock.VIRTUAL:
        return host.choice(record.accelerator)
    return choose(bench, kernel, record.accelerator, clock)


def find_case(catalog: Catalog, name: str, kept: CaseRecord) -> Case:
    """The case of that name; one from outside the tree is found by the path that the run kept."""
    return catalog.case(kept.path if name.startswith("local/") else name)


def conclude(run: RunFolder, *, rejection: Verdict | None = None) -> Ended:
    """Write the reports and the verdict."""
    run.write(run.read().model_copy(update={"finished": True, "interrupted": False, "verdict": rejection}))
    verdict = write_reports(run)
    run.write(run.read().model_copy(update={"verdict": verdict}))
    return Ended(run, verdict)


def note_interruption(run: RunFolder) -> None:
    """Keep what was finished readable after ^C: reports of the trials so far, and how to go on."""
    run.write(run.read().model_copy(update={"interrupted": True}))
    write_reports(run)


@contextmanager
def carrying_out(run: RunFolder) -> Iterator[None]:
    """Hold a run (UserError when another lab has it). Where it ends half-way, what was finished stays
    readable, and the error says how to go on."""
    with run.owned():
        try:
            yield
        except Interrupted:
            note_interruption(run)
            told = f"interrupted; {_kept(run)}\n  -> {_going_on(run)}"
            raise Interrupted(told) from None
        except InfraError as error:
            hints = [error.hint, f"then {_going_on(run)}; {_kept(run)}"]
            error.hint = "\n  -> ".join(filter(None, hints))
            raise


def _going_on(run: RunFolder) -> str:
    return f"lab {run.read().workflow} --resume {run.path.name}"


def _kept(run: RunFolder) -> str:
    return f"{len(run.readable_trials()[0])} of {len(run.read().plan)} trials are kept in {run.path}"


def resumable(name: str, workflow: str, scheduler: str = "") -> RunFolder:
    """The run to go on with, at another scheduler if one is named. UserError if it is none of this
    workflow."""
    run = RunFolder.find(name)
    record = run.read()
    maker = record.workflow
    if maker == workflow:
        if record.executor == "dask" and scheduler and scheduler != record.scheduler:
            check_scheduler(scheduler)
            run.write(record.model_copy(update={"scheduler": scheduler}))
        return run
    if maker in ONE_BOOT:
        raise UserError(f"{run.path.name} was a single boot: there is nothing to go on with")
    raise UserError(
        f"{run.path.name} is a run of `lab {maker}`", hint=f"lab {maker} --resume {run.path.name}"
    )


@dataclass(frozen=True)
class Previewed:
    """A planned trial and the script that boots its guest by hand; "" with the reason if it would be SKIP."""

    planned: PlannedTrial
    script: Path | None
    line: str
    where: str = "here"  # the guest would be run


def preview_trials(bench: Bench, record: RunRecord, kernels: Mapping[str, Kernel]) -> list[Previewed]:
    """What a run would boot. Scripts are written below the state folder's dry-runs/, nothing is booted."""
    catalog = Catalog.load()
    root = files.state_dir("dry-runs") / record.id
    found: list[Previewed] = []
    for planned in record.plan:
        case = find_case(catalog, planned.case, record.cases[planned.case])
        machine = case.on(catalog.machine(planned.machine))
        kernel = with_drivers(kernels[planned.role], catalog.drivers_for(case, machine))
        reason = skip_reason(case, machine, kernel)
        if reason:
            found.append(Previewed(planned, None, f"SKIP: {reason}"))
            continue
        source = case.workload_path
        include = files.shipped("testcases") / "include"
        program = build_workload(source, include) if source is not None else None
        choice = without_probe(record.accelerator, planned.clock) or Choice("kvm", TO_BE_PROBED)
        where = _where(record.executor, case, machine, choice)
        if where != "here":
            choice = replace(choice, accelerator="kvm" if planned.clock is not Clock.VIRTUAL else "tcg")
        work = Work(planned, case, machine, kernel, choice, program, timeline=record.timeline)
        boot = boot_of(bench, work)
        folder = root / planned.key
        folder.mkdir(parents=True)
        write_command(boot, folder)
        found.append(Previewed(planned, folder / "qemu.cmd", proc.quoted(qemu_argv(boot.launch)), where))
    return found


def _where(executor: ExecutorName, case: Case, machine: Machine, choice: Choice) -> str:
    """Where a trial's guest would be run, in the words of a preview: KVM has not been probed."""
    if executor == "dask":
        return "on a worker of the cluster"
    if executor == "nested" or (executor == "auto" and lacks(case, choice, machine)):
        return "in the nested lab host"
    if executor == "auto" and "kvm" in case.needs and choice.reason == TO_BE_PROBED:
        return "here if Linux boots under its KVM, else in the nested lab host"
    return "here"
