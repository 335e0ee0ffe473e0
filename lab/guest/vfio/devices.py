# SPDX-License-Identifier: GPL-2.0-or-later
"""PCI devices, their IOMMU groups and their drivers, as sysfs shows them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lab.errors import InfraError, UserError, did_you_mean

VFIO = "vfio-pci"

ADDRESS = re.compile(r"(?:([0-9a-f]{4,8}):)?([0-9a-f]{2}:[01][0-9a-f]\.[0-7])", re.IGNORECASE)
IDS = re.compile(r"([0-9a-f]{4}):([0-9a-f]{4})", re.IGNORECASE)

KINDS = {
    0x01: "storage",
    0x02: "network",
    0x03: "display",
    0x04: "multimedia",
    0x05: "memory",
    0x06: "bridge",
    0x0C: "serial bus",
    0x12: "accelerator",
}
"""The upper byte of a PCI class code."""

BRIDGE = 0x06


@dataclass(frozen=True)
class Host:
    """Where a running kernel shows itself. Tests have a made-up one."""

    sys: Path = Path("/sys")
    proc: Path = Path("/proc")
    dev: Path = Path("/dev")

    def read(self, path: Path) -> str:
        """The text of an attribute without white space around it; "" if there is none, or it is refused."""
        try:
            return path.read_text(errors="replace").strip()
        except OSError:
            return ""

    def write(self, path: Path, text: str) -> None:
        """Write an attribute. OSError is the kernel's refusal."""
        path.write_text(text)

    @property
    def pci(self) -> Path:
        return self.sys / "bus/pci"

    def folder(self, address: str) -> Path:
        return self.pci / "devices" / address


HERE = Host()


@dataclass(frozen=True)
class Device:
    """One PCI function."""

    address: str  # such as 0000:01:00.0
    ids: str  # vendor:device, such as 1002:7340
    kind: int  # the upper byte of the class code
    driver: str  # "" if it has none
    override: str  # the only driver that it may get; "" if any
    group: int | None  # of the IOMMU; None: no IOMMU is in front of it
    resets: tuple[str, ...]  # how the kernel can reset it, best first; empty: not at all

    @property
    def is_bridge(self) -> bool:
        return self.kind == BRIDGE

    @property
    def what(self) -> str:
        return KINDS.get(self.kind, f"class {self.kind:02x}")


def find_device(host: Host, address: str) -> Device | None:
    """The device of a full address; None if the bus has none there."""
    folder = host.folder(address)
    if not folder.is_dir():
        return None
    group = link_name(folder / "iommu_group")
    return Device(
        address=address,
        ids=f"{_hex(host, folder / 'vendor'):04x}:{_hex(host, folder / 'device'):04x}",
        kind=_hex(host, folder / "class") >> 16,
        driver=link_name(folder / "driver"),
        override=_override(host, folder),
        group=int(group) if group.isdigit() else None,
        resets=_resets(host, folder),
    )


def all_devices(host: Host = HERE) -> list[Device]:
    """Every PCI function of this host, by address."""
    try:
        names = sorted(path.name for path in (host.pci / "devices").iterdir())
    except OSError:
        return []
    return [device for name in names if (device := find_device(host, name)) is not None]


def others_of_group(host: Host, device: Device) -> list[Device]:
    """The other devices of its IOMMU group: they can reach each other's memory, so all go or none."""
    if device.group is None:
        return []
    return [one for one in all_devices(host) if one.group == device.group and one.address != device.address]


def pick(host: Host, wanted: str) -> Device:
    """The device of an address (`0000:01:00.0`, `01:00.0`) or of `vendor:device`, if there is exactly one.

    Raises UserError.
    """
    devices = {device.address: device for device in all_devices(host)}
    listed = "`lab vfio list` shows what there is"
    if match := ADDRESS.fullmatch(wanted):
        address = f"{match[1] or '0000'}:{match[2]}".lower()
        if address not in devices:
            raise UserError(f"this host has no PCI device {address}", hint=did_you_mean(address, devices))
        return devices[address]
    if not IDS.fullmatch(wanted):
        raise UserError(
            f"{wanted} is neither a PCI address nor vendor:device", hint=f"such as 01:00.0; {listed}"
        )
    found = [device for device in devices.values() if device.ids == wanted.lower()]
    if not found:
        raise UserError(f"this host has no PCI device {wanted} (vendor:device)", hint=listed)
    if len(found) > 1:
        several = ", ".join(device.address for device in found)
        raise UserError(f"this host has {len(found)} devices {wanted}: {several}", hint="name one's address")
    return found[0]


def group_node(address: str, host: Host = HERE) -> Path:
    """The file by which a device's IOMMU group is opened. InfraError without such a group."""
    device = find_device(host, address)
    if device is None or device.group is None:
        raise InfraError(f"{address} is in no IOMMU group", hint="`lab vfio list` says what is in the way")
    return host.dev / f"vfio/{device.group}"


def below(folder: Path) -> Iterator[Path]:
    """Every folder of a device and of what hangs from it, without following links."""
    queue = [folder]
    while queue:
        current = queue.pop()
        yield current
        try:
            queue += [path for path in current.iterdir() if path.is_dir() and not path.is_symlink()]
        except OSError:
            continue


def link_name(path: Path) -> str:
    """The name of what a link points to; "" without one."""
    try:
        return path.readlink().name
    except OSError:
        return ""


def _hex(host: Host, path: Path) -> int:
    try:
        return int(host.read(path), 16)
    except ValueError:
        return 0


def _override(host: Host, folder: Path) -> str:
    text = host.read(folder / "driver_override")
    return "" if text == "(null)" else text


def _resets(host: Host, folder: Path) -> tuple[str, ...]:
    """Up to 5.14 there is no list, only the file `reset` where some method works."""
    if (folder / "reset_method").exists():
        return tuple(host.read(folder / "reset_method").split())
    return ("some",) if (folder / "reset").exists() else ()
