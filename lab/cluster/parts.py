# SPDX-License-Identifier: GPL-2.0-or-later
"""What a prepared boot is made of: its files by digest, and the rest as an order without a path in it."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from lab import files
from lab.campaign.nested import portable
from lab.campaign.work import Work
from lab.errors import InfraError
from lab.guest.guest import Boot
from lab.image.initramfs import Initramfs


@dataclass(frozen=True)
class Part:
    """A file that a worker must have, or its content."""

    digest: str
    size: int  # bytes
    source: Path | bytes


@dataclass(frozen=True)
class Order:
    """One job, as it goes through the scheduler: some kilobytes."""

    job: str  # names the attempt as well
    topic: str  # where the worker says that it has begun
    work: Work
    boot: Boot  # paths are digests, `initramfs.orders` is empty
    orders: str  # digest of the initramfs' last part
    seconds: float  # for the guest, from its start
    sending: float  # seconds for what the worker lacks to arrive
    versions: Mapping[str, str]

    @property
    def digests(self) -> list[str]:
        """All that the worker must have."""
        return [str(self.boot.kernel), *(str(part) for part in self.boot.initramfs.cached), self.orders]


def parts_of(boot: Boot) -> tuple[Part, ...]:
    """The kernel, the cached parts of the initramfs, and its last part, in this order.

    Disks are empty files and devices are the worker's; a guest that shares folders of its host (the nested
    lab host) or has a port on it cannot go to another one: InfraError.
    """
    if boot.launch.shares or boot.launch.ssh_port is not None or boot.launch.gdb is not None:
        raise InfraError("this guest is tied to its host, and cannot be sent to another one")
    return (
        *(_file(path) for path in (boot.kernel, *boot.initramfs.cached)),
        _bytes(boot.initramfs.orders),
    )


def without_paths(work: Work, boot: Boot, parts: tuple[Part, ...]) -> tuple[Work, Boot]:
    """What of them is the same on every host."""
    kernel, *cached, _ = (part.digest for part in parts)
    named = Initramfs(tuple(Path(digest) for digest in cached), b"")
    launch = replace(boot.launch, qemu="qemu", kernel=kernel)
    return portable(work), Boot(launch, Path(kernel), named, boot.nonce)


def localized(order: Order, folder: Path, qemu: str) -> Boot:
    """The order's boot on a host that has its files in `folder`, each under its digest."""
    boot = order.boot
    kernel = folder / boot.kernel
    initramfs = Initramfs(
        tuple(folder / part for part in boot.initramfs.cached), (folder / order.orders).read_bytes()
    )
    return Boot(replace(boot.launch, qemu=qemu, kernel=str(kernel)), kernel, initramfs, boot.nonce)


_known: dict[tuple[str, int, int], str] = {}
_guard = threading.Lock()


def _file(path: Path) -> Part:
    """Read once in a process: a file of the cache does not change, and if it does, its stamp tells."""
    about = path.stat()
    stamp = (str(path), about.st_size, about.st_mtime_ns)
    with _guard:
        if stamp not in _known:
            _known[stamp] = files.sha256_file(path)
        return Part(_known[stamp], about.st_size, path)


def _bytes(content: bytes) -> Part:
    return Part(hashlib.sha256(content).hexdigest(), len(content), content)
