# SPDX-License-Identifier: GPL-2.0-or-later
"""A night that is gone on with after the name of its kernel has moved on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest
from made_up_night import CELLS, make_night
from stand_ins import kernel

from lab.guest.prepare import Bench
from lab.results.models import PlannedTrial
from lab.results.runfolder import RunFolder
from lab.waiting import Deadline
from lab.workflow import nightly
from lab.workflow.night_kernels import Kernels


@pytest.mark.parametrize("moved", [False, True])
def test_all_of_a_moved_kernel_is_run_again(moved: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the last cell is missing; it is had, and so is the rest if that was of an older kernel."""
    run = make_night("20260101T000000Z", leave_out=1)
    before = run.trials()
    now = kernel(id="ffffffffffff" if moved else before[0].kernel)
    begun: list[str] = []

    def obtained(run: RunFolder, roles: Iterable[str], until: Deadline | None) -> Kernels:
        return Kernels(ready=dict.fromkeys(roles, now))

    def ran(
        bench: Bench, run: RunFolder, night: object, todo: Sequence[PlannedTrial], *_: object
    ) -> list[str]:
        begun.extend(one.case for one in todo)
        return []

    monkeypatch.setattr(nightly, "set_up", lambda run: None)
    monkeypatch.setattr(nightly, "obtain_all", obtained)
    monkeypatch.setattr(nightly, "_run_trials", ran)
    nightly.run_night(run)
    cases = [case for case, _ in CELLS]
    assert begun == (cases if moved else cases[-1:])
    assert run.trials() == ([] if moved else before)
