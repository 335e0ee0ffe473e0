# SPDX-License-Identifier: GPL-2.0-or-later
"""Where a trial's guest is run: on this host, in the nested lab host, or on a worker of a cluster."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from lab.campaign.schedule import Room
from lab.campaign.trial import run_here
from lab.campaign.work import Carrier, Work
from lab.errors import UserError
from lab.guest.accelerator import Choice, Policy
from lab.guest.prepare import Bench
from lab.guest.privilege import udmabuf_obstacle
from lab.guest.vfio.devices import HERE, Host, pick
from lab.results.models import Trial
from lab.spec.models import Case, Machine, Passthrough

ExecutorName = Literal["auto", "local", "nested", "dask"]

IOMMU_GROUPS = Path("/sys/kernel/iommu_groups")


class Elsewhere(Protocol):
    """Who carries trials out that this host does not: the nested lab host, or the workers of a cluster."""

    @property
    def nested(self) -> bool:
        """Is it a guest of this host, and does one trial after the other?"""

    @property
    def room(self) -> Room | None:
        """For trials at the same time; None: this host's, of which it takes its part."""

    def choice(self, policy: Policy) -> Choice:
        """The accelerator, there, of trials that do not count instructions."""

    def refuses(self, case: Case) -> str:
        """Why it cannot carry out this case; "" if it can."""

    def run(self, bench: Bench, work: Work, folder: Path) -> Trial:
        """Carry a trial out. InfraError if it does not."""


@dataclass(frozen=True)
class Place:
    """Who carries a trial out, or why nobody can."""

    carrier: Carrier = run_here
    nested: bool = False
    elsewhere: bool = False  # on another machine
    not_run: str = ""


@dataclass(frozen=True)
class Executor:
    """How a campaign's trials are carried out. `auto`: here, or nested what this host cannot do; `nested`,
    `dask`: all of them there."""

    asked: ExecutorName = "auto"
    host: Elsewhere | None = None
    room: Room | None = None  # for guests at the same time; None: what this host has

    def place(self, case: Case, choice: Choice, machine: Machine | None = None) -> Place:
        """For this case on this machine, under this accelerator of this host."""
        if self.asked == "dask" and self.host is not None:
            return self._there(case)  # what this host lacks is nothing to it
        lacking = lacks(case, choice, machine)
        if self.asked == "local" or self.host is None or (self.asked == "auto" and not lacking):
            return Place(not_run=f"the case needs what this host lacks: {lacking}" if lacking else "")
        return self._there(case)

    def _there(self, case: Case) -> Place:
        assert self.host is not None
        if why := self.host.refuses(case):
            return Place(not_run=why)
        return Place(self.host.run, nested=self.host.nested, elsewhere=not self.host.nested)


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
