# SPDX-License-Identifier: GPL-2.0-or-later
"""Workers of a cluster as an executor: the same job, prepared here, carried out there.

A trial's boot is prepared on this host, as for any executor. What a worker lacks of it is sent there, and the
trial's folder comes back as a parcel. A job whose worker dies is tried once more, under another name, so that
a late answer of the first try is nobody's; one that has seen two workers die is not tried again.
"""

from __future__ import annotations

import contextlib
import pickle
import secrets
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from lab import log
from lab.campaign.parcel import unpack
from lab.campaign.schedule import Room
from lab.campaign.trial import boot_of, boot_patience
from lab.campaign.work import Work
from lab.cluster import resources
from lab.cluster.answers import finished, opened
from lab.cluster.link import Link, Slot
from lab.cluster.parts import Order, Part, parts_of, without_paths
from lab.cluster.quarantine import DEATHS, Quarantine
from lab.cluster.resources import Resources, nobody_has
from lab.cluster.task import carry
from lab.cluster.turns import Turns
from lab.errors import InfraError
from lab.guest.accelerator import Choice, Policy
from lab.guest.guest import Boot
from lab.guest.prepare import Bench
from lab.results.models import Clock, Trial
from lab.spec.models import Case
from lab.waiting import TICK, Deadline, check_stop

PATIENCE = 45.0
"""Seconds that a worker with what a trial needs may take to appear, such as one that is started again."""

QUEUE_SECONDS = 4 * 3600.0
"""How long a job may wait for its turn behind those of other campaigns."""

SENDING = 300.0
"""Seconds for kernel and image to reach a worker."""

COLLECTING = 120.0
"""Seconds for the evidence to come back."""


LOOK_SECONDS = 5.0
"""How often it is looked whether the workers that could take a job are still there."""


class _WorkerDied(Exception):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class _NobodyLeft(Exception):
    """The workers that could have taken the job went before one did."""


@dataclass
class Cluster:
    """Use `opened_cluster`. Its methods may be called by several threads."""

    link: Link
    patience: float = PATIENCE
    hosts: dict[tuple[str, str], str] = field(default_factory=dict)
    """Which host has a case and machine on the real clock: times of two hosts cannot be compared."""

    def __post_init__(self) -> None:
        self._session = secrets.token_hex(6)
        self._topic = f"faultlab-{self._session}"
        self._begun: dict[str, SimpleQueue[str]] = {}  # job -> addresses of workers that have begun it
        self._turns = Turns()
        self._quarantine = Quarantine()
        self._hopeless: set[tuple[tuple[str, float], ...]] = set()
        self._guard = threading.Lock()

    # ---- what the campaign asks ------------------------------------------------------------------

    @property
    def nested(self) -> bool:
        """On other machines, many at a time (executor.Elsewhere)."""
        return False

    @property
    def room(self) -> Room:
        """One trial for each worker; whether its host has the memory is asked for each trial."""
        return Room(max(1, len(self.link.slots())), 0)

    def refuses(self, case: Case) -> str:  # noqa: ARG002 - Elsewhere's signature
        """Nothing by itself: what no worker has is told when it is asked for."""
        return ""

    def choice(self, policy: Policy) -> Choice:
        """The accelerator of trials that do not count instructions."""
        if policy == "tcg":
            return Choice("tcg", "asked for with --accel tcg")
        if policy == "kvm":
            return Choice("kvm", "asked for with --accel kvm")
        if any(slot.resources.get("kvm", 0) for slot in self.link.slots()):
            return Choice("kvm", "a worker has it, which booted the stock kernel under it")
        return Choice("tcg", f"no worker at {self.link.address} has KVM")

    def run(self, bench: Bench, work: Work, folder: Path) -> Trial:
        """Carry out a trial on a worker (trial.Carrier). InfraError if none does it."""
        self._quarantine.check(work)
        wanted = resources.needed(work.case, work.choice, work.machine)
        self._fit(work, wanted)  # before a boot is prepared that nobody could have
        boot = boot_of(bench, work)
        parts = parts_of(boot)
        dead: list[str] = []
        while len(dead) < DEATHS:
            slots = self._fit(work, wanted)
            try:
                with self._turns.taken(frozenset(slot.address for slot in slots)):
                    head, parcel = self._once(work, boot, parts, slots, wanted, len(dead) + 1)
            except _NobodyLeft:
                continue
            except _WorkerDied as died:
                dead.append(died.name)
                log.info(f"{work.planned.key}: worker {died.name} died while it ran this")
                continue
            trial = unpack(parcel, folder, work.planned.key)
            return finished(trial, head, dead, boot, folder)
        raise self._quarantine.take(work, dead)

    # ---- who may take it -------------------------------------------------------------------------

    def _fit(self, work: Work, wanted: Resources) -> list[Slot]:
        """Workers that have what it needs, at least one. InfraError if there is none for a while."""
        kind = tuple(sorted(wanted.items()))
        deadline = Deadline("a worker", 0.0 if kind in self._hopeless else self.patience)
        while True:
            check_stop()
            slots = self.link.slots()
            able = [slot for slot in slots if resources.has(slot.resources, wanted)]
            if work.planned.clock is Clock.REAL:
                able = self._of_one_host(work, able)
            if able:
                self._hopeless.discard(kind)
                return able
            if deadline.expired:
                self._hopeless.add(kind)
                where = self.hosts.get((work.planned.case, work.planned.machine), "")
                if work.planned.clock is Clock.REAL and where:
                    raise InfraError(
                        f"{where} has no worker any more, and times of two hosts cannot be compared",
                        hint="start `lab worker` there and --resume, or make a new run",
                    )
                raise nobody_has(wanted, {slot.name: slot.resources for slot in slots})
            time.sleep(min(1.0, deadline.remaining + 0.01))

    def _of_one_host(self, work: Work, able: Sequence[Slot]) -> list[Slot]:
        """Those on the host that has this case and machine; the first time it is the one with the fewest."""
        with self._guard:
            key = (work.planned.case, work.planned.machine)
            if key not in self.hosts and able:
                given = list(self.hosts.values())
                self.hosts[key] = min(
                    (slot.host for slot in able), key=lambda host: (given.count(host), host)
                )
            return [slot for slot in able if slot.host == self.hosts.get(key)]

    # ---- one try ---------------------------------------------------------------------------------

    def _once(
        self,
        work: Work,
        boot: Boot,
        parts: tuple[Part, ...],
        slots: Sequence[Slot],
        wanted: Resources,
        number: int,
    ) -> tuple[dict[str, Any], bytes]:
        job = f"faultlab-{self._session}-{work.planned.key}-a{work.attempt}.{number}-{secrets.token_hex(4)}"
        boot_seconds, _ = boot_patience(work.kernel, boot.launch.accelerator)
        sent_work, sent_boot = without_paths(work, boot, parts)
        order = Order(
            job=job,
            topic=self._topic,
            work=sent_work,
            boot=sent_boot,
            orders=parts[-1].digest,
            seconds=boot_seconds + work.case.timeout,
            sending=SENDING,
            versions=self.link.versions,
        )
        self._begun[job] = SimpleQueue()
        # Again for each job: a scheduler that was started anew has forgotten it.
        self.link.client.subscribe_topic(self._topic, self._note)
        future = self.link.client.submit(
            carry,
            pickle.dumps(order),
            key=job,
            pure=False,
            retries=0,
            workers=[slot.address for slot in slots],
            resources=dict(wanted),
        )
        try:
            self._await(future, job, parts, {slot.address: slot for slot in slots})
            return opened(self._collected(future), job)
        finally:
            # Also what was finished is given up, so that no worker keeps it in memory.
            with contextlib.suppress(
                RuntimeError, OSError, TimeoutError
            ):  # the scheduler is gone: so is the job
                self.link.client.cancel([future], force=True)
            self._begun.pop(job, None)

    def _await(self, future: Any, job: str, parts: tuple[Part, ...], slots: dict[str, Slot]) -> None:
        """Until it has ended; sends what the worker lacks that has begun it. How long it may run is the
        worker's to watch."""
        queue = Deadline("its turn", QUEUE_SECONDS)
        look = Deadline("next look", LOOK_SECONDS)
        begun = False
        while future.status == "pending":
            check_stop()
            if self.link.client.status != "running":
                raise self.link.lost()
            with contextlib.suppress(Empty):
                address = self._begun[job].get(timeout=TICK / 2)
                begun = True
                slot = slots.get(address)
                with self._unless_dead(future):
                    self.link.send(address, slot.host if slot else address, parts, SENDING)
            if not begun and look.expired:
                there = {slot.address for slot in self.link.slots()} & slots.keys()
                if not there and not _ended_soon(future):
                    raise _NobodyLeft
                look = Deadline("next look", LOOK_SECONDS)
            if queue.expired:
                raise InfraError(f"no worker was free within {queue.seconds:.0f} s")

    @contextlib.contextmanager
    def _unless_dead(self, future: Any) -> Iterator[None]:
        """A worker that dies while it is sent something is told by its future."""
        try:
            yield
        except InfraError:
            if not _ended_soon(future):
                raise

    def _collected(self, future: Any) -> bytes:
        from distributed import KilledWorker

        if future.status == "finished":
            try:
                return bytes(future.result(timeout=COLLECTING))
            except KilledWorker as died:
                raise _WorkerDied(str(died.last_worker.name)) from None
            except (OSError, TimeoutError, KeyError) as error:
                raise InfraError(f"the trial's evidence did not arrive: {error}") from error
        if future.status != "error":
            raise (
                self.link.lost()
                if self.link.client.status != "running"
                else InfraError(f"the cluster gave the job up ({future.status})")
            )
        failure = future.exception(timeout=COLLECTING)
        if isinstance(failure, KilledWorker):
            raise _WorkerDied(str(failure.last_worker.name))
        raise InfraError(f"on the cluster: {type(failure).__name__}: {str(failure)[:1000]}")

    async def _note(self, event: tuple[float, Any]) -> None:
        """A worker says that it has begun a job."""
        _, said = event
        queue = self._begun.get(str(said.get("job"))) if isinstance(said, dict) else None
        if queue is not None:
            queue.put(str(said.get("worker")))


def _ended_soon(future: Any) -> bool:
    """Has a job ended? That its worker died is told a moment after the worker is gone."""
    soon = Deadline("word of its death", 5.0)
    while future.status == "pending":
        check_stop()
        if soon.expired:
            return False
        time.sleep(TICK / 4)
    return True


@contextlib.contextmanager
def opened_cluster(link: Link, hosts: Mapping[tuple[str, str], str]) -> Iterator[Cluster]:
    """The workers of a scheduler as an executor; `hosts` is where earlier trials on the real clock were."""
    yield Cluster(link, hosts=dict(hosts))
