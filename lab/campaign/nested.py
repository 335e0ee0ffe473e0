# SPDX-License-Identifier: GPL-2.0-or-later
"""The nested lab host as an executor: booted by the first trial that needs it, once for all that follow.

It is a guest like any other: bounded in every wait, dead with the lab. One that hangs, panics or breaks the
protocol is ended, its trial is ERROR, and the next one gets a fresh host.
"""

from __future__ import annotations

import contextlib
import pickle
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from lab import log
from lab.campaign.inside import carry_out
from lab.campaign.parcel import unpack
from lab.campaign.talk import Refused, check, facts, reply, send, without_kvm
from lab.campaign.trial import boot_of, boot_patience
from lab.campaign.work import Work
from lab.errors import InfraError
from lab.guest.accelerator import Choice, Policy
from lab.guest.guest import Guest, booted
from lab.guest.labhost import KCONFIG, MACHINE, LabHost, prepare_lab_host, right_tsc_khz
from lab.guest.port import framed
from lab.guest.prepare import Bench, guest_memory
from lab.kernel.obtain import obtain
from lab.results.models import Trial
from lab.spec.models import Case, Machine, size_in_bytes
from lab.waiting import Deadline

T = TypeVar("T")

KERNEL = "stock"
UDMABUF_KERNEL = "debian:6.12"
"""For what needs udmabuf, where the default has none: Debian's kernels have it from 6.12 on."""

BOOT_SECONDS = 180.0
"""From the start of the nested host's QEMU to the ready marker; many times what an idle host takes."""

SERVE_SECONDS = 240.0
"""From its ready marker to its first word on the port: Python starts, under emulation."""

MARGIN_SECONDS = 60.0
"""What a trial may take beside its own deadlines, which are kept in there: to start QEMU, to pack."""

OWN_MEMORY = 1280 << 20
"""Bytes for its own kernel, Python, QEMU, and a trial's evidence, which lies in memory there."""

SERVICE = "lab.campaign.inside"

MAX_BOOT_LOG = 1 << 20
"""Bytes of console that are looked at."""


@dataclass
class _Running:
    """A booted host that has said that it serves."""

    guest: Guest
    room: int  # bytes for the memory of a guest in it
    udmabuf: bool
    ending: contextlib.ExitStack


class NestedHost:
    """Use `nested_host`, which ends it in every case. Its methods may be called by several threads: jobs are
    done one after the other."""

    def __init__(
        self, bench: Bench, folder: Path, *, kernel: str = KERNEL, machine: Machine = MACHINE
    ) -> None:
        """Boots nothing yet. Evidence of each host that is booted goes into a folder below `folder`."""
        self._bench = bench
        self._folder = folder
        self.kernel = kernel
        self._machine = machine
        self._running: _Running | None = None
        self._booted = 0
        self._tsc_khz: int | None = None  # to be told to its kernel, if one measured it wrong
        # QEMU dies with the thread that started it: this one lives until `close`.
        self._owner = ThreadPoolExecutor(1, thread_name_prefix="nested-host")

    @property
    def nested(self) -> bool:
        """One trial after the other (executor.Elsewhere)."""
        return True

    @property
    def room(self) -> None:
        """Of this host."""
        return None

    def choice(self, policy: Policy) -> Choice:  # noqa: ARG002 - Elsewhere's signature
        """Always its own KVM."""
        return Choice("kvm", "asked for with --executor nested")

    def refuses(self, case: Case) -> str:
        """Why it cannot carry out this case (executor.Elsewhere)."""
        if case.clock == "virtual":
            return "the case counts instructions, which KVM in the nested lab host cannot"
        return ""

    def run(self, bench: Bench, work: Work, folder: Path) -> Trial:
        """Carry out a trial in there (trial.Carrier). InfraError if the host does not do it."""
        work = replace(work, choice=Choice("kvm", f"nested: {work.choice.reason}"), nested=True)
        boot = boot_of(bench, work)
        boot_seconds, _ = boot_patience(work.kernel, "nested")
        seconds = boot_seconds + work.case.timeout + MARGIN_SECONDS
        memory = guest_memory(work.case, work.machine)

        def job() -> bytes:
            host = self._host(room_for=memory, udmabuf="udmabuf" in work.case.needs)
            inner = portable(replace(work, outer_argv=host.guest.argv))
            return self._ask(carry_out, bench, inner, boot, seconds=seconds)

        return unpack(self._owned(job), folder, work.planned.key)

    def call(self, function: Callable[..., bytes], *arguments: object, seconds: float) -> bytes:
        """Run a function of an importable module in there and return its bytes. InfraError if it fails, says
        why, or takes longer than `seconds`."""
        return self._owned(lambda: self._ask(function, *arguments, seconds=seconds))

    @property
    def guest(self) -> Guest:
        """The guest that is the host, booted if it does not run."""
        return self._owned(lambda: self._host().guest)

    def close(self) -> None:
        """End it; nothing can be asked of it afterwards."""
        self._owner.submit(self._end).result()
        self._owner.shutdown()

    def _owned(self, do: Callable[[], T]) -> T:
        return self._owner.submit(do).result()

    def _host(self, *, room_for: int = 0, udmabuf: bool = False) -> _Running:
        """The running host with `room_for` bytes for a guest: a fresh one if there is none, if it is too
        small or lacks udmabuf, or if it died while nobody looked."""
        running = self._running
        if running is not None and (
            running.guest.exit_status is not None or running.room < room_for or running.udmabuf < udmabuf
        ):
            self._end()
        if self._running is None:
            memory = nested_memory(room_for, self._machine)
            with log.step("boot the nested lab host"):
                self._running = self._boot(memory, udmabuf=udmabuf)
        return self._running

    def _boot(self, memory: int, *, udmabuf: bool) -> _Running:
        self._booted += 1
        while (folder := self._folder / str(self._booted)).exists():  # of a run that is gone on with
            self._booted += 1
        folder.mkdir(parents=True)
        kernel = obtain(self.kernel, with_build=False, kconfig=KCONFIG)
        if udmabuf and self.kernel == KERNEL and kernel.options_off(["UDMABUF"]):
            kernel = obtain(UDMABUF_KERNEL, with_build=False)
        command = (sys.executable, "-m", SERVICE)
        machine = self._machine.model_copy(update={"memory": f"{-(-memory >> 20)}M"})
        clock = () if self._tsc_khz is None else (f"tsc_early_khz={self._tsc_khz}",)
        boot = prepare_lab_host(self._bench, LabHost(kernel, command, machine, clock))
        with contextlib.ExitStack() as stack:
            guest = stack.enter_context(booted(boot, folder))
            ready = Deadline("boot of the nested lab host", BOOT_SECONDS)
            check(guest, guest.wait_ready(ready, silence=BOOT_SECONDS), ready)
            if self._tsc_khz is None and (khz := right_tsc_khz(_begin_of_console(guest))) is not None:
                log.info(f"the nested lab host measured its clock wrong: booted again with {khz} kHz")
                self._tsc_khz = khz
                stack.close()
                return self._boot(memory, udmabuf=udmabuf)
            about = facts(guest, Deadline("start of the service in the nested lab host", SERVE_SECONDS))
            if about.kvm:
                raise without_kvm(guest, about.kvm)
            if udmabuf and about.udmabuf:
                raise InfraError(f"the nested lab host has no udmabuf: {about.udmabuf}")
            return _Running(guest, memory - OWN_MEMORY, not about.udmabuf, stack.pop_all())
        raise AssertionError

    def _ask(self, function: Callable[..., bytes], *arguments: object, seconds: float) -> bytes:
        """Send a job and wait for its answer; a host that does not give one is ended."""
        guest = self._host().guest
        deadline = Deadline(f"job {function.__name__} in the nested lab host", seconds)
        try:
            send(guest, framed(pickle.dumps((function, arguments))), deadline)
            return reply(guest, deadline, poke=True)
        except Refused:
            raise
        except BaseException:
            self._end()
            raise

    def _end(self) -> None:
        if self._running is not None:
            running, self._running = self._running, None
            running.ending.close()


def _begin_of_console(guest: Guest) -> bytes:
    with (guest.folder / "console.log").open("rb") as file:
        return file.read(MAX_BOOT_LOG)


def nested_memory(room_for: int, machine: Machine = MACHINE) -> int:
    """Bytes of a host that has `room_for` bytes for a guest."""
    return max(size_in_bytes(machine.memory), room_for + OWN_MEMORY)


def portable(work: Work) -> Work:
    """Without what only preparing a boot needs: it has been prepared."""
    kernel = replace(work.kernel, drivers={}, replaced={}, ground=None, suite=None, source_package=None)
    return replace(work, kernel=kernel)


@contextlib.contextmanager
def nested_host(
    bench: Bench, folder: Path, *, kernel: str = KERNEL, machine: Machine = MACHINE
) -> Iterator[NestedHost]:
    """A host that is booted when it is first asked for something, and ended in any case."""
    host = NestedHost(bench, folder, kernel=kernel, machine=machine)
    try:
        yield host
    finally:
        host.close()
