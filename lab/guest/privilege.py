# SPDX-License-Identifier: GPL-2.0-or-later
"""As whom QEMU runs: never as root."""

from __future__ import annotations

import os
import pwd
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from lab import files, proc
from lab.errors import InfraError

UNPRIVILEGED = "nobody"
KVM_DEVICE = Path("/dev/kvm")


@dataclass(frozen=True)
class Confinement:
    """What to put before QEMU's arguments, and whom to become."""

    prefix: tuple[str, ...] = ()
    user: tuple[int, int] | None = None


def confine(accelerator: str) -> Confinement:
    """Nothing for an ordinary user; for root, an unprivileged user who can open /dev/kvm if it is needed."""
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
    if accelerator != "kvm" or not KVM_DEVICE.exists():
        return Confinement(user=ids)
    return Confinement(prefix=_with_kvm_device(ids))


def _with_kvm_device(ids: tuple[int, int]) -> tuple[str, ...]:
    """A command prefix that shows QEMU a KVM device which its user owns, in a mount namespace of its own.

    Where /dev/kvm belongs to root alone, an unprivileged user could not open it. The node is a copy with
    another owner, gone from the file system as soon as it is mounted; `files.sweep` knows its folder's name.
    """
    setpriv = proc.needed("setpriv", package="util-linux", why="it takes root from QEMU")
    unshare = proc.needed("unshare", package="util-linux", why="it gives QEMU its own view of /dev/kvm")
    number = KVM_DEVICE.stat().st_rdev
    folder = tempfile.mkdtemp(dir=files.cache_dir("kvm-probe"), prefix=f".device.{os.getpid()}.")
    node = Path(folder) / "kvm"
    os.mknod(node, stat.S_IFCHR | 0o600, number)
    os.chown(node, *ids)
    script = 'mount --bind "$1" "$2" && rm -r "$(dirname "$1")" 2>/dev/null; shift 2; exec "$@"'
    become = (setpriv, f"--reuid={ids[0]}", f"--regid={ids[1]}", "--clear-groups", "--no-new-privs")
    again = ("--pdeathsig", "KILL", "--")  # becoming another user drops the parent-death signal
    return (unshare, "--mount", "--", "sh", "-c", script, "sh", str(node), str(KVM_DEVICE), *become, *again)
