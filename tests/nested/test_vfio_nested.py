# SPDX-License-Identifier: GPL-2.0-or-later
"""Giving devices away and getting them back, in the nested lab host: a real kernel, IOMMU and real drivers.

One outer guest for all tests of this file. Its devices are emulated; to the kernel in it they are devices.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from labrun import metrics

sys.path.append(str(Path(__file__).parents[2]))  # the nested lab host imports the scenes by this name

from lab.campaign.nested import NestedHost, nested_host
from lab.campaign.trial import Work, boot_of
from lab.guest.accelerator import Choice
from lab.guest.guest import Boot
from lab.guest.labhost import MACHINE
from lab.guest.prepare import Bench
from lab.kernel.obtain import obtain
from lab.results.models import Clock, Outcome, PlannedTrial
from lab.spec.catalog import Catalog
from lab.spec.models import Device, Gpu
from lab.workload.compile import build_workload
from tests.nested import vfio_scenes

BOCHS = "0000:01:00.0"
"""Behind a port of its own."""

EDU = "0000:00:02.0"
"""A teaching device of QEMU that the kernel has no driver for and cannot reset."""

SHARED, NEIGHBOUR = "0000:03:01.0", "0000:03:02.0"
"""Two devices behind one bridge, in one IOMMU group; the second has a driver."""

DEVICES = (
    Device(device="edu", options={"addr": "2"}),
    Device(device="pcie-root-port", options={"id": "port2", "chassis": 2, "addr": "3"}),
    Device(device="pcie-pci-bridge", options={"id": "shared", "bus": "port2"}),
    Device(device="edu", options={"bus": "shared", "addr": "1"}),
)
VIRTIO_GPU = Gpu(
    device="virtio-gpu-pci",
    options={"bus": "shared", "addr": "2"},
    driver="virtio_gpu",
    modules=("virtio-gpu",),
    bus_modules=("virtio_pci",),
)


@dataclass
class Inside:
    """The nested lab host, and a prepared guest that gets its bochs."""

    host: NestedHost
    bench: Bench
    work: Work
    boot: Boot

    def scene(self, function: Callable[..., bytes], *arguments: object) -> Any:
        return json.loads(self.host.call(function, *arguments, seconds=180))


@pytest.fixture(scope="module")
def inside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inside]:
    bench, catalog = Bench.set_up(), Catalog.load()
    case, machine, kernel = (
        catalog.case("vfio/passthrough"),
        catalog.machine("vfio"),
        obtain("stock", with_build=False),
    )
    assert case.workload_path is not None
    planned = PlannedTrial(
        number=1,
        key="0001-vfio",
        case=case.name,
        role="kernel",
        machine=machine.name,
        clock=Clock.FUNCTIONAL,
    )
    program = build_workload(case.workload_path, catalog.root / "include")
    work = Work(planned, case, machine, kernel, Choice("kvm", "it is there"), program)
    devices = {"devices": (*MACHINE.devices, *DEVICES), "gpus": (*MACHINE.gpus, VIRTIO_GPU)}
    folder = tmp_path_factory.mktemp("nested")
    with nested_host(bench, folder, machine=MACHINE.model_copy(update=devices)) as host:
        yield Inside(host, bench, work, boot_of(bench, work))


def test_list(inside: Inside) -> None:
    """Each device is told with what is in its way: a group, no reset, a mounted file system, an open file."""
    found = inside.scene(vfio_scenes.listed)
    assert found[BOCHS] == ["free"]
    assert found[EDU] == ["refused", "the kernel knows no way to reset it"]
    (why,) = found[SHARED][1:]
    assert why.startswith("its IOMMU group") and NEIGHBOUR in why
    words = "\n".join(word for rest in found.values() for word in rest)
    assert "mounted on" in words
    assert "open" in words


def test_guest_uses_the_device(inside: Inside, tmp_path: Path) -> None:
    """The inner guest's own driver comes up on it, maps BOs, and the device is back with bochs afterwards."""
    (tmp_path / "samples").mkdir()
    trial = inside.host.run(inside.bench, inside.work, tmp_path)
    assert trial.outcome is Outcome.PASS, trial.reason
    faults = metrics(trial)["faults"]
    assert 60 <= faults <= 66  # 4 MiB, 16 pages a fault
    assert trial.environment is not None
    assert f"vfio-pci,host={BOCHS}" in trial.environment.qemu_argv
    assert {"driver": "ok"}.items() <= {check.name: check.result for check in trial.checks}.items()
    assert inside.scene(vfio_scenes.listed)[BOCHS] == ["free"]


@pytest.mark.parametrize(
    ("number", "victim", "status"),
    [
        (signal.SIGINT, "lab", 130),
        (signal.SIGTERM, "lab", 130),
        (signal.SIGKILL, "lab", -signal.SIGKILL),
        (signal.SIGSEGV, "qemu", 0),
    ],
    ids=["interrupt", "terminate", "kill", "qemu-crash"],
)
def test_device_comes_back(inside: Inside, number: signal.Signals, victim: str, status: int) -> None:
    """However a run ends its device goes back: at once, or after SIGKILL with the start of the next lab.

    Meanwhile a second run is refused, and QEMU is no longer root.
    """
    seen = inside.scene(vfio_scenes.ends_by, inside.boot, BOCHS, int(number), victim)
    killed = number is signal.SIGKILL
    assert (seen["before"], seen["during"]) == ("bochs-drm", "vfio-pci")
    assert f"another lab uses {BOCHS}" in seen["refused"]
    assert seen["user"] != 0
    assert seen["may_lock"] >= 512 << 20
    assert seen["status"] == status
    assert (seen["after"], seen["journal"]) == (("vfio-pci", [BOCHS]) if killed else ("bochs-drm", []))
    assert (seen["next"], seen["left"], seen["files"]) == ("bochs-drm", [], [])


def test_refused(inside: Inside) -> None:
    """A group that the host uses and a device without reset are refused, and keep their drivers."""
    shared, edu, taken = inside.scene(vfio_scenes.refusals, (SHARED, False), (EDU, False), (EDU, True))
    assert NEIGHBOUR in shared[0]
    assert "no way to reset" in edu[0]
    assert taken == ["", ""]  # wanted as it is: vfio-pci had it, now it has no driver again


def test_busy_device(inside: Inside) -> None:
    """A device that a program has open is refused with the program's name; then it is free."""
    while_open, later, driver = inside.scene(vfio_scenes.busy, BOCHS)
    assert "/dev/dri/card" in while_open
    assert "is in use: python" in while_open
    assert (later, driver) == ("", "bochs-drm")


def test_whole_group_by_command(inside: Inside) -> None:
    """`lab vfio bind` of a whole group lasts over other labs' starts, until `lab vfio restore`."""
    bound, left, drivers = inside.scene(vfio_scenes.bound_until_restored, SHARED, NEIGHBOUR)
    assert bound == ["vfio-pci", "vfio-pci"]
    assert left == [True, True]
    assert drivers == ["", "virtio-pci"]
