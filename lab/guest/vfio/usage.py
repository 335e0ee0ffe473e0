# SPDX-License-Identifier: GPL-2.0-or-later
"""What of the running host would go with a device: mounted disks, the network, the screen, open files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lab.guest.vfio.devices import Device, Host, below, link_name

SHARED_FILES = {"9p": "9pnet_virtio", "virtiofs": "virtiofs"}
"""File systems of a hypervisor -> the virtio driver of the device behind them, which no source names."""

SCREENS = re.compile(r"efifb|vesafb|simple-?fb|simple-framebuffer|BOOTFB|simpledrm", re.IGNORECASE)
"""Owners, in /proc/iomem, of a screen that the firmware set up."""

IFF_UP = 1


@dataclass(frozen=True)
class Mount:
    """One line of a mountinfo."""

    number: str  # of the block device, such as 8:1
    kind: str
    source: str
    where: str


def _mounts(host: Host) -> Iterator[Mount]:
    """What is mounted: here, and where only another mount namespace has it (a container, a service).

    Each namespace is read once, each file system told once. Without root only the namespaces of one's own
    processes are seen.
    """
    namespaces: set[str] = set()
    told: set[tuple[str, str]] = set()
    for process in [host.proc / "self", *_processes(host)]:
        namespace = link_name(process / "ns/mnt")
        if namespace in namespaces or not (text := host.read(process / "mountinfo")):
            continue  # a process that has ended since shows nothing: another one of its namespace will
        namespaces.add(namespace)
        seer = "" if process.name == "self" else f", as {_named(host, process)} sees it"
        for line in text.splitlines():
            words = line.split()
            if len(words) < 10 or "-" not in words:
                continue
            kind, source = words[words.index("-") + 1 :][:2]
            if (words[2], source) not in told:
                told.add((words[2], source))
                yield Mount(words[2], kind, source, words[4] + seer)


def mounted_on(host: Host, device: Device) -> str:
    """Where a file system of its is mounted, or "swap"; "" if nowhere."""
    folder = host.folder(device.address).resolve()
    for source, where in _mounted_blocks(host):
        if any(_is_below(one, folder) for one in _with_slaves(source)):
            return where
    return _shared_files(host, folder)


def _mounted_blocks(host: Host) -> Iterator[tuple[Path, str]]:
    """The sysfs folder of each mounted block device, and where it is mounted; of each swap device, too."""
    for mount in _mounts(host):
        yield host.sys / "dev/block" / mount.number, mount.where
        # btrfs and others show a number of their own: then the name of the source tells.
        yield host.sys / "class/block" / Path(mount.source).name, mount.where
    # Of several disks btrfs shows one as the source: here are all of them, for as long as it is mounted.
    for one in sorted((host.sys / "fs/btrfs").glob("*/devices/*")):
        yield one, f"btrfs {one.parent.parent.name}"
    for line in host.read(host.proc / "swaps").splitlines()[1:]:
        yield host.sys / "class/block" / Path(line.split()[0]).name, "swap"


def _with_slaves(block: Path) -> Iterator[Path]:
    """A block device and all that it is made of (LVM, LUKS, RAID)."""
    try:
        real = block.resolve(strict=True)
    except OSError:
        return
    yield real
    # A partition has no `slaves` of its own: it lies in its disk's folder.
    for one in [*real.glob("slaves/*"), *real.parent.glob("slaves/*")]:
        yield from _with_slaves(one)
    # A disk with several ways to it (NVMe) lies below none of its controllers, but links to them.
    for parent in real.parents:
        if parent.parent.name == "nvme-subsystem":
            yield from (one.resolve() for one in parent.glob("nvme*") if one.is_symlink())


def made_into(host: Host, device: Device) -> str:
    """What a disk of its is part of (LVM, LUKS, RAID), mounted or not; ""."""
    folder = host.folder(device.address).resolve()
    for holder in sorted((host.sys / "class/block").glob("*/holders/*")):
        if any(_is_below(one, folder) for one in _with_slaves(holder.parent.parent)):
            return host.read(holder / "dm/name") or holder.name
    return ""


def _shared_files(host: Host, folder: Path) -> str:
    kinds: dict[str, str] = {}
    for mount in _mounts(host):
        kinds.setdefault(mount.kind, mount.where)
    for kind, driver in SHARED_FILES.items():
        for one in (host.sys / "bus/virtio/drivers" / driver).glob("virtio*"):
            if kind in kinds and _is_below(one.resolve(), folder):
                return kinds[kind]
    return ""


def default_route(host: Host, device: Device) -> str:
    """The interface of its that a default route goes through, also by way of a bridge or bond; ""."""
    routed = {line.split()[0] for line in _lines(host, "net/route") if line.split()[1:2] == ["00000000"]}
    for line in _lines(host, "net/ipv6_route"):
        words = line.split()
        if len(words) == 10 and words[0] == "0" * 32 and words[1] == "00" and words[9] != "lo":
            routed.add(words[9])
    folder = host.folder(device.address).resolve()
    for name in sorted(routed):
        for one in _with_lower(host.sys / "class/net" / name):
            if _is_below(one, folder):
                return name
    return ""


def _with_lower(interface: Path) -> Iterator[Path]:
    """A network interface and those that carry it."""
    try:
        real = interface.resolve(strict=True)
    except OSError:
        return
    yield real
    for one in real.glob("lower_*"):
        yield from _with_lower(one)


def interface_up(host: Host, device: Device) -> str:
    """A network interface of its that is up; ""."""
    for folder in below(host.folder(device.address).resolve()):
        if folder.parent.name == "net":
            try:
                flags = int(host.read(folder / "flags"), 16)
            except ValueError:
                continue
            if flags & IFF_UP:
                return folder.name
    return ""


def shows_console(host: Host, device: Device) -> str:
    """How the host's screen depends on it, in words; ""."""
    folder = host.folder(device.address)
    if host.read(folder / "boot_vga") == "1":
        return "the firmware chose it as the display to boot with (boot_vga)"
    drawn = any(
        "frame buffer" in host.read(console / "name") and host.read(console / "bind") == "1"
        for console in (host.sys / "class/vtconsole").glob("vtcon*")
    )
    screen = host.sys / "class/graphics/fb0/device"
    if drawn and screen.exists() and _is_below(screen.resolve(), folder.resolve()):
        return "the text console is drawn on it (fb0)"
    if name := _firmware_screen(host, folder):
        return f"the screen that the firmware set up lies in its memory ({name})"
    return ""


def _firmware_screen(host: Host, folder: Path) -> str:
    """The owner, in /proc/iomem, of a frame buffer inside one of its BARs. Only root sees the addresses."""
    bars = []
    for line in host.read(folder / "resource").splitlines()[:6]:
        start, end, *_ = (int(word, 16) for word in line.split())
        if end:
            bars.append((start, end))
    for line in host.read(host.proc / "iomem").splitlines():
        span, _, owner = line.strip().partition(" : ")
        if SCREENS.fullmatch(owner.strip()):
            first, _, last = span.partition("-")
            if any(low <= int(first, 16) and int(last, 16) <= high for low, high in bars):
                return owner.strip()
    return ""


def open_by(host: Host, device: Device) -> str:
    """A process that has a device file of its, or its group's, open: "NAME (PID) has FILE open"; "" if none.

    Without root only one's own processes are seen.
    """
    names = set()
    for folder in below(host.folder(device.address).resolve()):
        for line in host.read(folder / "uevent").splitlines():
            if line.startswith("DEVNAME="):
                names.add(f"/dev/{line.removeprefix('DEVNAME=').removeprefix('/dev/')}")
    if device.group is not None and (host.dev / f"vfio/{device.group}").exists():
        names.add(f"/dev/vfio/{device.group}")
    for process in _processes(host) if names else ():
        if held := names & set(_open_files(process)):
            return f"{_named(host, process)} has {min(held)} open"
    return ""


def _named(host: Host, process: Path) -> str:
    return f"{host.read(process / 'comm') or 'a process'} ({process.name})"


def _processes(host: Host) -> list[Path]:
    return sorted((path for path in host.proc.glob("[0-9]*")), key=lambda path: path.name)


def _open_files(process: Path) -> Iterator[str]:
    try:
        handles = list((process / "fd").iterdir())
    except OSError:
        return
    for handle in handles:
        try:
            # QEMU's own copy of a node is gone from the file system as soon as it is mounted.
            yield str(handle.readlink()).removesuffix(" (deleted)")
        except OSError:
            continue


def _lines(host: Host, name: str) -> list[str]:
    return [line for line in host.read(host.proc / name).splitlines() if line.strip()]


def _is_below(path: Path, folder: Path) -> bool:
    return path == folder or path.is_relative_to(folder)
