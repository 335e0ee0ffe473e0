# SPDX-License-Identifier: GPL-2.0-or-later
"""Where a trial's guest is run: on this host, or in the nested lab host."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lab.campaign.nested import NestedHost
from lab.campaign.trial import run_here
from lab.campaign.work import Carrier
from lab.errors import UserError
from lab.guest.accelerator import Choice
from lab.guest.privilege import udmabuf_obstacle
from lab.guest.vfio.devices import HERE, Host, pick
from lab.spec.models import Case, Machine, Passthrough

ExecutorName = Literal["auto", "local", "nested"]

IOMMU_GROUPS = Path("/sys/kernel/iommu_groups")


@dataclass(frozen=True)
class Place:
    """Who carries a trial out, or why nobody can."""

    carrier: Carrier = run_here
    nested: bool = False
    not_run: str = ""


@dataclass(frozen=True)
class Executor:
    """How a campaign's trials are carried out. `auto`: here, or nested what this host cannot do."""

    asked: ExecutorName = "auto"
    host: NestedHost | None = None

    def place(self, case: Case, choice: Choice, machine: Machine | None = None) -> Place:
        """For this case on this machine, under this accelerator of this host."""
        lacking = lacks(case, choice, machine)
        if self.asked == "local" or self.host is None or (self.asked == "auto" and not lacking):
            return Place(not_run=f"the case needs what this host lacks: {lacking}" if lacking else "")
        if case.clock == "virtual":
            return Place(not_run="the case counts instructions, which KVM in the nested lab host cannot")
        return Place(self.host.run, nested=True)


LOCAL = Executor("local")


def lacks(case: Case, choice: Choice, machine: Machine | None = None) -> str:
    """What case and machine need and this host does not have; "" if it has all of it."""
    missing = []
    if "kvm" in case.needs and choice.accelerator != "kvm":
        missing.append(f"KVM ({choice.reason})")
    if "vfio" in case.needs and not (IOMMU_GROUPS.is_dir() and any(IOMMU_GROUPS.iterdir())):
        missing.append("an IOMMU (/sys/kernel/iommu_groups is empty)")
    elif machine is not None and machine.passthrough is not None:
        missing += device_missing(machine.passthrough)
    if "udmabuf" in case.needs and (obstacle := udmabuf_obstacle()):
        missing.append(f"udmabuf ({obstacle})")
    return " and ".join(missing)


def device_missing(wanted: Passthrough, host: Host = HERE) -> list[str]:
    """The sentence that says that this host does not have the machine's device, if so. Whether it can be
    given away is asked when it is taken: what is in the way is the user's to move."""
    try:
        pick(host, wanted.device)
    except UserError as error:
        return [f"the machine's device ({error.message})"]
    return []
