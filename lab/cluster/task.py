# SPDX-License-Identifier: GPL-2.0-or-later
"""What dask runs on a worker: gets a job's files, starts its process, and ends it when nobody wants it.

dask does not stop code that runs. So this looks several times a second whether its task is wanted: it is not
any more once the client cancelled it, died, or is no longer heard of.
"""

from __future__ import annotations

import datetime
import json
import os
import pickle
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lab import files, log, proc
from lab.campaign.inside import NO, OK
from lab.campaign.parcel import MAX_BYTES
from lab.cluster.job import ANSWER, BEGUN, ORDER, TURN_SECONDS
from lab.cluster.parts import Order
from lab.cluster.store import Store
from lab.cluster.versions import differences
from lab.errors import InfraError, LabError
from lab.waiting import TICK, Deadline

LAST_MOMENTS = 8.0
"""Seconds that a job has to end its guest and to give a device back, before it is killed."""

MARGIN = 30.0
"""Seconds that a job may take beside its guest: Python starts, evidence is packed."""

JOBS = "jobs"

Wanted = Callable[[], bool]


class Gone(Exception):
    """Nobody waits for this job any more."""


def carry(packed: bytes) -> bytes:
    """Do a job on the worker that this runs on: a line of JSON about who did it and when, then its answer."""
    from distributed import get_worker

    worker = get_worker()
    order = pickle.loads(packed)  # noqa: S301 - the cluster's TLS, or its private network, says from whom
    key = worker.get_current_task()
    worker.log_event(order.topic, {"job": order.job, "worker": worker.address, "name": str(worker.name)})

    def wanted() -> bool:
        state = worker.state.tasks.get(key)
        return worker.status.name == "running" and state is not None and state.state == "executing"

    return answered(order, worker.lab, str(worker.name), wanted)


def answered(order: Order, about: Any, name: str, wanted: Wanted) -> bytes:
    """As `carry`, on this host; `about` is the worker's `Worker.lab` (lab.cluster.worker.About)."""
    head: dict[str, object] = {"job": order.job, "worker": name, "host": os.uname().nodename}
    try:
        if wrong := differences(order.versions, about.versions):
            raise InfraError(f"worker {name} {wrong}", hint="install the same on all hosts (docs/cluster.md)")
        with files.scratch(about.store.folder.parent / JOBS / "job") as folder:
            _fetch(order, about.store, folder, wanted)
            content = _run(order, folder, wanted, head)
    except LabError as error:
        content = NO + f"on worker {name}: {error}".encode()
    return json.dumps(head).encode() + b"\n" + content


def _fetch(order: Order, store: Store, folder: Path, wanted: Wanted) -> None:
    """Wait until the client has sent what the store lacks, and take it from there."""
    deadline = Deadline("arrival of kernel and image", order.sending)
    while lacking := store.missing(order.digests):
        if not wanted():
            raise Gone
        if deadline.expired:
            raise InfraError(
                f"{len(lacking)} files did not arrive within {order.sending:.0f} s",
                hint="the client must reach its workers: is there a firewall? (docs/cluster.md)",
            )
        time.sleep(TICK / 4)
    store.link(order.digests, folder)


def _run(order: Order, folder: Path, wanted: Wanted, head: dict[str, object]) -> bytes:
    """Start the job's process and wait for its answer; it is dead in any case when this returns."""
    (folder / ORDER).write_bytes(pickle.dumps(order))
    started = datetime.datetime.now(datetime.UTC)
    with (folder / "stderr").open("wb") as errors:
        # It has a process group of its own; with us, or with this thread, it dies.
        child = proc.spawn(
            [sys.executable, "-m", "lab.cluster.job", str(folder)],
            stderr=errors,
            env={**os.environ, "TMPDIR": str(folder), "PYDANTIC_DISABLE_PLUGINS": "__all__"},
        )
    patience = LAST_MOMENTS
    try:
        _follow(child, order, folder, wanted)
        patience = 0.0
    finally:
        proc.kill_group(child, patience=patience)
    head["started"] = started.isoformat(timespec="seconds")
    begun, ended = (folder / BEGUN, folder / ANSWER)
    if begun.exists() and ended.exists():
        head["seconds"] = round(ended.stat().st_mtime - begun.stat().st_mtime, 3)
    return _answer(child.returncode, folder)


def _follow(child: proc.Child, order: Order, folder: Path, wanted: Wanted) -> None:
    """Until it ends. InfraError after its time, which counts from its turn; Gone when nobody wants it."""
    begun = False
    turn = Deadline("its turn on the host", TURN_SECONDS + MARGIN)
    running = Deadline("the job", order.seconds + MARGIN)
    while child.poll() is None:
        if not wanted():
            log.info(f"{order.job}: nobody waits for it any more, it is ended")
            raise Gone
        begun = begun or (folder / BEGUN).exists()
        if not begun:
            running = Deadline("the job", order.seconds + MARGIN)
        late = running if begun else turn
        if late.expired:
            raise InfraError(f"{late.name} took longer than {late.seconds:.0f} s")
        time.sleep(TICK / 4)


def _answer(code: int, folder: Path) -> bytes:
    try:
        if (folder / ANSWER).stat().st_size > MAX_BYTES + (1 << 20):
            raise InfraError("the job's answer is too large")
        answer = (folder / ANSWER).read_bytes()
    except FileNotFoundError:
        tail = (folder / "stderr").read_bytes()[-2000:].decode(errors="replace").strip().splitlines()[-4:]
        raise InfraError(f"its process ended with status {code}: {' | '.join(tail) or 'no word'}") from None
    if answer[: len(OK)] not in (OK, NO):
        raise InfraError("the job's answer is damaged")
    return answer
