# SPDX-License-Identifier: GPL-2.0-or-later
"""The two services of a cluster: `lab scheduler` and `lab worker`. Both run until they are stopped.

They are dask's own, with what dask leaves to whoever starts them settled: no address but the one that was
named, no dashboard, no work stealing, and no second try at a job whose worker died, which is the client's to
decide.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import files, log
from lab.cluster.address import Tls
from lab.cluster.resources import Resources, shown
from lab.cluster.store import Store
from lab.cluster.versions import Versions, differences, own_versions
from lab.errors import InfraError, UserError
from lab.waiting import TICK, stop_requested

NO_WORKERS_SECONDS = 60
"""After so long a job that no worker can take is an error."""

LOST_SECONDS = 60
"""After so long without a word a worker, or for a worker its scheduler, counts as dead."""

SETTINGS = {
    "distributed.scheduler.allowed-failures": 0,
    "distributed.scheduler.no-workers-timeout": f"{NO_WORKERS_SECONDS}s",
    "distributed.scheduler.work-stealing": False,
    "distributed.scheduler.worker-ttl": f"{LOST_SECONDS}s",
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    "distributed.worker.profile.enabled": False,
    "distributed.comm.timeouts.connect": "10s",
}

HIDDEN = "127.0.0.1:0"
"""Of the HTTP server that dask always starts; without routes it answers nothing."""

CONNECT_SECONDS = 10.0


@dataclass(frozen=True)
class About:
    """What a job finds out about the worker that it runs on."""

    versions: Versions
    store: Store


@dataclass(frozen=True)
class WorkerOptions:
    """How `lab worker` was started."""

    scheduler: str
    name: str
    host: str  # the address that it listens on
    resources: Resources
    versions: Versions
    folder: Path  # holds the store, and what jobs make
    store_limit: int  # bytes
    tls: Tls | None = None
    patience: float = LOST_SECONDS  # for a scheduler that does not answer


def run_scheduler(host: str, port: int, tls: Tls | None, lost: int = LOST_SECONDS) -> None:
    """Serve until ^C or SIGTERM. InfraError if the port is taken. A worker that has said nothing for `lost`
    seconds is dead; dask looks that often, so it is known after twice as long at the latest."""
    asyncio.run(_scheduler(host, port, tls, lost))


async def _scheduler(host: str, port: int, tls: Tls | None, lost: int) -> None:
    import dask
    from distributed import Scheduler

    with dask.config.set(SETTINGS | {"distributed.scheduler.worker-ttl": f"{lost}s"}):
        try:
            scheduler = Scheduler(
                host=host,
                port=port,
                protocol="tls" if tls else "tcp",
                security=tls.security() if tls else None,
                dashboard=False,
                dashboard_address=HIDDEN,
            )
            scheduler.handlers["lab_about"] = _about_scheduler
            await scheduler
        except (OSError, RuntimeError) as error:
            raise InfraError(
                f"no scheduler on {host}:{port}: {error}", hint="is one running, or is the address another's?"
            ) from error
        log.info(f"scheduler: {scheduler.address}")
        try:
            while not stop_requested.is_set():
                await asyncio.sleep(TICK)
        finally:
            await scheduler.close(reason="stopped")


async def _about_scheduler() -> dict[str, str]:
    return dict(own_versions())


def run_worker(options: WorkerOptions) -> None:
    """Serve until ^C or SIGTERM. InfraError if the scheduler cannot be reached, is of another version, or is
    lost: whoever starts services starts this one again."""
    asyncio.run(_worker(options))


async def _worker(options: WorkerOptions) -> None:
    import dask
    from distributed import Worker

    security = options.tls.security() if options.tls else None
    with dask.config.set(SETTINGS):
        await _check_scheduler(options, security)
        store = Store(options.folder / "store", options.store_limit)
        with files.scratch(options.folder / "dask" / "worker") as local:
            worker = Worker(
                options.scheduler,
                nthreads=1,
                name=options.name,
                host=options.host,
                resources=dict(options.resources),
                local_directory=str(local),
                death_timeout=options.patience,
                memory_limit=0,  # what takes memory is QEMU, which dask does not see
                security=security,
                dashboard=False,
                dashboard_address=HIDDEN,
                startup_information={"faultlab": lambda _worker: facts(options)},
            )
            worker.lab = About(options.versions, store)
            worker.handlers.update(_store_handlers(store))
            await _served(worker, options)


async def _served(worker: Any, options: WorkerOptions) -> None:
    try:
        await worker
    except (OSError, TimeoutError, ValueError) as error:  # ValueError: a worker of that name is there
        raise InfraError(f"worker {options.name} cannot join {options.scheduler}: {error}") from error
    log.info(f"worker {options.name}: {worker.address}, {shown(options.resources)}")
    try:
        while not stop_requested.is_set() and worker.status.name == "running":
            await asyncio.sleep(TICK)
    finally:
        await worker.close(timeout=30, reason="stopped")
    if not stop_requested.is_set():
        raise InfraError(f"worker {options.name} lost {options.scheduler}")


async def _check_scheduler(options: WorkerOptions, security: Any) -> None:
    """InfraError if it does not answer in time, or is not what we are."""
    about = await ask(options.scheduler, "lab_about", security, options.patience)
    wanted = {name: value for name, value in options.versions.items() if name != "qemu"}
    if wrong := differences(wanted, about):
        raise InfraError(
            f"the scheduler {options.scheduler} {wrong}",
            hint="install the same on all hosts, and start it with `lab scheduler` (docs/cluster.md)",
        )


async def ask(address: str, what: str, security: Any, seconds: float) -> object:
    """The answer of a scheduler or worker to one question. InfraError if there is none in time."""
    from distributed import rpc

    arguments = security.get_connection_args("client") if security is not None else None
    try:
        async with rpc(address, connection_args=arguments, timeout=seconds) as other:
            # A service that dask started closes the connection on a question that it does not know.
            return await asyncio.wait_for(getattr(other, what)(), seconds)
    except (OSError, TimeoutError) as error:
        raise unreachable(address, error) from error


def unreachable(address: str, error: Exception) -> InfraError:
    """The sentence for a scheduler that cannot be talked to."""
    why = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
    return InfraError(
        f"no scheduler answers at {address}: {why}",
        hint="start `lab scheduler` there; with TLS all sides need it (docs/cluster.md)",
    )


def facts(options: WorkerOptions) -> dict[str, object]:
    """What a worker tells of itself when it joins."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return {
        "versions": dict(options.versions),
        "host": os.uname().nodename,
        "boot": boot,  # tells hosts of one name apart
        "cpu_kvm": options.resources.get("kvm", 0),
    }


def _store_handlers(store: Store) -> Mapping[str, Any]:
    """What a client may ask of the store. A refusal is an answer, not a failure of the worker."""

    async def lab_missing(digests: list[str]) -> dict[str, object]:
        try:
            return {"missing": store.missing(digests[:1000])}
        except InfraError as error:
            return {"error": str(error)}

    async def lab_put(upload: str, digest: str, size: int, offset: int, data: bytes) -> dict[str, object]:
        try:
            return {"whole": store.receive(upload, digest, size, offset, data)}
        except InfraError as error:
            return {"error": str(error)}

    return {"lab_missing": lab_missing, "lab_put": lab_put}


def check_folder(folder: Path) -> None:
    """UserError if a worker cannot keep its files there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise UserError(f"cannot use {folder}: {error.strerror}") from error
    if free < 1 << 30:
        raise UserError(f"{folder} has {free >> 20} MiB left; a worker needs 1 GiB", hint="`lab gc`")
