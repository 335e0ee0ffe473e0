# SPDX-License-Identifier: GPL-2.0-or-later
"""What `lab worker` does: find out what this host has, then serve."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from lab import files, log
from lab.cluster import resources
from lab.cluster.address import Tls, own_address, scheduler_address
from lab.cluster.serve import WorkerOptions, check_folder, run_worker
from lab.cluster.versions import own_versions, with_qemu
from lab.errors import UserError
from lab.guest.qemu import find_qemu
from lab.guest.vfio.hold import sweep as vfio_sweep

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class Asked:
    """What was typed."""

    scheduler: str
    name: str | None
    resources: str
    host: str | None
    store_limit: int  # bytes
    tls_ca: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None


def probe_host(asked: Asked) -> tuple[dict[str, float], list[str]]:
    """The tags that this host would offer, and why it lacks the others."""
    return resources.offered(resources.parse(asked.resources))


def serve(asked: Asked) -> None:
    """Serve until ^C or SIGTERM. Raises UserError, and InfraError as `run_worker`."""
    tls = Tls.of(asked.tls_ca, asked.tls_cert, asked.tls_key)
    if not asked.scheduler:
        raise UserError("which scheduler?", hint="lab worker --scheduler tcp://10.0.0.1:8786")
    address = scheduler_address(asked.scheduler, tls=tls is not None)
    name = asked.name or f"{os.uname().nodename}-{os.getpid()}"
    if not NAME.fullmatch(name):
        raise UserError(f"{name!r:.80} is no worker's name", hint="letters, digits, . _ -")
    folder = files.cache_dir("cluster")
    check_folder(folder)
    files.sweep()  # what a worker that was killed has left
    vfio_sweep()
    qemu = find_qemu()
    tags, lacking = probe_host(asked)
    for why in lacking:
        log.info(why)
    run_worker(
        WorkerOptions(
            scheduler=address,
            name=name,
            host=asked.host or own_address(address),
            resources=tags,
            versions=with_qemu(own_versions(), qemu),
            folder=folder,
            store_limit=asked.store_limit,
            tls=tls,
        )
    )
