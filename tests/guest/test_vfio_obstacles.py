# SPDX-License-Identifier: GPL-2.0-or-later
"""Which devices may be given to a guest, read from made-up hosts: each reason against it is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from sysfs_tree import MadeUpHost

from lab.errors import UserError
from lab.guest.vfio import journal
from lab.guest.vfio.devices import Device, find_device, pick
from lab.guest.vfio.obstacles import obstacles

GPU, SOUND, PORT = "0000:01:00.0", "0000:01:00.1", "0000:00:01.0"


@pytest.fixture
def host(tmp_path: Path) -> MadeUpHost:
    return MadeUpHost.below(tmp_path)


def device_at(host: MadeUpHost, address: str = GPU) -> Device:
    found = find_device(host, address)
    assert found is not None
    return found


def against(host: MadeUpHost, address: str = GPU, **more: object) -> list[str]:
    """What stands in the way, in words."""
    return [one.text for one in obstacles(device_at(host, address), host, **more)]  # type: ignore[arg-type]


def test_a_device_as_sysfs_shows_it(host: MadeUpHost) -> None:
    """Ids, class, driver, group and ways to reset are read; an address may leave the domain out."""
    host.add(GPU, driver="amdgpu")
    expected = Device(GPU, "1002:7340", 3, "amdgpu", "", 7, ("flr", "bus"))
    assert pick(host, "01:00.0") == pick(host, GPU) == pick(host, "1002:7340") == expected
    assert expected.what == "display"


def test_domain_of_more_than_four_digits(host: MadeUpHost) -> None:
    """What hangs from a volume management device (VMD) has a domain above 0xffff."""
    host.add("10000:e1:00.0", kind=0x010802, ids="8086:0a54")
    assert pick(host, "10000:E1:00.0") == pick(host, "8086:0a54") == device_at(host, "10000:e1:00.0")


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ("01:00.7", "no PCI device 0000:01:00.7"),
        ("10de:0001", "no PCI device 10de:0001"),
        ("1002:7340", "2 devices 1002:7340: 0000:01:00.0, 0000:02:00.0"),
        ("../../etc", "neither a PCI address nor vendor:device"),
    ],
)
def test_names_that_are_no_one_device(host: MadeUpHost, wanted: str, words: str) -> None:
    """A name that fits no device, or several, is refused with what there is."""
    host.add(GPU)
    host.add("0000:02:00.0", group=8)
    with pytest.raises(UserError, match=words):
        pick(host, wanted)


def test_a_free_gpu_has_nothing_in_its_way(host: MadeUpHost) -> None:
    """A GPU with a driver that nobody uses, alone in its group, can be taken."""
    host.add(GPU, driver="amdgpu")
    host.put(host.folder(GPU) / "boot_vga", "0")
    assert against(host) == []


def test_others_of_the_group(host: MadeUpHost) -> None:
    """A device of the group that the host uses is in the way; bridges, and what is taken along, are not."""
    host.add(GPU, driver="amdgpu")
    host.add(PORT, driver="pcieport", kind=0x060400)
    assert against(host) == []
    host.add(SOUND, driver="snd_hda_intel", kind=0x040300)
    (found,) = obstacles(device_at(host), host)
    assert "group 7" in found.text
    assert f"{SOUND} (multimedia, snd_hda_intel)" in found.text
    assert f"lab vfio bind {GPU} {SOUND}" in found.hint
    assert against(host, together=[GPU, SOUND]) == []
    host.write(host.folder(SOUND) / "driver/unbind", SOUND)
    assert against(host) == []


def test_no_iommu(host: MadeUpHost) -> None:
    """Without an IOMMU it says so; with one that leaves the device out, it says that."""
    host.add(GPU, group=None)
    assert against(host) == ["the IOMMU does not cover it"]
    (host.sys / "class/iommu/dmar0/name").unlink()
    (host.sys / "class/iommu/dmar0").rmdir()
    assert against(host) == ["no IOMMU is in use on this host"]


def test_no_reset(host: MadeUpHost) -> None:
    """A device that cannot be reset is refused, unless it is wanted as it is; before 5.15 a file tells."""
    folder = host.add(GPU, resets="")
    assert against(host) == ["the kernel knows no way to reset it"]
    assert against(host, without_reset=True) == []
    (folder / "reset_method").unlink()
    assert against(host) == ["the kernel knows no way to reset it"]
    host.put(folder / "reset", "")
    assert against(host) == []


def test_bridges_are_refused(host: MadeUpHost) -> None:
    """A bridge is no device for a guest."""
    host.add(PORT, kind=0x060400)
    assert against(host, PORT) == ["it is a bridge"]


def test_boot_display(host: MadeUpHost) -> None:
    """The display that the firmware chose is refused, unless vfio-pci has it already."""
    folder = host.add(GPU, driver="amdgpu")
    host.put(folder / "boot_vga", "1")
    assert any("boot_vga" in text for text in against(host))
    host.write(folder / "driver/unbind", GPU)
    host.write(folder / "driver_override", "vfio-pci")
    host.write(host.pci / "drivers_probe", GPU)
    assert against(host) == []


def test_console_framebuffer(host: MadeUpHost) -> None:
    """A GPU that the text console is drawn on is refused; one with a frame buffer that is not, is free."""
    folder = host.add(GPU, driver="amdgpu")
    host.link(host.sys / "class/graphics/fb0/device", folder)
    host.put(host.sys / "class/vtconsole/vtcon1/name", "(M) frame buffer device\n")
    host.put(host.sys / "class/vtconsole/vtcon1/bind", "0\n")
    assert against(host) == []
    host.put(host.sys / "class/vtconsole/vtcon1/bind", "1\n")
    assert any("fb0" in text for text in against(host))


def test_screen_of_the_firmware(host: MadeUpHost) -> None:
    """A GPU in whose memory the firmware's screen lies is refused, also if no driver says so."""
    folder = host.add(GPU)
    host.put(folder / "resource", "0xe0000000 0xefffffff 0x14220c\n0x0 0x0 0x0\n")
    host.put(host.proc / "iomem", "e0000000-efffffff : 0000:01:00.0\n  f0000000-f02fffff : efifb\n")
    assert against(host) == []
    host.put(host.proc / "iomem", "e0000000-efffffff : 0000:01:00.0\n  e0000000-e02fffff : efifb\n")
    assert any("efifb" in text for text in against(host))


def mount(host: MadeUpHost, source: str, number: str = "8:1", kind: str = "ext4") -> None:
    host.put(
        host.proc / "self/mountinfo", f"22 1 {number} / /home rw,noatime shared:1 - {kind} {source} rw\n"
    )


def test_mounted_disk(host: MadeUpHost) -> None:
    """The controller of a mounted partition is refused, by number or, for btrfs, by name."""
    folder = host.add(GPU, driver="ahci", kind=0x010601)
    part = folder / "ata1/block/sda/sda1"
    part.mkdir(parents=True)
    host.link(host.sys / "dev/block/8:1", part)
    host.link(host.sys / "class/block/sda1", part)
    assert against(host) == []
    mount(host, "/dev/sda1")
    assert against(host) == ["a disk of the host is behind it (mounted on /home)"]
    mount(host, "/dev/sda1", "0:42", "btrfs")
    assert against(host) == ["a disk of the host is behind it (mounted on /home)"]
    mount(host, "tmpfs", "0:43", "tmpfs")
    assert against(host) == []
    host.put(host.proc / "swaps", "Filename Type Size Used Priority\n/dev/sda1 partition 8 0 -2\n")
    assert against(host) == ["a disk of the host is behind it (mounted on swap)"]


def test_disk_below_lvm(host: MadeUpHost) -> None:
    """A disk that a mounted volume is made of counts as mounted, through each layer."""
    folder = host.add(GPU, driver="nvme", kind=0x010802)
    disk = folder / "nvme/nvme0/nvme0n1"
    (disk / "nvme0n1p3").mkdir(parents=True)
    crypt, volume = (host.sys / "devices/virtual/block" / name for name in ("dm-0", "dm-1"))
    host.link(crypt / "slaves/nvme0n1p3", disk / "nvme0n1p3")
    host.link(volume / "slaves/dm-0", crypt)
    host.link(host.sys / "dev/block/253:1", volume)
    mount(host, "/dev/mapper/home", "253:1")
    assert against(host) == ["a disk of the host is behind it (mounted on /home)"]


def test_disk_with_several_ways(host: MadeUpHost) -> None:
    """An NVMe disk that hangs from a subsystem, and from none of its controllers, is still found."""
    folder = host.add(GPU, driver="nvme", kind=0x010802)
    subsystem = host.sys / "devices/virtual/nvme-subsystem/nvme-subsys0"
    part = subsystem / "nvme0n1/nvme0n1p1"
    part.mkdir(parents=True)
    (folder / "nvme/nvme0").mkdir(parents=True)
    host.link(subsystem / "nvme0", folder / "nvme/nvme0")
    host.link(host.sys / "dev/block/259:1", part)
    mount(host, "/dev/nvme0n1p1", "259:1")
    assert against(host) == ["a disk of the host is behind it (mounted on /home)"]


def add_disk(host: MadeUpHost, address: str, name: str, group: int) -> Path:
    """A controller with one NVMe disk; returns the disk's folder."""
    disk = host.add(address, driver="nvme", kind=0x010802, group=group) / f"nvme/{name[:-2]}/{name}"
    disk.mkdir(parents=True)
    host.link(host.sys / "class/block" / name, disk)
    return disk


def test_btrfs_on_several_disks(host: MadeUpHost) -> None:
    """A mounted btrfs names one of its disks; the controllers of all are refused, for as long."""
    first, second = add_disk(host, GPU, "nvme0n1", 7), add_disk(host, SOUND, "nvme1n1", 8)
    assert against(host) == against(host, SOUND) == []
    mount(host, "/dev/nvme0n1", "0:42", "btrfs")
    for disk in (first, second):
        host.link(host.sys / "fs/btrfs/1b4e28ba/devices" / disk.name, disk)
    assert against(host) == ["a disk of the host is behind it (mounted on /home)"]
    assert against(host, SOUND) == ["a disk of the host is behind it (mounted on btrfs 1b4e28ba)"]


def test_disk_that_is_part_of_something(host: MadeUpHost) -> None:
    """A disk, or a partition, that a volume or an array is made of is in use, also if nobody mounts that."""
    disk = add_disk(host, GPU, "nvme0n1", 7)
    part, array = disk / "nvme0n1p3", host.sys / "devices/virtual/block/md127"
    (part / "holders").mkdir(parents=True)
    array.mkdir(parents=True)
    host.link(host.sys / "class/block/nvme0n1p3", part)
    assert against(host) == []
    host.link(part / "holders/md127", array)
    assert against(host) == ["a disk of the host is behind it (part of md127)"]
    host.put(array / "dm/name", "guests-disk\n")
    assert against(host) == ["a disk of the host is behind it (part of guests-disk)"]


def test_disk_mounted_in_another_namespace(host: MadeUpHost) -> None:
    """A disk that only a container has mounted is found by one of the container's processes, if one lives."""
    add_disk(host, GPU, "nvme0n1", 7)
    mount(host, "tmpfs", "0:43", "tmpfs")
    mounted = (host.proc / "self/mountinfo").read_text().replace("0:43", "259:0")
    host.link(host.sys / "dev/block/259:0", host.sys / "class/block/nvme0n1")
    for pid, namespace in ((50, "1"), (51, "2"), (52, "2")):
        host.link(host.proc / f"{pid}/ns/mnt", Path(f"mnt:[{namespace}]"))
    host.link(host.proc / "self/ns/mnt", Path("mnt:[1]"))
    assert against(host) == []
    host.put(host.proc / "52/comm", "postgres\n")
    host.put(host.proc / "52/mountinfo", mounted)  # 51 has just gone
    assert against(host) == [
        "a disk of the host is behind it (mounted on /home, as postgres (52) sees it)",
    ]


def test_file_system_of_the_hypervisor(host: MadeUpHost) -> None:
    """A 9p file system names no device: the virtio device that brings it is found by its driver."""
    folder = host.add(GPU, driver="virtio-pci", kind=0x000200)
    (folder / "virtio3").mkdir()
    host.link(host.sys / "bus/virtio/drivers/9pnet_virtio/virtio3", folder / "virtio3")
    assert against(host) == []
    mount(host, "share0", "0:21", "9p")
    assert against(host) == ["a disk of the host is behind it (mounted on /home)"]


ROUTES = "Iface\tDestination\tGateway\n{name}\t00000000\t0100000A\n{name}\t0000000A\t00000000\n"


def test_default_route(host: MadeUpHost) -> None:
    """The interface of the default route is refused, also below a bridge; another one only while it is up."""
    folder = host.add(GPU, driver="e1000e", kind=0x020000)
    host.put(folder / "net/eth0/flags", "0x1002\n")
    host.link(host.sys / "class/net/eth0", folder / "net/eth0")
    assert against(host) == []
    host.put(folder / "net/eth0/flags", "0x1003\n")
    assert against(host) == ["its network interface eth0 is up"]
    host.put(host.proc / "net/route", ROUTES.format(name="eth0"))
    assert against(host) == ["the host's default route goes through it (eth0)"]
    bridge = host.sys / "devices/virtual/net/br0"
    host.link(bridge / "lower_eth0", folder / "net/eth0")
    host.link(host.sys / "class/net/br0", bridge)
    host.put(host.proc / "net/route", ROUTES.format(name="br0"))
    assert against(host) == ["the host's default route goes through it (br0)"]


def test_default_route_of_ipv6(host: MadeUpHost) -> None:
    """A default route of IPv6 alone counts as well."""
    folder = host.add(GPU, driver="e1000e", kind=0x020000)
    host.put(folder / "net/eth0/flags", "0x1003\n")
    host.link(host.sys / "class/net/eth0", folder / "net/eth0")
    zeros = "0" * 32
    line = f"{zeros} 00 {zeros} 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003     "
    host.put(host.proc / "net/ipv6_route", f"{line}eth0\n")
    assert against(host) == ["the host's default route goes through it (eth0)"]


def test_busy(host: MadeUpHost) -> None:
    """A device file of its, or its group's, that a process has open is told with the process."""
    folder = host.add(GPU, driver="amdgpu")
    host.put(folder / "drm/card1/uevent", "MAJOR=226\nDEVNAME=dri/card1\n")
    host.opened(40, "/dev/dri/card0")
    assert against(host) == []
    host.opened(41, "/dev/dri/card1")
    assert against(host) == ["it is in use: Xorg (41) has /dev/dri/card1 open"]
    host.opened(41, "/dev/vfio/7 (deleted)")
    assert against(host) == ["it is in use: Xorg (41) has /dev/vfio/7 open"]


def test_quarantine(host: MadeUpHost) -> None:
    """A device that did not come back is refused until it is restored."""
    host.add(GPU)
    entry = journal.new_entry(GPU, "amdgpu", "", "run")
    journal.quarantine(entry, "its driver is none and not amdgpu")
    assert against(host) == ["it is in quarantine: its driver is none and not amdgpu"]
    journal.forget(GPU)
    assert against(host) == []
