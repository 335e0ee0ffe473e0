# SPDX-License-Identifier: GPL-2.0-or-later
"""How often a trial is tried, here and in the nested lab host, and what the last attempt tells of others."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from stand_ins import kernel, trial

from lab.campaign.execute import Campaign, run_campaign
from lab.campaign.executor import Executor
from lab.campaign.schedule import Room
from lab.campaign.work import Work
from lab.guest.accelerator import Choice, Policy
from lab.guest.prepare import Bench
from lab.guest.qemu import Qemu
from lab.results.models import Clock, Outcome, PlannedTrial, RunRecord, Trial
from lab.results.runfolder import RunFolder, write_record
from lab.spec.models import Case, Machine

PASS, FAIL, ERROR, TIMEOUT = Outcome.PASS, Outcome.FAIL, Outcome.ERROR, Outcome.TIMEOUT
CHOICE = Choice("kvm", "it boots")


@dataclass
class Scripted:
    """Carries no trial out: each attempt ends as the script says."""

    script: list[Outcome]
    nested: bool
    room: Room = field(default_factory=lambda: Room(1, 1 << 40))

    def choice(self, policy: Policy) -> Choice:
        return CHOICE

    def refuses(self, case: Case) -> str:
        return ""

    def run(self, bench: Bench, work: Work, folder: Path) -> Trial:
        outcome = self.script.pop(0)
        return trial(1, outcome, stage="boot", attempt=work.attempt, reason=f"because\nof {outcome}")


def settled(script: list[Outcome], *, nested: bool, before: Trial | None = None) -> Trial:
    """The trial that is kept, all of the script having been played; `before`: one that was there."""
    planned = PlannedTrial(
        number=1, key="0001-case", case="a/b", role="kernel", machine="m", clock=Clock.FUNCTIONAL
    )
    record = RunRecord(id="r", workflow="run", command=(), lab_version="0", created="", plan=(planned,))
    case = Case.model_validate({"title": "t", "question": "q", "machines": ("m",)}, strict=False)
    host = Scripted(script, nested)
    campaign = Campaign(
        bench=Bench(Qemu("/usr/bin/qemu", (7, 2), "QEMU 7.2"), Path("/init")),
        run=RunFolder.create(record),
        cases={"a/b": case},
        machines={"m": Machine(title="m")},
        kernels={"kernel": kernel()},
        drivers={("a/b", "m"): ()},
        choices={("kernel", Clock.FUNCTIONAL): CHOICE},
        executor=Executor("nested" if nested else "dask", host, host.room),
    )
    if before is not None:
        with campaign.run.new_trial(before.key) as folder:
            write_record(folder / "trial.json", before)
    assert run_campaign(campaign, [planned]) == []
    assert not script
    (found,) = campaign.run.trials()
    return found


@pytest.mark.parametrize(
    ("script", "nested"),
    [
        ([PASS], False),
        ([TIMEOUT], False),
        ([ERROR, PASS], False),
        ([ERROR, ERROR], False),
        ([ERROR, ERROR, ERROR], True),
        ([FAIL], True),
        ([TIMEOUT, TIMEOUT], True),
        ([TIMEOUT, PASS], True),
        ([ERROR, TIMEOUT, FAIL], True),
        ([TIMEOUT, ERROR, TIMEOUT], True),
    ],
)
def test_attempts(script: list[Outcome], nested: bool) -> None:
    """The lab's failures are tried again; in the nested lab host a guest must hang twice to be TIMEOUT."""
    ends = list(script)
    found = settled(script, nested=nested)
    assert (found.outcome, found.attempt) == (ends[-1], len(ends))
    earlier = [f"attempt {number}: {end}: because of {end}" for number, end in enumerate(ends[:-1], start=1)]
    assert list(found.notes) == earlier


@pytest.mark.parametrize(("was", "script"), [("older", [FAIL]), ("k1", [])])
def test_what_was_run_of_another_kernel_is_run_again(was: str, script: list[Outcome]) -> None:
    """A result stands for the kernel that was booted, not for the name that it had then."""
    found = settled(list(script), nested=False, before=trial(1, kernel=was))
    assert (found.kernel, found.outcome) == ("k1", FAIL if script else PASS)
