# SPDX-License-Identifier: GPL-2.0-or-later
"""How a trial can end: each way on a real guest, with the evidence that is kept and lab's exit code."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from labrun import SECONDS, Lab, Ran, failed_checks, run_lab
from processes import Running, descendants, started

from lab.results.models import Conclusion, Outcome, Trial

WORKLOADS = Path(__file__).parent / "workloads"
DEFECTS = {
    "skip-page": "pages",
    "corrupt": "content",
    "late": "faults",
    "astray": "mapped",
}
"""A defect that is planted in bo_touch, and the check that must see it."""

ALONE = ("panic", "hang", "flood", "channel", "grandchild", "signal", "status", "skip")

EndOf = Callable[[str], Ran]


@pytest.fixture(scope="module")
def end_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EndOf]:
    """The end of `lab run workloads/NAME.yaml`; two at a time run ahead of the tests that look at them."""
    pool = ThreadPoolExecutor(2)
    started: dict[str, Future[Ran]] = {
        name: pool.submit(
            run_lab, "run", WORKLOADS / f"{name}.yaml", state=tmp_path_factory.mktemp(name) / "state"
        )
        for name in ALONE
    }
    yield lambda name: started[name].result()
    pool.shutdown(cancel_futures=True)


def ended(ran: Ran, outcome: Outcome, code: int) -> Trial:
    """The only trial of a run, after checking what holds for every end of a guest that ran."""
    trial = ran.trial
    assert (trial.outcome, ran.code) == (outcome, code), (trial.reason, ran.stderr)
    assert trial.environment is not None
    for name in ("console.log", "dmesg.txt", "qemu.cmd"):
        assert ran.file(trial, name).stat().st_size > 0, name
    if outcome is not Outcome.PASS:
        assert trial.reason
        assert any(trial.reason in reason for reason in ran.verdict.reasons)
    return trial


def test_panic_is_crash(end_of: EndOf) -> None:
    """A panic in the middle of a run is CRASH, exit 1, with the words that are on the console."""
    ran = end_of("panic")
    trial = ended(ran, Outcome.CRASH, 1)
    assert (trial.stage, trial.splats[0].kind) == ("run", "panic")
    assert "kernel panic: sysrq triggered crash" in trial.reason
    console = ran.file(trial, "console.log").read_text(errors="replace").splitlines()
    assert "Kernel panic - not syncing: sysrq triggered crash" in console[trial.splats[0].line - 1]


def test_hang_is_timeout(end_of: EndOf) -> None:
    """A workload that never ends is TIMEOUT, exit 1, at the case's own deadline, saying where the CPU was."""
    ran = end_of("hang")
    trial = ended(ran, Outcome.TIMEOUT, 1)
    assert trial.stage == "run"
    assert "run, 4 s from ready marker to power-off (the case's timeout)" in trial.reason
    assert "virtual CPU at RIP=" in trial.reason
    assert '"execute": "human-monitor-command"' in ran.file(trial, "qmp.jsonl").read_text()


def test_flood_is_cut_and_fails(end_of: EndOf) -> None:
    """Of 100 MiB on stdout 1 MiB is kept, and the trial fails: what was dropped may hold anything."""
    ran = end_of("flood")
    trial = ended(ran, Outcome.FAIL, 1)
    (note,) = trial.notes
    kept, _, wrote = note.removeprefix("stdout cut at ").removesuffix(" bytes").partition(" of ")
    assert int(kept) == 1 << 20 == ran.file(trial, "ktap.txt").stat().st_size
    assert int(wrote) > 100 << 20
    assert note in trial.reason


def test_broken_protocol_is_error(end_of: EndOf) -> None:
    """Bytes on the lab's own serial port are ERROR, exit 125, tried twice and kept with the reason."""
    ran = end_of("channel")
    trial = ended(ran, Outcome.ERROR, 125)
    assert trial.attempt == 2
    assert "broke the channel's protocol" in trial.reason
    assert ran.verdict.verdict is Conclusion.INCONCLUSIVE


def test_grandchild_does_not_keep_the_guest(end_of: EndOf) -> None:
    """A process that the workload leaves behind with its stdout does not keep the trial from ending: PASS."""
    trial = ended(end_of("grandchild"), Outcome.PASS, 0)
    assert trial.exit_status == 0


def test_signal_is_told(end_of: EndOf) -> None:
    """A workload that a signal ends is FAIL, exit 1, with status 128 + 9."""
    trial = ended(end_of("signal"), Outcome.FAIL, 1)
    assert trial.exit_status == 128 + signal.SIGKILL
    assert trial.reason == "the workload ended with status 137"


def test_status_fails(end_of: EndOf) -> None:
    """A wrong exit status is FAIL, exit 1, although the workload's checks are all ok."""
    trial = ended(end_of("status"), Outcome.FAIL, 1)
    assert [check.result for check in trial.checks] == ["ok"]
    assert trial.reason == "the workload ended with status 3"


def test_skip_is_no_success(end_of: EndOf) -> None:
    """Exit status 4 is SKIP, and a run in which everything was skipped has shown nothing: exit 125."""
    ran = end_of("skip")
    ended(ran, Outcome.SKIP, 125)
    assert ran.verdict.reasons[0] == "every trial was skipped"


def test_planted_defects_are_seen(lab: Lab) -> None:
    """Each defect planted in bo_touch fails the check that it was planted for, on a real BO."""
    ran = lab("run", *(WORKLOADS / f"defect-{name}.yaml" for name in DEFECTS))
    assert ran.code == 1, ran.stderr
    seen = {trial.case.removeprefix("local/defect-"): trial for trial in ran.trials}
    assert seen.keys() == DEFECTS.keys()
    for name, check in DEFECTS.items():
        assert seen[name].outcome is Outcome.FAIL
        assert check in failed_checks(seen[name]), name


# ---- QEMU killed from outside ----------------------------------------------------------------------------


def kill_guest(lab: Running, attempt: int) -> None:
    """Wait for the ready marker of this attempt's guest, and end its QEMU with SIGKILL."""

    def ready() -> bool:
        return any(re.search(rb"LAB-READY \S+ [0-9.]+\r?\n", console) for console in lab.consoles())

    lab.until(ready, f"a ready guest in attempt {attempt}")
    (qemu,) = [one for one in descendants(lab.process.pid) if one.name.startswith("qemu-system")]
    os.kill(qemu.pid, signal.SIGKILL)
    lab.until(lambda: not ready(), f"the end of attempt {attempt}")


def test_killed_qemu_is_error(tmp_path: Path, state: Path) -> None:
    """QEMU killed with -9 in the middle of both attempts is ERROR with that reason, exit 125."""
    with started("run", WORKLOADS / "hang.yaml", folder=tmp_path / "lab", state=state) as lab:
        kill_guest(lab, 1)
        kill_guest(lab, 2)
        code = lab.ended(SECONDS)
    ran = Ran(code, lab.output, lab.progress, state)
    trial = ended(ran, Outcome.ERROR, 125)
    assert (trial.attempt, trial.stage) == (2, "run")
    assert trial.reason == "QEMU was ended from outside by SIGKILL"
    assert ran.verdict.verdict is Conclusion.INCONCLUSIVE


def test_killed_qemu_is_tried_again(tmp_path: Path, state: Path) -> None:
    """QEMU killed with -9 once costs an attempt and not the trial, whose own end counts: TIMEOUT, exit 1."""
    with started("run", WORKLOADS / "hang.yaml", folder=tmp_path / "lab", state=state) as lab:
        kill_guest(lab, 1)
        code = lab.ended(SECONDS)
    ran = Ran(code, lab.output, lab.progress, state)
    assert ended(ran, Outcome.TIMEOUT, 1).attempt == 2
