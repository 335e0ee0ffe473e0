# SPDX-License-Identifier: GPL-2.0-or-later
"""^C, SIGTERM and SIGKILL at chosen moments of a run: nothing stays behind, and the run can go on."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from labrun import run_lab
from processes import Running, partial_cache, started

from lab import files

SERIES = files.shipped("testcases") / "prefault/series/pmd-size.mbox"
CASE = "prefault/sparse-touch"
STAY = Path(__file__).parent / "workloads/stay.yaml"
"""A guest of it runs until it is ended, however late a test looks."""

HELD = """
import time
from lab.cli.main import main
from lab.workflow import campaigns

def held(run):
    (run.path / "reporting").touch()
    time.sleep(600)

campaigns.write_reports = held
main()
"""
"""A lab that stands where it would write its report."""

Moment = Callable[[Running], None]


def _booting(lab: Running) -> None:
    lab.until_runs("qemu-system-x86")


def _running(lab: Running) -> None:
    lab.until(lambda: any(b"LAB-READY" in console for console in lab.consoles()), "a ready guest")


def _between(lab: Running) -> None:
    lab.until(lambda: len(lab.finished_trials()) >= 1, "the first result")


def _reporting(lab: Running) -> None:
    lab.until(lambda: any(lab.state.glob("runs/latest/reporting")), "the report")
    assert len(lab.finished_trials()) == 4


def validate(folder: Path, state: Path, *, held: bool = False) -> AbstractContextManager[Running]:
    """`lab validate` with four trials, two at a time."""
    program = ("-c", HELD) if held else ("-m", "lab")
    words = ("validate", "--trials", "2", SERIES, CASE)
    return started(*words, folder=folder, state=state, program=program)


@pytest.mark.parametrize("moment", [_booting, _running])
def test_a_guest_does_not_outlive_its_lab(tmp_path: Path, state: Path, moment: Moment) -> None:
    """SIGTERM ends lab with 130 and takes the guests along; the run folder tells how to go on."""
    words = ("validate", "--trials", "2", SERIES, STAY)
    with started(*words, folder=tmp_path / "first", state=state) as lab:
        moment(lab)
        lab.send(signal.SIGTERM)
        assert lab.ended(seconds=5) == 130
        lab.assert_nothing_runs(seconds=2)
        assert lab.unfinished() == []
        assert "0 of 4 trials are kept" in lab.progress
        assert lab.run.read().interrupted


@pytest.mark.parametrize(
    ("moment", "number"),
    [(_between, signal.SIGINT), (_between, signal.SIGKILL), (_reporting, signal.SIGKILL)],
)
def test_a_run_that_was_stopped_goes_on_where_it_stopped(
    tmp_path: Path, state: Path, moment: Moment, number: signal.Signals
) -> None:
    """Nothing lives on, finished trials stay as they are, and --resume comes to the series' known verdict."""
    with validate(tmp_path / "first", state, held=moment is _reporting) as lab:
        moment(lab)
        lab.send(number)
        code = lab.ended(seconds=5)
        lab.assert_nothing_runs(seconds=2)
    kept = lab.finished_trials()
    if number is signal.SIGKILL:
        assert code == -signal.SIGKILL
    else:
        assert code == 130
        assert lab.unfinished() == []
        assert f"{len(kept)} of 4 trials are kept" in lab.progress
        assert f"lab validate --resume {lab.run.path.name}" in lab.progress
        assert "interrupted" in (lab.run.path / "report.txt").read_text()
        assert (lab.run.path / "report.html").is_file()
        assert (lab.run.path / "junit.xml").is_file()

    resumed = run_lab("validate", "--json", "--resume", lab.run.path.name, state=state)

    assert resumed.code == 1, resumed.stderr
    said = json.loads(resumed.stdout)
    assert (said["verdict"], said["stage"]) == ("FAIL", "compare")
    decisions = {row["metric"]: row["decision"] for row in said["comparisons"] if row["gate"]}
    assert decisions == {"touch_total": "worse", "touch_max": "worse"}
    after = lab.finished_trials()
    assert len(after) == 4
    assert {key: after[key] for key in kept} == kept  # none was run twice
    assert lab.unfinished() == []


MAKING: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    # what is made -> what the cache must lack for it, and a program that then runs
    "kernel": (("kernels", "builds"), ("tar",)),
    "module": (("builds",), ("cc1",)),
    "workload": (("workloads",), ("cc1",)),
}


@pytest.mark.parametrize(
    ("what", "number"),
    [
        ("kernel", signal.SIGKILL),
        ("module", signal.SIGTERM),
        ("module", signal.SIGKILL),
        ("workload", signal.SIGKILL),
    ],
)
def test_stopping_while_something_is_made_leaves_nothing_half_made(
    tmp_path: Path, state: Path, what: str, number: signal.Signals
) -> None:
    """No compiler or tar lives on, and the cache holds nothing half made, or not beyond the next start."""
    lacking, programs = MAKING[what]
    cache = partial_cache(tmp_path / "cache", without=lacking)
    with started("validate", SERIES, CASE, folder=tmp_path / "first", state=state, cache=cache) as lab:
        lab.until_runs(*programs)
        lab.send(number)
        code = lab.ended(seconds=5)
        lab.assert_nothing_runs(seconds=2)
        left = lab.unfinished()
    if number is signal.SIGKILL:
        assert (code, left != []) == (-signal.SIGKILL, True)
        with started("run", CASE, folder=tmp_path / "next", state=state, cache=cache) as following:
            following.until(lambda: not any(path.exists() for path in left), "a swept cache")
    else:
        assert (code, left) == (130, [])
        assert "0 of 2 trials are kept" in lab.progress


def test_a_second_signal_ends_at_once(tmp_path: Path, state: Path) -> None:
    """Who presses ^C twice does not wait for anything, and still nothing lives on."""
    with started("run", STAY, folder=tmp_path / "lab", state=state) as lab:
        _running(lab)
        lab.send(signal.SIGINT)
        lab.send(signal.SIGTERM)
        assert lab.ended(seconds=1) == 130
        assert "trials are kept" not in lab.progress  # it did not stop in order
        lab.assert_nothing_runs(seconds=2)


def test_a_command_in_a_guest_is_interrupted(tmp_path: Path, state: Path) -> None:
    """^C while a command runs in a guest ends lab, the guest and its forwarded port."""
    with started(
        "run", "--", "sh", "-c", "echo here; sleep 1000", folder=tmp_path / "lab", state=state
    ) as lab:
        lab.until(lambda: "here" in lab.output, "the command's first word")
        lab.send(signal.SIGINT)
        assert lab.ended(seconds=5) == 130
        lab.assert_nothing_runs(seconds=2)
        assert lab.unfinished() == []
