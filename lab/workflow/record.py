# SPDX-License-Identifier: GPL-2.0-or-later
"""Make a frame trace of what runs: a case in a guest, or whatever draws on this machine."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import lab
from lab import files, log, proc
from lab.campaign.execute import run_campaign
from lab.errors import InfraError, Interrupted, UserError
from lab.guest.prepare import Bench
from lab.host import host_kernel
from lab.instrument.drm_probes import probe_lines, read_events
from lab.kernel.obtain import obtain
from lab.kernel.sources import parse_source
from lab.results.models import Outcome, Trial
from lab.results.runfolder import RunFolder
from lab.spec.catalog import Catalog
from lab.spec.models import Case
from lab.waiting import Deadline, stop_requested
from lab.workflow.campaigns import Options, conclude, new_record, note_interruption, open_campaign
from lab.workflow.recording import Recorded, trace_of
from lab.workload.compile import build_workload
from lab.workload.frame_trace import print_trace

RECORDER = Path("stutter") / "stutter_record.c"
TRACE = "trace.txt"
LAST_SECONDS = 15.0
"""How long the recorder may take to write the trace and to take its probes back."""

NO_RECORDING = 125
"""The recorder's status if there is none; any other is that of the program it ran."""


@dataclass(frozen=True)
class Wanted:
    """How a recording is to be told."""

    rate: int | None = None  # frames a second; None: as seen
    seconds: int = 0  # on this machine; 0: until the command ends


def record_case(name: str, kernel: str, options: Options, wanted: Wanted) -> tuple[Recorded, tuple[str, ...]]:
    """Run a case under the recorder in a guest; the trace, and comments that say where it comes from.

    Raises UserError if the case does not pass there: what it did would not be its trace.
    """
    catalog = Catalog.load()
    case = catalog.case(name)
    source = str(parse_source(kernel))
    machine = options.machines[:1] or case.machines[:1]
    record = new_record("record", kernel, catalog, [case], ("kernel",), replace(options, machines=machine))
    run = RunFolder.create(record.model_copy(update={"base_source": source, "title": source}))
    with run.owned():
        try:
            trial, release = _recorded_trial(run, case, source)
        except Interrupted:
            note_interruption(run)
            raise
    path = run.trial_path(trial.key) / "samples" / TRACE
    if trial.outcome is not Outcome.PASS or not path.is_file():
        raise UserError(
            f"{case.name} under the recorder: {trial.outcome} {trial.reason}",
            hint=f"see {run.trial_path(trial.key)}",
        )
    comments = _comments(f"{case.name} on {trial.machine}, Linux {release}")
    return trace_of(read_events(path.read_text(errors="replace")), rate=wanted.rate), comments


def _recorded_trial(run: RunFolder, case: Case, source: str) -> tuple[Trial, str]:
    bench = Bench.set_up()
    kernel = obtain(source, with_build=False, kconfig=run.read().kconfig)
    campaign = open_campaign(bench, run, {"kernel": kernel})
    under = _under_recorder(case, run.path / "probes")
    run_campaign(replace(campaign, cases={case.name: under}), run.read().plan)
    conclude(run)
    return run.trials()[0], kernel.record.release


def _under_recorder(case: Case, probes: Path) -> Case:
    """The case with the recorder as its workload, which runs the case's own."""
    if case.workload_path is None:
        raise UserError(f"{case.name} has no workload: there is nothing to record")
    testcases = files.shipped("testcases")
    files.write_whole(probes, probe_lines())
    workload = build_workload(case.workload_path, testcases / "include")
    recorder = ("/lab/files/probes", f"/lab/out/{TRACE}", "0", "/lab/files/workload")
    return case.model_copy(
        update={
            "workload": str(testcases / RECORDER),
            "args": (*recorder, *case.args),
            "files": {**case.files, "probes": str(probes), "workload": str(workload)},
        }
    )


def record_here(words: Sequence[str], wanted: Wanted) -> tuple[Recorded, tuple[str, ...], int]:
    """Record this machine while `words` run, or for `wanted.seconds`; also the status of `words`.

    Raises UserError if we are not root, InfraError if the kernel cannot be traced.
    """
    if os.geteuid() != 0:
        raise UserError("only root may place probes (tracefs)", hint="run the same command with sudo")
    testcases = files.shipped("testcases")
    recorder = build_workload(testcases / RECORDER, testcases / "include")
    with files.scratch(files.state_dir("recordings") / "recording") as folder:
        (folder / "probes").write_text(probe_lines())
        argv = [str(recorder), str(folder / "probes"), str(folder / TRACE), str(wanted.seconds), *words]
        what = proc.quoted(words) if words else f"{wanted.seconds} s"
        with log.step(f"record {what}"):
            status = _follow(argv)
        if status == NO_RECORDING:
            raise InfraError(
                "nothing was recorded; the recorder's reason stands above",
                hint="mount -t tracefs tracefs /sys/kernel/tracing",
            )
        text = (folder / TRACE).read_text(errors="replace")
    story = Path(words[0]).name if words else f"all programs for {wanted.seconds} s"
    return trace_of(read_events(text), rate=wanted.rate), _comments(f"{story}, Linux {host_kernel()}"), status


def _follow(argv: Sequence[str]) -> int:
    """Run the recorder; ^C asks it to end, and it still gives what it has."""
    child = proc.spawn(argv, stdout=None, stderr=None)  # to the user's terminal
    try:
        while child.poll() is None and not stop_requested.is_set():
            time.sleep(0.05)
        if child.poll() is None:
            child.terminate()
            deadline = Deadline("end of recording", LAST_SECONDS)
            while child.poll() is None and not deadline.expired:
                time.sleep(0.05)
        return child.returncode if child.returncode is not None else NO_RECORDING
    finally:
        proc.kill_group(child, patience=LAST_SECONDS)


def _comments(story: str) -> tuple[str, ...]:
    plain = story.encode("ascii", "replace").decode()
    return (f"Recorded by faultlab {lab.__version__}: {plain}"[:190],)


def save(recorded: Recorded, comments: Sequence[str], path: Path) -> None:
    """Write the trace, with what it cannot say as comments."""
    notes = tuple(f"note: {note}" for note in recorded.notes)
    files.write_whole(path, print_trace(recorded.trace, (*comments, *notes)))
