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
from labrun import failed_checks, metrics
from one_trial import work_on

sys.path.append(str(Path(__file__).parents[2]))  # the nested lab host imports the scenes by this name

from lab.campaign.nested import NestedHost, nested_host
from lab.campaign.trial import Work, boot_of
from lab.guest.guest import Boot
from lab.guest.labhost import MACHINE
from lab.guest.prepare import Bench
from lab.results.models import Outcome
from lab.spec.catalog import Catalog
from lab.spec.models import Device, Gpu, Machine, Passthrough
from tests.nested import vfio_scenes

HERE = Path(__file__).parent

BOCHS = "0000:01:00.0"
"""Behind a port of its own."""

EDU = "0000:00:02.0"
"""A teaching device of QEMU that the kernel has no driver for and cannot reset."""

SHARED, NEIGHBOUR = "0000:03:01.0", "0000:03:02.0"
"""Two devices behind one bridge, in one IOMMU group; the second has a driver."""

IVSHMEM, VIRTIO_GPU = "0000:04:00.0", "0000:05:00.0"
"""Behind ports of their own: plain memory without a driver, and a GPU."""

FROM_HOST, FROM_GUEST = 0x686F737400000000, 0x6775657300000000
"""Of shared_bar.c: the words of page 0."""


def port(number: int, slot: int) -> Device:
    """A port named portN."""
    return Device(
        device="pcie-root-port", options={"id": f"port{number}", "chassis": number, "addr": str(slot)}
    )


def virtio_gpu(**options: str | bool) -> Gpu:
    """A virtio-gpu with these properties."""
    return Gpu(
        device="virtio-gpu-pci",
        options=options,
        driver="virtio_gpu",
        modules=("virtio-gpu",),
        bus_modules=("virtio_pci",),
    )


DEVICES = (
    Device(device="edu", options={"addr": "2"}),
    port(2, slot=3),
    Device(device="pcie-pci-bridge", options={"id": "shared", "bus": "port2"}),
    Device(device="edu", options={"bus": "shared", "addr": "1"}),
    port(3, slot=4),
    port(4, slot=5),
)
GPUS = (
    virtio_gpu(bus="shared", addr="2"),
    Gpu(
        device="ivshmem-plain",
        vram="1M",
        options={"bus": "port3"},
        driver="vfio-pci",
        modules=("vfio-pci",),
    ),
    # Without iommu_platform a virtio device takes addresses as physical ones, past the IOMMU: those that the
    # inner guest gives it would be the outer guest's memory.
    virtio_gpu(bus="port4", iommu_platform=True),
)
GETS_IVSHMEM = Machine(
    title="gets the ivshmem",
    machine="q35",
    passthrough=Passthrough(device="1af4:1110", driver="vfio-pci", modules=("vfio-pci",)),
)
GETS_VIRTIO_GPU = Machine(
    title="gets the virtio-gpu",
    machine="q35",
    passthrough=Passthrough(
        device=VIRTIO_GPU, driver="virtio_gpu", modules=("virtio-gpu",), bus_modules=("virtio_pci",)
    ),
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
    bench, work = Bench.set_up(), work_on("vfio/passthrough", Catalog.load().machine("vfio"))
    devices = {"devices": (*MACHINE.devices, *DEVICES), "gpus": (*MACHINE.gpus, *GPUS)}
    folder = tmp_path_factory.mktemp("nested")
    with nested_host(bench, folder, machine=MACHINE.model_copy(update=devices)) as host:
        yield Inside(host, bench, work, boot_of(bench, work))


def test_list(inside: Inside) -> None:
    """Each device is told with what is in its way: a group, no reset, a mounted file system, an open file."""
    found = inside.scene(vfio_scenes.listed)
    assert found[BOCHS] == found[IVSHMEM] == found[VIRTIO_GPU] == ["free"]
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


def test_guest_uses_a_virtio_gpu(inside: Inside, tmp_path: Path) -> None:
    """The same with a GPU whose memory is the guest's own: the device reads it through the IOMMU."""
    (tmp_path / "samples").mkdir()
    work = work_on("vfio/passthrough", GETS_VIRTIO_GPU)
    trial = inside.host.run(inside.bench, work, tmp_path)
    assert trial.outcome is Outcome.PASS, trial.reason
    assert metrics(trial)["faults"] == 1023  # 4 MiB, one page a fault, the first one before the span
    assert trial.environment is not None
    assert f"vfio-pci,host={VIRTIO_GPU}" in trial.environment.qemu_argv
    assert {"driver": "ok"}.items() <= {check.name: check.result for check in trial.checks}.items()
    assert inside.scene(vfio_scenes.listed)[VIRTIO_GPU] == ["free"]


def test_memory_of_a_device_is_shared(inside: Inside, tmp_path: Path) -> None:
    """The guest finds the ivshmem and reads from its BAR what the host wrote, and the other way round."""
    (tmp_path / "samples").mkdir()
    work = work_on(str(HERE / "shared-bar.yaml"), GETS_IVSHMEM)
    pages = inside.scene(vfio_scenes.write_words, IVSHMEM, FROM_HOST)
    trial = inside.host.run(inside.bench, work, tmp_path)
    assert trial.outcome is Outcome.PASS, trial.reason
    assert metrics(trial)["pages"] == pages == 256
    assert inside.scene(vfio_scenes.read_words, IVSHMEM) == [FROM_GUEST + page for page in range(pages)]
    # A trial after it finds the first one's words, not the host's: the check is able to fail.
    (tmp_path / "again/samples").mkdir(parents=True)
    again = inside.host.run(inside.bench, work, tmp_path / "again")
    assert again.outcome is Outcome.FAIL
    assert failed_checks(again) == {"from-host"}


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


def test_device_without_driver_by_command(inside: Inside) -> None:
    """`lab vfio bind` and `restore` of a device that no driver has."""
    assert inside.scene(vfio_scenes.bound_until_restored, IVSHMEM) == [["vfio-pci"], [True], [""]]
