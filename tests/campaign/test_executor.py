# SPDX-License-Identifier: GPL-2.0-or-later
"""Where a trial is run: what this host has, what it lacks, and what was asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
from stand_ins import kernel

from lab.campaign import executor
from lab.campaign.executor import Executor, ExecutorName
from lab.campaign.nested import NestedHost
from lab.campaign.work import Work
from lab.guest.accelerator import Choice
from lab.guest.prepare import Bench
from lab.guest.qemu import Qemu
from lab.results.models import Clock, PlannedTrial
from lab.spec.models import Case, Machine, Passthrough

KVM, TCG = Choice("kvm", "it boots"), Choice("tcg", "this host has no /dev/kvm")


def case(*needs: str, **more: object) -> Case:
    return Case.model_validate(
        {"title": "t", "question": "q", "machines": ("qxl",), "needs": needs, **more}, strict=False
    )


@pytest.fixture
def host(tmp_path: Path) -> NestedHost:
    """One that is never asked for anything, so that it is never booted."""
    return NestedHost(Bench(Qemu("/usr/bin/qemu", (7, 2), "QEMU 7.2"), Path("/init")), tmp_path)


@pytest.mark.parametrize(
    ("asked", "wanted", "choice", "nested"),
    [
        ("auto", case(), TCG, False),
        ("auto", case("kvm"), KVM, False),
        ("auto", case("kvm"), TCG, True),
        ("nested", case(), TCG, True),
        ("nested", case("kvm"), KVM, True),
        ("local", case(), TCG, False),
        ("local", case("kvm"), KVM, False),
    ],
)
def test_place(asked: ExecutorName, wanted: Case, choice: Choice, nested: bool, host: NestedHost) -> None:
    """Nested is what was asked to be, and of the rest what this host cannot do."""
    place = Executor(asked, host).place(wanted, choice)
    assert (place.nested, place.not_run) == (nested, "")
    assert (place.carrier == host.run) is nested


def test_what_nobody_can_do_is_not_run(host: NestedHost) -> None:
    """With a nested host that may not be used, or that cannot count instructions, the reason is given."""
    assert "lacks: KVM (this host has no /dev/kvm)" in Executor("local", host).place(case("kvm"), TCG).not_run
    assert "lacks: KVM" in Executor("auto", None).place(case("kvm"), TCG).not_run
    assert "counts instructions" in Executor("nested", host).place(case(clock="virtual"), TCG).not_run


def test_vfio_needs_iommu_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: NestedHost) -> None:
    """An empty folder of groups is no IOMMU."""
    monkeypatch.setattr(executor, "IOMMU_GROUPS", tmp_path / "groups")
    assert Executor("auto", host).place(case("vfio"), KVM).nested
    (tmp_path / "groups").mkdir()
    assert Executor("auto", host).place(case("vfio"), KVM).nested
    (tmp_path / "groups/0").mkdir()
    assert not Executor("auto", host).place(case("vfio"), KVM).nested


def test_machine_with_a_device_that_is_not_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: NestedHost
) -> None:
    """With an IOMMU but without the machine's device the trial is nested; the reason names the device."""
    monkeypatch.setattr(executor, "IOMMU_GROUPS", tmp_path)
    (tmp_path / "0").mkdir()
    wanted = Passthrough(device="ffff:0000", driver="x", modules=("x",))
    machine = Machine(title="passed through", passthrough=wanted)
    assert Executor("auto", host).place(case("vfio"), KVM, machine).nested
    assert "no PCI device ffff:0000" in Executor("local", host).place(case(), KVM, machine).not_run


def work(clock: Clock, choice: Choice, *, nested: bool = False) -> Work:
    planned = PlannedTrial(number=1, key="k", case="a/b", role="kernel", machine="qxl", clock=clock)
    return Work(planned, case(exits=True), Machine(title="m"), kernel(), choice, None, nested=nested)


def test_exits_are_counted_under_kvm_alone() -> None:
    """Never on the virtual clock, where the guest must not be stopped; never where there are none."""
    assert work(Clock.FUNCTIONAL, KVM).counts_exits
    assert work(Clock.REAL, KVM).counts_exits
    assert not work(Clock.VIRTUAL, TCG).counts_exits
    assert not work(Clock.VIRTUAL, KVM).counts_exits
    assert not work(Clock.FUNCTIONAL, TCG).counts_exits


def test_nested_time_is_functional() -> None:
    """KVM on an emulated CPU takes no real time, whatever clock was asked for."""
    assert work(Clock.REAL, KVM).clock_of_numbers is Clock.REAL
    assert work(Clock.REAL, KVM, nested=True).clock_of_numbers is Clock.FUNCTIONAL
    assert work(Clock.REAL, TCG).clock_of_numbers is Clock.FUNCTIONAL
