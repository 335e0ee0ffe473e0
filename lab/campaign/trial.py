# SPDX-License-Identifier: GPL-2.0-or-later
"""One trial: one case, on one kernel, on one machine, in one boot."""

from __future__ import annotations

import datetime
import re
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import lab
from lab.campaign import monitors
from lab.campaign.counting import why_none, with_exits
from lab.campaign.expected import skip_expected, with_expectation
from lab.campaign.fitness import gpu_under_test, skip_reason
from lab.campaign.outcome import Seen, judge_trial
from lab.campaign.timelines import with_timeline
from lab.campaign.work import Carrier, Work
from lab.errors import InfraError, LabError, UserError
from lab.guest.guest import Boot, End, Guest, booted
from lab.guest.pinning import pin
from lab.guest.prepare import Bench, Extras, prepare_boot
from lab.guest.spans import SpanCounter
from lab.guest.streams import MAX_CONSOLE
from lab.host import cpus, host_cpu, host_kernel
from lab.image.initramfs import Job
from lab.instrument.splats import fatal, scan
from lab.kernel.kernel import Kernel
from lab.results.models import Clock, Environment, Outcome, Trial
from lab.results.runfolder import write_record
from lab.spec.models import Case
from lab.waiting import Deadline
from lab.workload.ktap import Parsed, parse

BOOT_SECONDS = {"tcg": 120.0, "kvm": 30.0, "nested": 360.0}
"""From QEMU's start to the ready marker; some twenty times what an idle host takes. KVM on an emulated SVM is
slower than emulation, and two of three processes that it takes turns with are QEMU's and the lab's."""

SILENCE_SECONDS = {"tcg": 45.0, "kvm": 15.0, "nested": 360.0}
"""The longest pause on the console while booting; in the nested lab host it shows warnings alone."""

DEBUG_PATIENCE = 6
"""How many times as long a kernel with debugging may take: under KASAN and lockdep it is that much slower."""

PRINTK = re.compile(r"^(<\d+>)?\[ *\d+\.\d+\]")


def run_here(bench: Bench, work: Work, folder: Path) -> Trial:
    """Boot the guest on this host and observe it."""
    return observe(bench, work, boot_of(bench, work), folder)


def run_trial(
    bench: Bench, work: Work, folder: Path, *, not_run: str = "", carrier: Carrier = run_here
) -> Trial:
    """Run one trial, leave its evidence in `folder`, and return what was observed.

    `not_run` is a reason to leave the guest out and say so (SKIP). Only Interrupted leaves as an
    exception; the lab's own failures become outcome ERROR.
    """
    started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    clock_start = time.monotonic()
    try:
        reason = not_run or _skip_reason(work)
        trial = _blank(work, Outcome.SKIP, "plan", reason) if reason else carrier(bench, work, folder)
    except (InfraError, UserError) as error:
        trial = failed(work, error)
    if work.timeline and trial.environment is not None:
        trial = with_timeline(trial, folder)
    trial = trial.model_copy(update={"notes": (*work.earlier, *trial.notes)})
    trial = with_expectation(work.expectations, trial, work.kernel.record.version)
    if not trial.started:  # else the carrier says when: what it waited for a worker is not the trial's
        seconds = round(time.monotonic() - clock_start, 3)
        trial = trial.model_copy(update={"started": started, "seconds": seconds})
    write_record(folder / "trial.json", trial)
    return trial


def failed(work: Work, error: LabError) -> Trial:
    """The trial that the lab or the host could not carry out."""
    return _blank(work, Outcome.ERROR, "boot", str(error))


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
    environment: dict[str, str] = {"LAB_CLOCK": work.clock_of_numbers}
    if work.counts_exits:
        environment["LAB_SPANS"] = "1"
    if work.timeline:
        environment["LAB_TIMELINE"] = "1"
    gpu = gpu_under_test(work.case, work.machine, work.kernel)
    driver = gpu.driver if gpu is not None else ""
    arguments = tuple(argument.replace("{driver}", driver) for argument in work.case.args)
    return Job("job", work.program, arguments, environment, files=guest_files(work.case))


def guest_files(case: Case) -> dict[str, bytes]:
    """The case's files by their path in the guest. Raises UserError if one cannot be read."""
    try:
        return {f"/lab/files/{name}": path.read_bytes() for name, path in case.file_paths.items()}
    except OSError as error:
        raise UserError(f"cannot read {error.filename}: {error.strerror}") from error


def boot_of(bench: Bench, work: Work) -> Boot:
    """All that the guest needs, made and in the cache. Raises UserError as `prepare_boot`."""
    return prepare_boot(
        bench,
        work.machine,
        work.kernel,
        job_of(work),
        clock=work.planned.clock,
        choice=work.choice,
        extras=_extras(work),
    )


def _extras(work: Work) -> Extras:
    """In the nested lab host each character on the console costs the guest two exits, and a full log half
    a minute: there it shows warnings and what is worse."""
    extras = replace(Extras.of(work.case), spans=work.counts_exits)
    return replace(extras, cmdline=("loglevel=5", *extras.cmdline)) if work.nested else extras


def observe(bench: Bench, work: Work, boot: Boot, folder: Path) -> Trial:
    """Boot the guest, follow it to its end, and judge what was seen. Evidence goes into `folder`."""
    with booted(boot, folder) as guest, SpanCounter(guest, timeline=work.timeline) as spans:
        end, stage, deadline = _follow(guest, work, spans)
        where = guest.where() if end in (End.DEADLINE, End.SILENCE) else ""
        killed_by = guest.killed_by
        status = guest.exit_status
    console = (folder / "console.log").read_bytes().decode(errors="replace")
    trial = _observed(bench, work, guest, folder, console, (end, stage, deadline, where, killed_by, status))
    if work.counts_exits:
        return with_exits(work.case, trial, spans, guest)
    notes = (why_none(work.choice, work.planned.clock),) if work.case.exits else ()
    return trial.model_copy(update={"notes": (*trial.notes, *notes)})


def boot_patience(kernel: Kernel, accelerator: str) -> tuple[float, float]:
    """Seconds that a boot may take, and that its console may be silent."""
    times = DEBUG_PATIENCE if kernel.record.debug_options else 1
    return times * BOOT_SECONDS[accelerator], times * SILENCE_SECONDS[accelerator]


def _follow(guest: Guest, work: Work, spans: SpanCounter) -> tuple[End, str, str]:
    """Wait for the guest's stages; returns why it ended, in which stage, and the deadline in force."""
    accelerator = "nested" if work.nested else work.choice.accelerator
    boot_seconds, silence = boot_patience(work.kernel, accelerator)
    boot = Deadline("boot", boot_seconds)
    if work.planned.clock is Clock.REAL and not work.nested:
        pin(guest)  # now: QEMU is up before the guest's kernel is
    end = guest.wait_ready(boot, silence=silence)
    if end is End.SILENCE:
        return end, "boot", f"no word on the console for {silence:.0f} s while booting"
    if end is not End.HAPPENED:
        return end, "boot", f"boot, {boot.seconds:.0f} s from start to ready marker"
    if work.counts_exits:
        spans.start()
    run = Deadline("run", work.case.timeout)
    return (
        monitors.wait_end(guest, work.case.display, run),
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
    parsed = _keep_report(guest, folder, work.clock_of_numbers) if work.program else Parsed.empty()
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
        console_cut=guest.streams.console_bytes > MAX_CONSOLE,
        nested=work.nested,
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
            "environment": environment(bench, work, guest.boot, guest.argv, guest.pinned),
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


def environment(
    bench: Bench, work: Work, boot: Boot, argv: tuple[str, ...], pinned: tuple[int, ...] = ()
) -> Environment:
    """The conditions under which a guest ran."""
    return Environment(
        lab_version=lab.__version__,
        accelerator=work.choice.accelerator,
        accelerator_reason=work.choice.reason,
        clock=work.clock_of_numbers,
        nesting=int(work.nested),
        traced=work.timeline,
        qemu_version=bench.qemu.banner,
        qemu_argv=argv,
        outer_qemu_argv=work.outer_argv,
        guest_cmdline=boot.launch.command_line,
        memory_backing=f"{'memfd' if work.machine.shared_memory else 'anonymous memory'} of the host, "
        "not preallocated",
        host_kernel=host_kernel(),
        host_cpu=host_cpu(),
        host_cpus=cpus(),
        pinned=pinned,
    )
