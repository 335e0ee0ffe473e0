# SPDX-License-Identifier: GPL-2.0-or-later
"""Resource tags: what a trial needs of a worker, and what a worker has.

    kvm=1              Linux boots under KVM there
    iommu=1            it has IOMMU groups
    udmabuf=1
    vfio:8086:56a0=1   a device that can be given away, by vendor:device
    memory=4096        MiB for one guest and its QEMU

A worker has one slot, so its tags are what one trial finds there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from lab.campaign.execute import GUEST_OVERHEAD
from lab.errors import InfraError, LabError, UserError
from lab.guest.accelerator import Choice, kvm_obstacle
from lab.guest.prepare import Bench, guest_memory
from lab.guest.privilege import udmabuf_obstacle
from lab.guest.vfio.devices import HERE, IDS, Host, all_devices
from lab.guest.vfio.obstacles import not_root, obstacles
from lab.host import available_memory, cpus
from lab.spec.models import Case, Machine

Resources = Mapping[str, float]

_TAG = re.compile(r"(kvm|iommu|udmabuf|memory|vfio:[0-9a-f]{4}:[0-9a-f]{4})=([0-9]{1,9})")

IOMMU_GROUPS = Path("/sys/kernel/iommu_groups")


def needed(case: Case, choice: Choice, machine: Machine) -> dict[str, float]:
    """What a trial of this case needs of the worker that carries it out. UserError for a device that only
    an address names, which means another one on each host."""
    wants: dict[str, float] = {"memory": (guest_memory(case, machine) + GUEST_OVERHEAD) >> 20}
    if choice.accelerator == "kvm" or "kvm" in case.needs:
        wants["kvm"] = 1
    if "vfio" in case.needs:
        wants["iommu"] = 1
    if "udmabuf" in case.needs:
        wants["udmabuf"] = 1
    if machine.passthrough is not None:
        if not IDS.fullmatch(machine.passthrough.device):
            raise UserError(
                f"a device is at another address on each host: {machine.passthrough.device}",
                hint="name it by vendor:device in the machine's YAML, or use --executor local",
            )
        wants[f"vfio:{machine.passthrough.device.lower()}"] = 1
    return wants


def has(offered: object, wanted: Resources) -> bool:
    """Has a worker that offers this all that is wanted?"""
    return isinstance(offered, dict) and all(
        offered.get(name, 0) >= amount for name, amount in wanted.items()
    )


def shown(resources: Resources) -> str:
    """`kvm=1,memory=768`"""
    return ",".join(f"{name}={amount:.0f}" for name, amount in sorted(resources.items())) or "nothing"


def parse(text: str) -> dict[str, float]:
    """Tags as they are typed: `kvm=1,vfio:8086:56a0=1,memory=4096`. UserError names the one that is none."""
    found: dict[str, float] = {}
    for word in filter(None, (part.strip().lower() for part in text.split(","))):
        match = _TAG.fullmatch(word)
        if not match:
            raise UserError(
                f"{word!r:.80} is no resource tag",
                hint="kvm=1, iommu=1, udmabuf=1, memory=MiB, vfio:VENDOR:DEVICE=1; 0 takes a tag away",
            )
        found[match[1]] = float(match[2])
    return found


def offered(typed: Resources, host: Host = HERE) -> tuple[dict[str, float], list[str]]:
    """What this host has for one slot, and why it has not the rest, in sentences: as it was typed, else found
    by trying. The memory is this slot's share if the host has a worker for each processor."""
    tags: dict[str, float] = {"memory": available_memory() // cpus() >> 20}
    lacking = []
    if "kvm" not in typed:
        if why := _without_kvm():
            lacking.append(f"no kvm: {why}")
        else:
            tags["kvm"] = 1
    if IOMMU_GROUPS.is_dir() and any(IOMMU_GROUPS.iterdir()):
        tags["iommu"] = 1
    if not (why := udmabuf_obstacle()):
        tags["udmabuf"] = 1
    elif "udmabuf" not in typed:
        lacking.append(f"no udmabuf: {why}")
    devices = [
        one for one in all_devices(host) if not (not_root() or obstacles(one, host, without_reset=False))
    ]
    for device in devices:
        # Two of a kind could not be told apart by what a machine names.
        if sum(one.ids == device.ids for one in all_devices(host)) == 1:
            tags[f"vfio:{device.ids}"] = 1
    tags |= typed
    return {name: amount for name, amount in tags.items() if amount > 0}, lacking


def _without_kvm() -> str:
    """Why Linux does not boot under KVM here; only a boot can tell (guest.accelerator)."""
    from lab.campaign.probe import probe_kvm
    from lab.kernel.obtain import obtain

    if why := kvm_obstacle():
        return why
    try:
        found = probe_kvm(Bench.set_up(), obtain("stock", with_build=False))
    except (InfraError, UserError) as error:
        return f"it could not be tried: {error.message}"
    return "" if found.accelerator == "kvm" else found.reason


def nobody_has(wanted: Resources, workers: Mapping[str, object]) -> LabError:
    """What is said when no worker has all that a trial needs."""
    alone = [
        name
        for name, amount in wanted.items()
        if not any(has(offer, {name: amount}) for offer in workers.values())
    ]
    told = ", ".join(f"{name} ({shown(offer)})" for name, offer in workers.items() if isinstance(offer, dict))
    missing = shown({name: wanted[name] for name in alone or wanted})
    together = "" if alone else " together"
    return InfraError(
        f"no worker has {missing}{together}; workers: {told or 'none'}",
        hint="start `lab worker` on a host that has it, or give the tag with --resources",
    )
