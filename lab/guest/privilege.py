# SPDX-License-Identifier: GPL-2.0-or-later
"""As whom QEMU runs: never as root."""

from __future__ import annotations

import os
import pwd
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lab import files, proc
from lab.errors import InfraError
from lab.guest.argv import Launch
from lab.guest.vfio.devices import group_node

UNPRIVILEGED = "nobody"
KVM_DEVICE = Path("/dev/kvm")
UDMABUF_DEVICE = Path("/dev/udmabuf")

FIRMWARE_MEMORY = 64 << 20
"""Bytes of guest memory beside what was asked for: the firmware's, and small devices'."""


@dataclass(frozen=True)
class Confinement:
    """What to put before QEMU's arguments, and whom to become."""

    prefix: tuple[str, ...] = ()
    user: tuple[int, int] | None = None


def confined(launch: Launch) -> Confinement:
    """As whom QEMU runs, and what it is shown. VFIO keeps all of the guest's memory where it is."""
    nodes = [UDMABUF_DEVICE] if launch.machine.shared_memory and UDMABUF_DEVICE.exists() else []
    if launch.machine.passthrough is None:
        return confine(launch.accelerator, nodes=nodes)
    memory = launch.machine.memory_bytes + FIRMWARE_MEMORY
    nodes.append(group_node(launch.machine.passthrough.device))
    return confine(launch.accelerator, nodes=nodes, locked=memory)


def confine(accelerator: str, *, nodes: Sequence[Path] = (), locked: int = 0) -> Confinement:
    """Nothing for an ordinary user; for root, an unprivileged user who can open /dev/kvm if it is needed, and
    the device nodes `nodes`, and keep `locked` bytes of memory from being moved."""
    if os.geteuid() != 0:
        return Confinement()
    try:
        account = pwd.getpwnam(UNPRIVILEGED)
    except KeyError:
        raise InfraError(
            f"the lab was started as root and there is no user '{UNPRIVILEGED}' to run QEMU as",
            hint="start the lab as an ordinary user",
        ) from None
    ids = (account.pw_uid, account.pw_gid)
    if accelerator == "kvm" and KVM_DEVICE.exists():
        nodes = (KVM_DEVICE, *nodes)
    return Confinement(prefix=_with_devices(ids, nodes, locked)) if nodes else Confinement(user=ids)


def udmabuf_obstacle() -> str:
    """Why QEMU cannot make dma-bufs of a guest's memory, as blob=true of virtio-gpu does; "" if it can."""
    if not UDMABUF_DEVICE.exists():
        return f"this host has no {UDMABUF_DEVICE}"
    if os.geteuid() != 0 and not os.access(UDMABUF_DEVICE, os.R_OK | os.W_OK):
        return f"{UDMABUF_DEVICE} may not be opened by this user (add the user to the group kvm)"
    return ""


SHOW = (
    'set -e; [ "$1" = 0 ] || ulimit -l "$1"; owner=$2 folder=$3; shift 3; mount -t tmpfs tmpfs "$folder"; '
    'while [ "$1" != -- ]; do node=$folder/$2.$3; mknod -m 600 "$node" c "$2" "$3"; chown "$owner" "$node"; '
    'mount --bind "$node" "$1"; shift 3; done; shift; umount "$folder"; exec "$@"'
)
"""Run by sh as root in a mount namespace of its own: limit in KiB, owner, a folder to mount at; path, major
and minor number of each device; `--`, and what is to be run then."""


def _with_devices(ids: tuple[int, int], nodes: Sequence[Path], locked: int) -> tuple[str, ...]:
    """A command prefix that shows QEMU devices which its user owns, in a mount namespace of its own.

    Where /dev/kvm belongs to root alone, as a group of VFIO always does, an unprivileged user could not open
    it. The nodes are copies with another owner, on a file system of that namespace alone: one of the host's
    may be mounted `nodev`.
    """
    setpriv = proc.needed("setpriv", package="util-linux", why="it takes root from QEMU")
    unshare = proc.needed("unshare", package="util-linux", why="it gives QEMU its own view of devices")
    folder = files.cache_dir("kvm-probe")  # for a moment something else is seen there; any folder would do
    shown: list[str] = []
    for node in nodes:
        number = node.stat().st_rdev
        shown += [str(node), str(os.major(number)), str(os.minor(number))]
    become = (setpriv, f"--reuid={ids[0]}", f"--regid={ids[1]}", "--clear-groups", "--no-new-privs")
    again = ("--pdeathsig", "KILL", "--")  # becoming another user drops the parent-death signal
    told = (str(locked >> 10), f"{ids[0]}:{ids[1]}", str(folder), *shown, "--")
    return (unshare, "--mount", "--", "sh", "-c", SHOW, "sh", *told, *become, *again)
