# SPDX-License-Identifier: GPL-2.0-or-later
"""A campaign's connection to a cluster: which workers there are, what they are, and what they lack."""

from __future__ import annotations

import contextlib
import logging
import secrets
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab import log
from lab.cluster.address import Tls, scheduler_address
from lab.cluster.parts import Part
from lab.cluster.resources import Resources
from lab.cluster.serve import CONNECT_SECONDS, SETTINGS, ask, unreachable
from lab.cluster.store import PIECE
from lab.cluster.versions import Versions, differences, require_distributed
from lab.errors import InfraError
from lab.waiting import Deadline, check_stop

ANSWER_SECONDS = 30.0
"""For one question to a worker, or one piece of a file."""


@dataclass(frozen=True)
class Slot:
    """A worker whose versions are ours."""

    address: str
    name: str
    host: str
    resources: Resources


@dataclass
class Link:
    """Use `connected`, which closes it. May be used by several threads."""

    client: Any
    address: str
    versions: Versions
    strangers: set[str] = field(default_factory=set)  # told once
    _sending: defaultdict[str, threading.Lock] = field(default_factory=lambda: defaultdict(threading.Lock))
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def slots(self) -> list[Slot]:
        """The workers that there are now, without those that are not what we are: they are told, once each.

        InfraError if the scheduler does not answer.
        """
        found, strangers = _sorted_out(self._workers(), self.versions)
        for address, why in strangers.items():
            if address not in self.strangers:
                self.strangers.add(address)
                log.info(f"{why}: it gets no trial")
        return found

    def check(self) -> list[Slot]:
        """The workers at the start of a campaign. InfraError if one is not what we are, or if hosts cannot be
        told apart."""
        workers = self._workers()
        found, strangers = _sorted_out(workers, self.versions)
        if strangers:
            raise InfraError(
                "; ".join(strangers.values()), hint="install the same on all hosts (docs/cluster.md)"
            )
        boots: defaultdict[str, set[str]] = defaultdict(set)
        for about in workers.values():
            boots[about["faultlab"]["host"]].add(about["faultlab"]["boot"])
        if several := sorted(host for host, ids in boots.items() if len(ids) > 1):
            raise InfraError(
                f"several hosts are called {', '.join(several)}: their results could not be told apart",
                hint="give each host a name of its own (hostnamectl)",
            )
        return found

    def _workers(self) -> Mapping[str, Any]:
        if self.client.status != "running":
            raise self.lost()
        try:
            return dict(self.client.sync(self._identity, callback_timeout=ANSWER_SECONDS)["workers"])
        except (OSError, TimeoutError) as error:
            raise unreachable(self.address, error) from error

    async def _identity(self) -> Any:
        return await self.client.scheduler.identity(n_workers=-1)

    def lost(self) -> InfraError:
        """What is said when the scheduler is gone in the middle."""
        return InfraError(
            f"the scheduler at {self.address} is lost", hint="see its log; `--resume` goes on when it is back"
        )

    def send(self, slot_address: str, host: str, parts: Iterable[Part], seconds: float) -> None:
        """Bring to a worker's store what it lacks of these. InfraError names the worker if it does not take
        it in time."""
        deadline = Deadline("sending of kernel and image", seconds)
        with self._guard:
            turn = self._sending[host]  # workers of a host share their store
        while not turn.acquire(timeout=deadline.slice()):
            check_stop()
            if deadline.expired:
                raise InfraError(f"worker {slot_address} did not take its files within {seconds:.0f} s")
        try:
            wanted = {part.digest: part for part in parts}
            lacking = self._call(slot_address, "lab_missing", digests=list(wanted))["missing"]
            for digest in lacking:
                self._send_one(slot_address, wanted[digest], deadline)
        finally:
            turn.release()

    def _send_one(self, address: str, part: Part, deadline: Deadline) -> None:
        upload = secrets.token_hex(16)
        offset = 0
        for data in _pieces(part.source):
            check_stop()
            if deadline.expired:
                raise InfraError(f"worker {address} did not take its files within {deadline.seconds:.0f} s")
            self._call(
                address,
                "lab_put",
                upload=upload,
                digest=part.digest,
                size=part.size,
                offset=offset,
                data=data,
            )
            offset += len(data)

    def _call(self, address: str, what: str, **words: object) -> Mapping[str, Any]:
        async def call() -> Any:
            return await getattr(self.client.rpc(address), what)(**words)

        try:
            answer = self.client.sync(call, callback_timeout=ANSWER_SECONDS)
        except (OSError, TimeoutError) as error:
            raise InfraError(
                f"worker {address} cannot be reached from here: {error or type(error).__name__}",
                hint="kernels and images go straight to the workers: is there a firewall? (docs/cluster.md)",
            ) from error
        if not isinstance(answer, dict) or "error" in answer:
            raise InfraError(f"worker {address}: {str(answer)[:500]}")
        return answer


def _sorted_out(workers: Mapping[str, Any], ours: Versions) -> tuple[list[Slot], dict[str, str]]:
    """Those that are what we are, and why the others are not."""
    found: list[Slot] = []
    strangers: dict[str, str] = {}
    for address, about in sorted(workers.items(), key=lambda item: str(item[1].get("name"))):
        facts = about.get("faultlab")
        name = str(about.get("name", address))
        if wrong := differences(ours, facts.get("versions") if isinstance(facts, dict) else None):
            strangers[address] = f"worker {name} ({address}) {wrong}"
        elif about.get("status") in ("running", "paused", "init"):
            found.append(Slot(address, name, str(facts["host"]), dict(about["resources"])))
    return found, strangers


def _pieces(source: Path | bytes) -> Iterator[bytes]:
    if isinstance(source, bytes):
        yield from (source[at : at + PIECE] for at in range(0, len(source), PIECE))
        return
    with source.open("rb") as handle:
        while piece := handle.read(PIECE):
            yield piece


@contextlib.contextmanager
def connected(address: str, versions: Versions, tls: Tls | None = None) -> Iterator[Link]:
    """Connect to a scheduler and compare versions. UserError if the address is none, InfraError if nobody
    answers there or if it is of another version."""
    require_distributed()
    import dask
    from distributed import Client

    address = scheduler_address(address, tls=tls is not None)
    for name in ("distributed", "distributed.client", "distributed.core", "tornado"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what matters is told as an error of ours
    security = tls.security() if tls is not None else None
    with dask.config.set(SETTINGS), contextlib.ExitStack() as stack:
        try:
            client = stack.enter_context(
                Client(
                    address,
                    timeout=CONNECT_SECONDS,
                    security=security,
                    set_as_default=False,
                    direct_to_workers=True,  # the scheduler need not hold a trial's evidence
                )
            )
        except (OSError, TimeoutError, RuntimeError, ValueError) as error:
            raise unreachable(address, error) from error
        link = Link(client, address, versions)
        about = client.sync(ask, address, "lab_about", security, CONNECT_SECONDS)
        wanted = {name: value for name, value in versions.items() if name != "qemu"}
        if wrong := differences(wanted, about):
            raise InfraError(
                f"the scheduler {address} {wrong}", hint="install the same on all hosts (docs/cluster.md)"
            )
        yield link
