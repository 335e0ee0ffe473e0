# SPDX-License-Identifier: GPL-2.0-or-later
"""The plan: every trial once, in an order that is fair to both kernels, under names that never clash."""

from __future__ import annotations

import pytest

from lab.campaign.plan import plan_trials
from lab.results.models import Clock
from lab.spec.models import Case


def case(name: str, *machines: str) -> Case:
    made = Case(title=name, question="?", machines=machines)
    made._name = name
    return made


CASES = (case("prefault/first-touch", "qxl"), case("smoke/boot", "qxl", "bochs"))


def test_every_trial_once() -> None:
    """Each case runs on each of its machines, for each kernel, as often as asked, under a key of its own."""
    plan = plan_trials(CASES, ("base", "patched"), clock=Clock.VIRTUAL, repeats=3)
    assert [one.number for one in plan] == list(range(1, 19))
    assert len({one.key for one in plan}) == 18
    seen = {(one.case, one.machine, one.role, one.repeat) for one in plan}
    assert len(seen) == 18
    assert {one.clock for one in plan} == {Clock.VIRTUAL}


def test_roles_take_turns() -> None:
    """Base and patched alternate, and every second repeat is turned round."""
    plan = plan_trials(CASES[:1], ("base", "patched"), clock=Clock.REAL, repeats=4)
    assert [one.role for one in plan] == ["base", "patched", "patched", "base"] * 2


def test_given_machines_replace_the_case_s_own() -> None:
    """Machines that are named on the command line are used for every case."""
    plan = plan_trials(CASES, ("kernel",), clock=Clock.VIRTUAL, machines=("virtio-gpu",))
    assert {one.machine for one in plan} == {"virtio-gpu"}
    assert len(plan) == 2


@pytest.mark.parametrize(
    ("repeats", "key"), [(1, "0001-smoke.boot-qxl-kernel"), (2, "0003-smoke.boot-qxl-kernel-2")]
)
def test_keys_can_be_read(repeats: int, key: str) -> None:
    """A trial's folder is named by number, case, machine, kernel, and the repeat if there are several."""
    plan = plan_trials(CASES[1:], ("kernel",), clock=Clock.VIRTUAL, repeats=repeats)
    assert key in [one.key for one in plan]


def test_nothing_to_plan() -> None:
    """Without cases the plan is empty."""
    assert plan_trials((), ("kernel",), clock=Clock.VIRTUAL) == ()


def test_case_keeps_its_own_clock() -> None:
    """A case that makes sense on one clock alone is planned on that one, whatever the others run on."""
    timed = case("gup-race/race", "qxl").model_copy(update={"clock": "functional"})
    plan = plan_trials((*CASES[:1], timed), ("kernel",), clock=Clock.VIRTUAL)
    assert [one.clock for one in plan] == [Clock.VIRTUAL, Clock.FUNCTIONAL]


def test_what_needs_kvm_is_not_on_the_virtual_clock() -> None:
    """KVM counts no instructions: neither does what is sent to the nested host; a case's own clock stays."""
    needing = case("virt/exits", "qxl").model_copy(update={"needs": ("kvm",)})
    needing._name = "virt/exits"

    def clocks(*cases: Case, clock: Clock = Clock.VIRTUAL, nested: bool = False) -> list[Clock]:
        return [one.clock for one in plan_trials(cases, ("kernel",), clock=clock, nested=nested)]

    assert clocks(CASES[0], needing) == [Clock.VIRTUAL, Clock.FUNCTIONAL]
    assert clocks(CASES[0], needing, clock=Clock.REAL) == [Clock.REAL, Clock.REAL]
    assert clocks(CASES[0], nested=True) == [Clock.FUNCTIONAL]
    own = CASES[0].model_copy(update={"clock": "virtual"})
    own._name = "own"
    assert clocks(own, nested=True) == [Clock.VIRTUAL]
