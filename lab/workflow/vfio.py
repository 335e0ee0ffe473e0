# SPDX-License-Identifier: GPL-2.0-or-later
"""What of this host can be given to guests, and what was."""

from __future__ import annotations

from dataclasses import dataclass

from lab.guest.vfio import journal
from lab.guest.vfio.devices import HERE, VFIO, Device, Host, all_devices
from lab.guest.vfio.journal import Entry
from lab.guest.vfio.obstacles import Obstacle, obstacles


@dataclass(frozen=True)
class Offer:
    """One device, and whether it can be given away."""

    device: Device
    taken: Entry | None  # by a lab, and not given back
    obstacles: tuple[Obstacle, ...]

    @property
    def state(self) -> str:
        """One word, or what was done with it."""
        if self.taken is not None and self.taken.quarantined:
            return "quarantine"
        if self.taken is not None:
            return f"taken from {self.taken.driver or 'no driver'}"
        if self.obstacles:
            return "refused"
        return "bound" if self.device.driver == VFIO else "free"


def offers(host: Host = HERE) -> list[Offer]:
    """Every device that is no bridge, by address. Raises InfraError if the journal cannot be read."""
    return [
        Offer(device, journal.taken(device.address), tuple(obstacles(device, host)))
        for device in all_devices(host)
        if not device.is_bridge
    ]
