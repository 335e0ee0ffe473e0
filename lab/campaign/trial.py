# SPDX-License-Identifier: GPL-2.0-or-later
"""One trial: one case, on one kernel, on one machine, in one boot."""

from __future__ import annotations

import datetime
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import lab
from lab.campaign.expected import skip_expected, with_expectation
from lab.campaign.fitness import gpu_under_test, skip_reason
from lab.campaign.outcome import Seen, judge_trial
from lab.errors import InfraError, UserError
from lab.guest.accelerator import Choice
from lab.guest.guest import Boot, End, Guest, booted
from lab.guest.prepare import Bench, Extras, prepare_boot
from lab.host import cpus, host_cpu, host_kernel
from lab.image.initramfs import Job
from lab.instrument.splats import fatal, scan
from lab.kernel.kernel import Kernel
from lab.results.models import Clock, Environment, Outcome, PlannedTrial, Trial
from lab.results.runfolder import write_record
from lab.spec.expectations import Expectations
from lab.spec.models import Case, Machine
from lab.waiting import Deadline
from lab.workload.ktap import Parsed, parse

BOOT_SECONDS = {"tcg": 120.0, "kvm": 30.0}
"""From QEMU's start to the ready marker; some twenty times what an idle host takes."""

SILENCE_SECONDS = {"tcg": 45.0, "kvm": 15.0}
"""The longest pause on the console while booting."""

DEBUG_PATIENCE = 6
"""How many times as long a kernel with debugging may take: under KASAN and lockdep it is that much slower."""

PRINTK = re.compile(r"^(<\d+>)?\[ *\d+\.\d+\]")


NONE_EXPECTED = Expectations()


@dataclass(frozen=True)
class Work:
    """All that one trial needs; the planned trial names it, the rest is what the names stand for."""

    planned: PlannedTrial
    case: Case
    machine: Machine
    kernel: Kernel
    choice: Choice
    program: Path | None  # the compiled workload
    attempt: int = 1
    expectations: Expectations = NONE_EXPECTED


def run_trial(bench: Bench, work: Work, folder: Path, *, not_run: str = "") -> Trial:
    """Run one trial, leave its evidence in `folder`, and return what was observed.

    `not_run` is a reason to leave the guest out and say so (SKIP). Only Interrupted leaves as an
    exception; the lab's own failures become outcome ERROR.
    """
    started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    clock_start = time.monotonic()
    try:
        reason = not_run or _skip_reason(work)
        trial = _blank(work, Outcome.SKIP, "plan", reason) if reason else _run_guest(bench, work, folder)
    except (InfraError, UserError) as error:
        trial = _blank(work, Outcome.ERROR, "boot", str(error))
    trial = with_expectation(work.expectations, trial, work.kernel.record.version)
    seconds = round(time.monotonic() - clock_start, 3)
    trial = trial.model_copy(update={"started": started, "seconds": seconds})
    write_record(folder / "trial.json", trial)
    return trial


def _skip_reason(work: Work) -> str:
    version = work.kernel.record.version
    known = skip_expected(work.expectations, work.planned.case, work.planned.machine, version)
    return known or skip_reason(work.case, work.machine, work.kernel)


def _blank(work: Work, outcome: Outcome, stage: str, reason: str) -> Trial:
    planned = work.planned
    return Trial(
        key=planned.key,
        number=planned.number,
        case=planned.case,
        case_digest=work.case.digest,
        kernel=work.kernel.record.id,
        role=planned.role,
        machine=planned.machine,
        clock=planned.clock,
        repeat=planned.repeat,
        attempt=work.attempt,
        outcome=outcome,
        stage=stage,
        reason=reason,
    )


def job_of(work: Work) -> Job:
    """The orders for the guest."""
    if work.program is None:
        return Job("boot")
    gpu = gpu_under_test(work.case, work.machine, work.kernel)
    driver = gpu.driver if gpu is not None else ""
    arguments = tuple(argument.replace("{driver}", driver) for argument in work.case.args)
    return Job(
        "job", work.program, arguments, {"LAB_CLOCK": _clock_of_numbers(work)}, files=guest_files(work.case)
    )


def guest_files(case: Case) -> dict[str, bytes]:
    """The case's files by their path in the guest. Raises UserError if one cannot be read."""
    try:
        return {f"/lab/files/{name}": path.read_bytes() for name, path in case.file_paths.items()}
    except OSError as error:
        raise UserError(f"cannot read {error.filename}: {error.strerror}") from error


def _clock_of_numbers(work: Work) -> Clock:
    """Time taken under emulation without counting instructions is functional, whatever was asked for."""
    if work.planned.clock is Clock.REAL and work.choice.accelerator == "tcg":
        return Clock.FUNCTIONAL
    return work.planned.clock


def _run_guest(bench: Bench, work: Work, folder: Path) -> Trial:
    boot = prepare_boot(
        bench,
        work.machine,
        work.kernel,
        job_of(work),
        clock=work.planned.clock,
        choice=work.choice,
        extras=Extras.of(work.case),
    )
    with booted(boot, folder) as guest:
        end, stage, deadline = _follow(guest, work)
        where = guest.where() if end in (End.DEADLINE, End.SILENCE) else ""
        killed_by = guest.killed_by
        status = guest.exit_status
    console = (folder / "console.log").read_bytes().decode(errors="replace")
    return _observed(bench, work, guest, folder, console, (end, stage, deadline, where, killed_by, status))


def boot_patience(kernel: Kernel, accelerator: str) -> tuple[float, float]:
    """Seconds that a boot may take, and that its console may be silent."""
    times = DEBUG_PATIENCE if kernel.record.debug_options else 1
    return times * BOOT_SECONDS[accelerator], times * SILENCE_SECONDS[accelerator]


def _follow(guest: Guest, work: Work) -> tuple[End, str, str]:
    """Wait for the guest's stages; returns why it ended, in which stage, and the deadline in force."""
    accelerator = work.choice.accelerator
    boot_seconds, silence = boot_patience(work.kernel, accelerator)
    boot = Deadline("boot", boot_seconds)
    end = guest.wait_ready(boot, silence=silence)
    if end is End.SILENCE:
        return end, "boot", f"no word on the console for {silence:.0f} s while booting"
    if end is not End.HAPPENED:
        return end, "boot", f"boot, {boot.seconds:.0f} s from start to ready marker"
    run = Deadline("run", work.case.timeout)
    return (
        guest.wait_end(run),
        "run",
        f"run, {run.seconds:.0f} s from ready marker to power-off (the case's timeout)",
    )


def _observed(
    bench: Bench,
    work: Work,
    guest: Guest,
    folder: Path,
    console: str,
    ended: tuple[End, str, str, str, str, int | None],
) -> Trial:
    end, stage, deadline, where, killed_by, status = ended
    reader = guest.streams.reader
    parsed = _keep_report(guest, folder, _clock_of_numbers(work)) if work.program else Parsed.empty()
    lines = [line for line in console.splitlines() if PRINTK.match(line)]
    (folder / "dmesg.txt").write_text("\n".join(lines) + "\n")
    splats = scan(console)
    seen = Seen(
        end=end,
        stage=stage,
        deadline=deadline,
        killed_by=killed_by,
        qemu_status=status,
        qemu_error=guest.streams.stderr,
        fatal=fatal(splats),
        splats=splats,
        failure=reader.failure,
        protocol_error=str(guest.streams.channel_error or ""),
        said_bye=reader.done,
        exit_status=reader.exit_status,
        checks=parsed.checks,
        problems=(*_cut_report(reader.notes), *parsed.problems),
        expects_report=work.program is not None,
        where=where,
    )
    outcome, stage, reason = judge_trial(seen)
    return _blank(work, outcome, stage, reason).model_copy(
        update={
            "measurements": parsed.measurements,
            "checks": parsed.checks,
            "splats": splats,
            "samples": tuple(sorted(reader.files)),
            "exit_status": reader.exit_status,
            "notes": tuple(reader.notes),
            "seconds_to_ready": None if guest.ready_seconds is None else round(guest.ready_seconds, 3),
            "environment": environment(bench, work.choice, _clock_of_numbers(work), guest.boot, guest.argv),
        }
    )


def _cut_report(notes: Sequence[str]) -> list[str]:
    """The guest's notes that say that a part of the report was dropped: it may have held a failed check."""
    return [note for note in notes if note.startswith("stdout cut ")]


def _keep_report(guest: Guest, folder: Path, clock: Clock) -> Parsed:
    """Write what the guest sent into the trial's folder, and parse its KTAP."""
    reader = guest.streams.reader
    for name, content in reader.files.items():
        (folder / "samples" / name).write_bytes(content)
    (folder / "ktap.txt").write_bytes(reader.stdout)
    if reader.stderr:
        (folder / "stderr.txt").write_bytes(reader.stderr)
    return parse(reader.stdout.decode(errors="replace"), clock)


def environment(bench: Bench, choice: Choice, clock: Clock, boot: Boot, argv: tuple[str, ...]) -> Environment:
    """The conditions under which a guest ran."""
    return Environment(
        lab_version=lab.__version__,
        accelerator=choice.accelerator,
        accelerator_reason=choice.reason,
        clock=clock,
        nesting=0,
        qemu_version=bench.qemu.banner,
        qemu_argv=argv,
        guest_cmdline=boot.launch.command_line,
        memory_backing="anonymous memory of the host, not preallocated",
        host_kernel=host_kernel(),
        host_cpu=host_cpu(),
        host_cpus=cpus(),
    )
