# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guest with a device of the host's gets: QEMU's arguments, its user and limits, firmware, a clock."""

from __future__ import annotations

import os
import stat
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from stand_ins import launch
from sysfs_tree import MadeUpHost

from lab import files, proc
from lab.errors import InfraError, UserError
from lab.guest import privilege
from lab.guest.argv import qemu_argv
from lab.guest.prepare import host_firmware, with_passthrough
from lab.guest.vfio.devices import group_node
from lab.image.initramfs import Job
from lab.results.models import Clock
from lab.spec.catalog import Catalog
from lab.spec.models import Device, Machine, Passthrough

GPU = "0000:01:00.0"
MACHINE = Machine(
    title="one",
    machine="q35",
    devices=(Device(device="pcie-root-port", options={"id": "port1"}),),
    passthrough=Passthrough(
        device=GPU, driver="amdgpu", modules=("amdgpu",), options={"x-vga": False}, firmware=("amdgpu/*.bin",)
    ),
)
LAUNCH = launch(MACHINE, accelerator="kvm", clock=Clock.REAL)


def devices(argv: list[str]) -> list[str]:
    return [argv[at + 1] for at, word in enumerate(argv) if word == "-device"]


def test_arguments() -> None:
    """The device is named by its address, with its properties, behind the declared ports."""
    assert devices(qemu_argv(LAUNCH)) == ["pcie-root-port,id=port1", f"vfio-pci,host={GPU},x-vga=off"]
    assert devices(qemu_argv(replace(LAUNCH, machine=Machine(title="none")))) == []


def test_qemu_is_shown_its_devices(tmp_path: Path) -> None:
    """QEMU's user owns copies of the nodes, may lock the memory asked for, and nothing stays behind."""
    if os.geteuid() != 0:
        pytest.skip("only root may make device nodes")
    nodes = [Path("/dev/null"), Path("/dev/zero")]
    confinement = privilege.confine("tcg", nodes=nodes, locked=4 << 20)
    script = 'ulimit -l; id -u; stat -c "%u %t:%T" /dev/null /dev/zero /dev/full'
    said = proc.run([*confinement.prefix, "sh", "-c", script], timeout=20).text.split("\n")
    nobody = said[1]
    assert (said[0], nobody != "0") == (str(4 << 10), True)
    assert said[2:5] == [f"{nobody} 1:3", f"{nobody} 1:5", "0 1:7"]
    assert all(node.stat().st_uid == 0 and stat.S_ISCHR(node.stat().st_mode) for node in nodes)
    assert list(files.cache_dir("kvm-probe").iterdir()) == []


def test_qemu_can_open_them_whatever_the_cache_lies_on(tmp_path: Path) -> None:
    """Where the cache's file system has no devices, as in many a container and home folder."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount")
    confined = (
        "from pathlib import Path; from lab import proc; from lab.guest import privilege; "
        "prefix = privilege.confine('tcg', nodes=[Path('/dev/null')]).prefix; "
        "print(proc.run([*prefix, 'sh', '-c', 'exec 3<>/dev/null; id -un'], timeout=20).text)"
    )
    script = 'mount -t tmpfs -o nodev tmpfs "$LAB_CACHE"; exec "$@"'
    argv = ["unshare", "--mount", "--", "sh", "-ec", script, "sh", sys.executable, "-c", confined]
    done = proc.run(argv, timeout=60, env={**os.environ, "LAB_CACHE": str(tmp_path)})
    assert done.text.split() == [privilege.UNPRIVILEGED]


def test_group_node(tmp_path: Path) -> None:
    """The node is that of the device's group; a device without one is named."""
    host = MadeUpHost.below(tmp_path)
    host.add(GPU, group=12)
    host.add("0000:02:00.0", group=None)
    assert group_node(GPU, host) == host.dev / "vfio/12"
    for address in ("0000:02:00.0", "0000:03:00.0"):
        with pytest.raises(InfraError, match=f"{address} is in no IOMMU group"):
            group_node(address, host)


def test_firmware_is_packed(tmp_path: Path) -> None:
    """The files of each pattern come along, by their place in the guest; one that fits none is an error."""
    for name in ("navi14_ce.bin", "navi14_me.bin", "readme.txt"):
        path = tmp_path / "amdgpu" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(name)
    packed = host_firmware(["amdgpu/*.bin"], tmp_path)
    assert packed == {f"/lib/firmware/amdgpu/{n}": n.encode() for n in ("navi14_ce.bin", "navi14_me.bin")}
    with pytest.raises(UserError, match=r"no firmware .*amdgpu/vega\*"):
        host_firmware(["amdgpu/vega*"], tmp_path)


def test_no_virtual_clock() -> None:
    """A device of the host's does not wait for counted instructions: such a guest is refused."""
    assert MACHINE.passthrough is not None
    with pytest.raises(UserError, match="do not repeat to the instruction"):
        with_passthrough(MACHINE.passthrough, Job("boot"), Clock.VIRTUAL)


def test_another_device_by_name() -> None:
    """`vfio@ADDRESS` is the preset with that device; other machines have none to choose."""
    catalog = Catalog.load()
    machine = catalog.machine("vfio@0000:03:00.0")
    assert machine.passthrough is not None
    assert (machine.name, machine.passthrough.device) == ("vfio@0000:03:00.0", "0000:03:00.0")
    assert catalog.machine("vfio").passthrough != machine.passthrough
    with pytest.raises(UserError, match="qxl has no device of the host's"):
        catalog.machine("qxl@0000:03:00.0")
    with pytest.raises(UserError, match="neither a PCI address"):
        catalog.machine("vfio@../../etc")


@pytest.mark.parametrize("path", ["/etc/shadow", "../x", "a/../../x", ".hidden", "a//b", ""])
def test_firmware_stays_below_its_folder(path: str) -> None:
    """A name of firmware cannot lead out of /lib/firmware."""
    with pytest.raises(ValueError):
        Passthrough(device=GPU, driver="a", modules=("a",), firmware=(path,))
