# SPDX-License-Identifier: GPL-2.0-or-later
"""`lab nightly`: a small night, killed and gone on with; kernels that are absent or do not boot; a budget."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from labrun import Lab
from processes import started
from test_broken_kernels import RESET, with_image

from lab.kernel.kernel import Kernel
from lab.results.models import Outcome, Subject
from lab.results.night import read_night
from lab.workflow import night_kernels
from lab.workflow.campaigns import Options
from lab.workflow.night_plan import plan
from lab.workflow.nightly import run_night, start_night

MATRIX = """\
title: small
kernels: [{kernel: stock}, {kernel: "debian:6.12"}]
cases: [smoke/boot, prefault/sparse-touch]
"""


@pytest.fixture
def matrix(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(MATRIX)
    return path


def test_a_killed_night_goes_on_and_runs_nothing_twice(
    lab: Lab, matrix: Path, tmp_path: Path, state: Path
) -> None:
    """SIGKILL in the middle; --resume runs what is missing. The next night finds that nothing has changed,
    and knows how long all of it takes."""
    with started("nightly", matrix, folder=tmp_path / "first", state=state) as night:
        night.until(lambda: len(night.finished_trials()) >= 1, "the first result")
        night.send(signal.SIGKILL)
        assert night.ended(seconds=5) == -signal.SIGKILL
        night.assert_nothing_runs(seconds=2)
        kept, run = night.finished_trials(), night.run
    assert 1 <= len(kept) < 4

    resumed = lab("nightly", "--resume", run.path.name, "--json")
    assert resumed.code == 0, resumed.stderr
    assert len(run.trials()) == 4
    written = {path.parent.name: path.stat().st_mtime_ns for path in run.path.glob("trials/*/trial.json")}
    assert {key: written[key] for key in kept} == kept
    assert {trial.attempt for trial in run.trials()} == {1}
    said = json.loads(resumed.stdout)
    assert (said["verdict"], said["night"]["not_run"]) == ("PASS", [])

    foretold = json.loads(lab("nightly", matrix, "--dry-run", "--json").stdout)
    assert {cell["duration_from"] for cell in foretold["cells"]} == {"learned"}
    assert all(build["cached"] for build in foretold["builds"])

    again = lab("nightly", matrix, "--skip-unchanged")
    assert again.code == 0, again.stderr
    assert again.trials == []
    assert set(read_night(again.run).unchanged.values()) == {run.path.name}
    assert "4 trials not run: unchanged since an earlier night" in again.stdout
    assert "uu" in again.stdout


def test_a_budget_leaves_the_rest_for_a_resumed_night(lab: Lab, matrix: Path) -> None:
    """What was not begun is told with the reason, and can be had later."""
    late = lab("nightly", matrix, "--budget", "1s")
    assert late.code == (0 if late.trials else 125), late.stderr
    night = read_night(late.run)
    assert len(night.not_run) == 4 - len(late.trials) > 0
    assert all("the time budget" in one.why for one in night.not_run)
    assert "the time budget" in late.stdout
    early = {trial.key: trial.started for trial in late.trials}

    resumed = lab("nightly", "--resume", "latest", "--budget", "1h")
    assert resumed.code == 0, resumed.stderr
    assert len(resumed.trials) == 4
    assert read_night(resumed.run).not_run == ()
    assert {trial.key: trial.started for trial in resumed.trials if trial.key in early} == early


@pytest.mark.usefixtures("two_processors")
def test_kernels_that_cannot_be_had_or_do_not_boot_are_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others' cells are run all the same; each bad kernel is one line, however many cases it had."""
    path = tmp_path / "bad.yaml"
    path.write_text(
        "kernels: [{kernel: stock}, {kernel: 'debian:6.12'}, {kernel: 'image:/nowhere/bzImage'}]\n"
        "cases: [smoke/boot, prefault/sparse-touch, prefault/second-touch]\n"
    )
    real = night_kernels.obtain_subject

    def with_a_broken_one(subject: Subject, parts: list[object]) -> Kernel:
        return with_image(RESET, tmp_path) if subject.kernel == "debian:6.12" else real(subject, parts)  # type: ignore[arg-type]

    monkeypatch.setattr(night_kernels, "obtain_subject", with_a_broken_one)
    run = start_night(plan(path), Options())
    ended = run_night(run)
    assert ended.verdict.exit_code == 1
    told = "\n".join(ended.verdict.reasons)
    assert told.count("kernel debian-6.12 does not boot on qxl: CRASH") == 1
    assert told.count("open: kernel image-bzImage: cannot read /nowhere/bzImage") == 1
    assert told.count("nowhere") == 1
    by_role: dict[str, list[Outcome]] = {}
    for trial in run.trials():
        by_role.setdefault(trial.role, []).append(trial.outcome)
    assert by_role["stock"] == [Outcome.PASS] * 3
    assert sorted(set(by_role["debian-6.12"])) == [Outcome.CRASH, Outcome.SKIP]
    assert len(by_role) == 2
    assert {one.because for one in read_night(run).not_run} == {"kernel"}
    assert "does not boot on qxl" in (run.path / "report.txt").read_text()


def test_a_guest_on_the_real_clock_has_a_processor_of_its_own(lab: Lab) -> None:
    """The record says which; with one processor there is none to give."""
    ran = lab("run", "--clock", "real", "--machine", "qxl", "smoke/boot")
    assert ran.code == 0, ran.stderr
    usable = sorted(os.sched_getaffinity(0))
    environment = ran.trial.environment
    assert environment is not None
    assert environment.pinned == ((usable[-1],) if len(usable) > 1 else ())
