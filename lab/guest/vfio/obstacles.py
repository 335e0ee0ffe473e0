# SPDX-License-Identifier: GPL-2.0-or-later
"""Why a device may not be given away. Asked before anything is changed; each with what to do about it."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from lab.errors import UserError
from lab.guest.vfio import journal, usage
from lab.guest.vfio.devices import HERE, VFIO, Device, Host, others_of_group


@dataclass(frozen=True)
class Obstacle:
    """One reason, in a sentence."""

    text: str
    hint: str

    def __str__(self) -> str:
        return f"{self.text} ({self.hint})" if self.hint else self.text


def obstacles(
    device: Device, host: Host = HERE, *, without_reset: bool = False, together: Collection[str] = ()
) -> list[Obstacle]:
    """All that stands in the way; empty if the device can be bound. `without_reset`: one that cannot be reset
    is taken nevertheless; `together`: addresses of devices that are bound with it."""
    if device.is_bridge:
        return [Obstacle("it is a bridge", "choose a device behind it")]
    found = [*_quarantined(device), *_no_iommu(host, device), *_group(host, device, together)]
    if device.driver != VFIO:  # else the host has done without it for a while
        found += _host_needs(host, device)
    found += _busy(host, device)
    if not device.resets and not without_reset:
        # What one guest leaves in it the next one finds, and so does the host's driver.
        hint = "`--without-reset`, or `without_reset: true` in the machine, takes it as it is"
        found.append(Obstacle("the kernel knows no way to reset it", hint))
    return found


def refuse(device: Device, found: Sequence[Obstacle]) -> UserError:
    """The error that names all that stands in the way."""
    text = "\n  - ".join(map(str, found))
    return UserError(f"{device.address} ({device.ids}, {device.what}) cannot be given away:\n  - {text}")


def not_root() -> list[Obstacle]:
    """Of the user, not of a device."""
    if os.geteuid() == 0:
        return []
    return [Obstacle("binding needs root", "start the lab as root; QEMU will not run as root")]


def _quarantined(device: Device) -> list[Obstacle]:
    entry = journal.taken(device.address)
    if entry is None or not entry.quarantined:
        return []
    return [Obstacle(f"it is in quarantine: {entry.quarantined}", f"`lab vfio restore {device.address}`")]


def _no_iommu(host: Host, device: Device) -> list[Obstacle]:
    if device.group is not None:
        return []
    if any((host.sys / "class/iommu").glob("*")):
        return [Obstacle("the IOMMU does not cover it", "choose another device")]
    hint = "switch VT-d or AMD-Vi on in the firmware, and boot with intel_iommu=on (Intel)"
    return [Obstacle("no IOMMU is in use on this host", hint)]


def _group(host: Host, device: Device, together: Collection[str]) -> list[Obstacle]:
    """All of a group can reach each other's memory: none may be left to the host."""
    rest = others_of_group(host, device)
    used = [
        one
        for one in rest
        if not one.is_bridge and one.driver not in ("", VFIO) and one.address not in together
    ]
    if not used:
        return []
    names = ", ".join(f"{one.address} ({one.what}, {one.driver})" for one in used)
    bind = " ".join(one.address for one in [device, *used])
    text = f"its IOMMU group {device.group} has other devices that the host uses: {names}"
    return [Obstacle(text, f"`lab vfio bind {bind}` takes them all from the host")]


def _host_needs(host: Host, device: Device) -> list[Obstacle]:
    found = []
    if why := usage.shows_console(host, device):
        found.append(Obstacle(f"it is the host's screen: {why}", "let another GPU be that one"))
    if where := usage.mounted_on(host, device):
        found.append(Obstacle(f"a disk of the host is behind it (mounted on {where})", "unmount it first"))
    elif name := usage.made_into(host, device):
        hint = f"close {name} first (vgchange -an, cryptsetup close, mdadm --stop)"
        found.append(Obstacle(f"a disk of the host is behind it (part of {name})", hint))
    if name := usage.default_route(host, device):
        found.append(Obstacle(f"the host's default route goes through it ({name})", "choose another device"))
    elif name := usage.interface_up(host, device):
        found.append(Obstacle(f"its network interface {name} is up", f"ip link set {name} down"))
    return found


def _busy(host: Host, device: Device) -> list[Obstacle]:
    if who := usage.open_by(host, device):
        return [Obstacle(f"it is in use: {who}", "end that process first")]
    return []
