# SPDX-License-Identifier: GPL-2.0-or-later
"""What a resumed run still has to do, and what is known of kernels that do not boot."""

from __future__ import annotations

import pytest
from stand_ins import kernel, trial

from lab.campaign.execute import BrokenBoots, drop_outdated, missing
from lab.results.models import Clock, Outcome, PlannedTrial, RunRecord, Trial
from lab.results.runfolder import RunFolder, write_record

PLAN = tuple(
    PlannedTrial(
        number=number, key=f"000{number}-case", case="a/b", role="kernel", machine="qxl", clock=Clock.VIRTUAL
    )
    for number in range(1, 5)
)


@pytest.fixture
def run() -> RunFolder:
    record = RunRecord(id="r", workflow="run", command=(), lab_version="0", created="", plan=PLAN)
    return RunFolder.create(record)


def keep(run: RunFolder, one: Trial) -> None:
    with run.new_trial(one.key) as folder:
        write_record(folder / "trial.json", one)


def test_missing_is_what_has_not_ended_and_what_the_lab_failed(run: RunFolder) -> None:
    """Finished trials are not run again, except those in which the lab itself failed."""
    assert missing(run, PLAN) == list(PLAN)
    keep(run, trial(1, Outcome.FAIL))
    keep(run, trial(3, Outcome.ERROR))
    keep(run, trial(4, Outcome.SKIP))
    assert [one.number for one in missing(run, PLAN)] == [2, 3]


def test_half_made_trial_is_missing(run: RunFolder) -> None:
    """A trial whose lab was killed before it was whole leaves no result behind."""
    with pytest.raises(KeyboardInterrupt), run.new_trial(PLAN[0].key) as folder:
        write_record(folder / "trial.json", trial(1, Outcome.PASS))
        raise KeyboardInterrupt
    assert missing(run, PLAN) == list(PLAN)


def test_a_trial_of_another_kernel_is_missing(run: RunFolder, capfd: pytest.CaptureFixture[str]) -> None:
    """What a role stands for may move on before a run is resumed: what is told of one name is of one kernel.
    Other roles, and trials that this plan is not about, stay."""
    for number, role, of in (
        (1, "kernel", "k1"),
        (2, "kernel", "k2"),
        (3, "patched", "k1"),
        (9, "kernel", "k1"),
    ):
        keep(run, trial(number, role=role, kernel=of))
    drop_outdated(run, PLAN, {"kernel": kernel(id="k2", name="debian:7.2.13")})
    assert [one.number for one in run.trials()] == [2, 3, 9]
    assert [one.number for one in missing(run, PLAN)] == [1, 4]
    told = (
        "1 trial of kernel that ended will be run again: that was kernel k1, and now it is k2 (debian:7.2.13)"
    )
    assert told in capfd.readouterr().err
    assert not list(run.path.glob("trials/.*"))


@pytest.mark.parametrize("outcome", [Outcome.CRASH, Outcome.TIMEOUT, Outcome.FAIL])
def test_broken_boot_is_known_for_kernel_and_machine(outcome: Outcome) -> None:
    """What kept a kernel from booting on a machine is told for that kernel on that machine, and no other."""
    broken = BrokenBoots()
    broken.note(trial(7, outcome, stage="boot"))
    why = broken.why(kernel(id="k1"), "qxl")
    assert why == f"not run: this kernel does not boot on qxl ({outcome} in trial 7)"
    assert broken.why(kernel(id="k1"), "bochs") == ""
    assert broken.why(kernel(id="k2"), "qxl") == ""


@pytest.mark.parametrize(
    ("outcome", "stage"),
    [(Outcome.CRASH, "run"), (Outcome.ERROR, "boot"), (Outcome.SKIP, "plan"), (Outcome.PASS, "done")],
)
def test_other_ends_do_not_condemn_a_kernel(outcome: Outcome, stage: str) -> None:
    """A crash in the run, a failure of the lab or a skipped trial says nothing about the next boot."""
    broken = BrokenBoots()
    broken.note(trial(1, outcome, stage=stage))
    assert broken.why(kernel(id="k1"), "qxl") == ""


def test_first_broken_boot_is_the_one_that_is_named() -> None:
    """When two guests of a kernel die at once, further trials name the first that was seen."""
    broken = BrokenBoots()
    broken.note(trial(2, Outcome.CRASH, stage="boot"))
    broken.note(trial(1, Outcome.TIMEOUT, stage="boot"))
    assert "(CRASH in trial 2)" in broken.why(kernel(id="k1"), "qxl")
