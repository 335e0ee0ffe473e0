# SPDX-License-Identifier: GPL-2.0-or-later
"""What this host can do, what each missing thing costs, and what to type."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from lab import files, proc
from lab.campaign.probe import probe_kvm
from lab.errors import InfraError, LabError
from lab.guest.accelerator import kvm_obstacle
from lab.guest.prepare import Bench
from lab.guest.privilege import udmabuf_obstacle
from lab.guest.qemu import find_qemu
from lab.host import available_memory, cpus, host_cpu, host_kernel
from lab.kernel.kernel_packages import METAPACKAGE
from lab.kernel.obtain import obtain
from lab.kernel.packages import PackageRoot
from lab.kernel.sandbox import check as check_sandbox
from lab.workflow.vfio import offers

State = Literal["ok", "limited", "missing"]

NEEDED_FREE = 4 << 30
"""Bytes of disk that the packages, one kernel and some runs take."""


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report."""

    what: str
    state: State
    detail: str
    cost: str = ""  # what does not work, or works less well, without it
    fix: str = ""  # what to type


def examine(*, probe: bool = True) -> list[Finding]:
    """All findings. `probe` allows the one boot that tells whether KVM works (at most 15 s, once)."""
    checks: list[Callable[[], Finding]] = [
        host,
        qemu,
        devices,
        displays,
        blobs,
        compiler,
        sandbox,
        mirror,
        disk,
        unprivileged,
        lambda: kvm(probe=probe),
        passthrough,
        debugger,
    ]
    return [_guarded(check) for check in checks]


def _guarded(check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except LabError as error:
        return Finding(
            getattr(check, "__name__", "check").strip("<>"), "missing", error.message, fix=error.hint
        )


def host() -> Finding:
    memory = available_memory() / (1 << 30)
    return Finding(
        "host", "ok", f"{cpus()} x {host_cpu()}, {memory:.0f} GiB free, {host_kernel().split(' #')[0]}"
    )


def qemu() -> Finding:
    found = find_qemu()
    return Finding("qemu", "ok", f"{found.banner} ({found.path})")


def devices() -> Finding:
    wanted = {"qxl-vga", "bochs-display", "virtio-gpu-pci"}
    lacking = sorted(wanted - find_qemu().devices())
    if not lacking:
        return Finding("gpu devices", "ok", ", ".join(sorted(wanted)))
    cost = "machines with these devices cannot be built"
    return Finding(
        "gpu devices", "limited", f"QEMU lacks {', '.join(lacking)}", cost, "apt-get install qemu-system-x86"
    )


def displays() -> Finding:
    """Whether QEMU has the display by which the lab plugs monitors into a guest's outputs."""
    cost = "cases with `display:`, such as virtio-gpu/resize, end in ERROR"
    if "dbus" in find_qemu().displays():
        return Finding("gpu outputs", "ok", "monitors can be plugged in and resized (QEMU's D-Bus display)")
    return Finding(
        "gpu outputs", "limited", "QEMU has no -display dbus", cost, "apt-get install qemu-system-common"
    )


def blobs() -> Finding:
    """Whether virtio-gpu can have blob=true here: a property of QEMU's, and udmabuf of the host's kernel."""
    cost = "cases with `needs: [udmabuf]` run in the nested lab host: slower, and no time of theirs is real"
    if "blob" not in find_qemu().properties("virtio-gpu-pci"):
        return Finding(
            "gpu blobs",
            "limited",
            "QEMU's virtio-gpu-pci has no property blob",
            "cases with `needs: [udmabuf]` end in ERROR",
            "apt-get install qemu-system-x86",
        )
    obstacle = udmabuf_obstacle()
    if obstacle:
        fix = "modprobe udmabuf, or boot a kernel with CONFIG_UDMABUF (Debian's from 6.12 on)"
        return Finding("gpu blobs", "limited", obstacle, cost, fix)
    return Finding("gpu blobs", "ok", "QEMU's virtio-gpu has blob=true, and the host /dev/udmabuf")


def compiler() -> Finding:
    path = proc.find("gcc")
    if path is None:
        cost = "no workload and no module can be built"
        return Finding("compiler", "missing", "there is no gcc", cost, "apt-get install gcc libc6-dev make")
    banner = proc.run([path, "--version"], timeout=20).text.partition("\n")[0]
    return Finding("compiler", "ok", banner)


def sandbox() -> Finding:
    try:
        check_sandbox()
    except InfraError as error:
        cost = "a series is a stranger's code: the lab does not build it without a sandbox"
        return Finding("build sandbox", "missing", error.message, cost, error.hint)
    return Finding(
        "build sandbox", "ok", "bubblewrap: builds see no network and write only to their own folder"
    )


def mirror() -> Finding:
    found = PackageRoot().candidates(METAPACKAGE)
    if not found:
        return Finding(
            "packages",
            "missing",
            f"no suite of apt's sources has {METAPACKAGE}",
            "no stock kernel",
            "add a Debian suite",
        )
    return Finding(
        "packages", "ok", f"{METAPACKAGE} {found[0].version} from apt's own sources, signatures checked"
    )


def disk() -> Finding:
    cache = files.cache_dir("packages")
    free = shutil.disk_usage(cache).free
    text = f"{free / (1 << 30):.1f} GiB free for {cache.parent}"
    if free >= NEEDED_FREE:
        return Finding("disk", "ok", text)
    return Finding(
        "disk", "limited", text, "packages and runs may not fit", "lab gc, or LAB_CACHE=/elsewhere"
    )


def unprivileged() -> Finding:
    if os.geteuid() != 0:
        return Finding("user", "ok", "not root; nothing here needs root")
    return Finding("user", "ok", "root; QEMU runs as 'nobody', builds in a sandbox without privileges")


def kvm(*, probe: bool) -> Finding:
    cost = (
        "no time as a user feels it (clock real); what needs KVM, as guest exits do, runs in the nested lab "
        "host; the virtual clock and counts are exact"
    )
    obstacle = kvm_obstacle()
    if obstacle:
        return Finding("kvm", "limited", obstacle, cost)
    if not probe:
        return Finding(
            "kvm", "limited", "/dev/kvm opens; whether Linux boots under it was not tried", cost, "lab doctor"
        )
    choice = probe_kvm(Bench.set_up(), obtain("stock", with_build=False))
    if choice.accelerator == "kvm":
        return Finding("kvm", "ok", choice.reason)
    return Finding("kvm", "limited", choice.reason, cost)


def passthrough() -> Finding:
    """Whether a guest could have a device of this host."""
    found = offers()
    free = [offer.device.address for offer in found if not offer.obstacles]
    if free and os.geteuid() == 0:
        return Finding("vfio", "ok", f"guests can have {', '.join(free[:4])} (`lab vfio list`)")
    cost = "guests get emulated GPUs; cases with `needs: [vfio]` run in the nested lab host"
    if not any(offer.device.group is not None for offer in found):
        return Finding("vfio", "limited", "no IOMMU is in use on this host", cost, "docs/vfio.md, step 1")
    why = (
        "only root can give devices away" if free else f"something is in the way of all {len(found)} devices"
    )
    return Finding("vfio", "limited", why, cost, "lab vfio list")


def debugger() -> Finding:
    path = proc.find("gdb")
    if path:
        return Finding("gdb", "ok", path)
    return Finding(
        "gdb", "limited", "there is no gdb", "`lab shell --gdb` waits for one", "apt-get install gdb"
    )
