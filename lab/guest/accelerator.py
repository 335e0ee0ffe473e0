# SPDX-License-Identifier: GPL-2.0-or-later
"""Which accelerator a guest runs under, and why.

/dev/kvm can open, answer its API, create VMs and still hang Linux (seen with KVM offered inside a para-
virtualised host). So the only test that counts is a kernel that reached its ready marker; the answer is
remembered for this boot of the host, this QEMU, this kernel and this processor.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lab import files
from lab.errors import UserError
from lab.guest.argv import Accelerator
from lab.guest.qemu import Qemu
from lab.host import host_cpu
from lab.results.models import Clock

Policy = Literal["auto", "kvm", "tcg"]

PROBE_SECONDS = 15.0
"""The longest that finding out may take."""

DOUBTED_SECONDS = 3600.0
"""How long a kernel that was not ready in that time speaks against KVM: the host may just have been busy."""

KVM_GET_API_VERSION = 0xAE00  # linux/kvm.h
KVM_API = 12


@dataclass(frozen=True)
class Choice:
    """The accelerator that was chosen, with the reason that every result carries."""

    accelerator: Accelerator
    reason: str


def kvm_obstacle() -> str:
    """Why /dev/kvm cannot even be tried; "" if it can."""
    try:
        handle = os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return "this host has no /dev/kvm"
    except PermissionError:
        return "/dev/kvm may not be opened by this user (add the user to the group kvm)"
    except OSError as error:
        return f"/dev/kvm cannot be opened: {error.strerror}"
    try:
        version = fcntl.ioctl(handle, KVM_GET_API_VERSION)
    except OSError as error:
        return f"/dev/kvm does not answer: {error.strerror}"
    finally:
        os.close(handle)
    return "" if version == KVM_API else f"/dev/kvm speaks API {version}, not {KVM_API}"


def without_probe(policy: Policy, clock: Clock) -> Choice | None:
    """The choice where it needs no probing boot; None where only a boot can tell."""
    if clock is Clock.VIRTUAL:
        if policy == "kvm":
            raise UserError(
                "the virtual clock counts instructions, which KVM cannot",
                hint="use --clock real with KVM, or leave --accel out",
            )
        return Choice("tcg", "the virtual clock counts instructions, which only emulation can")
    if policy == "tcg":
        return Choice("tcg", "asked for with --accel tcg")
    obstacle = kvm_obstacle()
    if obstacle and policy == "kvm":
        raise UserError(f"--accel kvm: {obstacle}", hint="use --accel tcg")
    if obstacle:
        return Choice("tcg", obstacle)
    return None


@dataclass(frozen=True)
class Probed:
    """What a probing boot has found."""

    works: bool
    reason: str
    holds: float | None = None  # seconds for which it is believed; None: until the host reboots


class Remembered:
    """What probing boots have found, kept in the cache under the host's boot id."""

    def __init__(self, qemu: Qemu, kernel_id: str) -> None:
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        key = files.sha256_text(boot_id, qemu.path, qemu.banner, kernel_id, host_cpu(), str(os.geteuid()))
        self._path = files.cache_dir("kvm-probe") / f"{key[:24]}.json"
        self.lock = self._path.with_suffix(".lock")

    def read(self) -> Choice | None:
        try:
            kept = json.loads(self._path.read_text())
            if kept["until"] is not None and kept["until"] <= time.time():
                return None
            return Choice("kvm" if kept["works"] is True else "tcg", str(kept["reason"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, found: Probed) -> Choice:
        until = None if found.holds is None else time.time() + found.holds
        kept = {"works": found.works, "reason": found.reason, "until": until}
        files.write_whole(self._path, json.dumps(kept))
        return Choice("kvm" if found.works else "tcg", found.reason)
