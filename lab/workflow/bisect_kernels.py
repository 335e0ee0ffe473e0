# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernels of a bisection: obtained when they are needed, or before, while guests run."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet

from lab import files
from lab.errors import LabError
from lab.kernel.driver_build import with_drivers
from lab.kernel.kernel import Kernel
from lab.kernel.obtain import KCONFIG, obtain_step
from lab.kernel.series import read_series
from lab.results.bisect import Node
from lab.results.models import Subject
from lab.results.runfolder import RunFolder
from lab.spec.drivers import Driver
from lab.waiting import TICK, check_stop, unless
from lab.workflow.bisect_plan import mbox_of
from lab.workflow.subjects import obtain_subject

Get = Callable[[int], Kernel]


class Kernels:
    """Obtains kernels by their position. One at a time: they share object trees, and processors with guests.

    What is obtained ahead and turns out not to be wanted is given up, so that nobody waits for it.
    """

    def __init__(self, get: Get) -> None:
        self._get = get
        self._kept: dict[int, Kernel | LabError] = {}
        self._jobs: dict[int, tuple[Future[None], threading.Event]] = {}
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="kernels")
        self.seconds: list[float] = []  # that each kernel took
        self.waited = 0.0  # seconds in which nothing else was done

    def get(self, position: int) -> Kernel:
        """The kernel; raises what obtaining it raised."""
        started = time.monotonic()
        if position not in self._kept:
            self._only(position)
            job = self._jobs.get(position) or self._submitted(position)
            while True:
                check_stop()
                with contextlib.suppress(NotYet):
                    job[0].result(TICK)
                    break
            del self._jobs[position]
        self.waited += time.monotonic() - started
        kept = self._kept[position]
        if isinstance(kept, LabError):
            raise kept
        return kept

    def at_hand(self) -> list[int]:
        return [position for position, kept in self._kept.items() if not isinstance(kept, LabError)]

    def ahead(self, positions: Sequence[int]) -> None:
        """Begin to obtain what is likely to be wanted next, the likeliest first."""
        for position in positions:
            if position not in self._kept and position not in self._jobs:
                self._submitted(position)

    def pause(self) -> None:
        """Give up what is being obtained ahead."""
        self._only(None)

    def _only(self, position: int | None) -> None:
        for other in [other for other in self._jobs if other != position]:
            future, unwanted = self._jobs.pop(other)
            unwanted.set()
            future.cancel()

    def _submitted(self, position: int) -> tuple[Future[None], threading.Event]:
        unwanted = threading.Event()
        job = self._pool.submit(self._obtain, position, unwanted), unwanted
        self._jobs[position] = job
        return job

    def _obtain(self, position: int, unwanted: threading.Event) -> None:
        if position in self._kept:
            return
        started = time.monotonic()
        with unless(unwanted):
            try:
                check_stop()
                self._kept[position] = self._get(position)
            except LabError as error:
                if not unwanted.is_set():
                    self._kept[position] = error
                return
        self.seconds.append(time.monotonic() - started)

    @contextlib.contextmanager
    def working(self) -> Iterator[Kernels]:
        """Nothing goes on behind the end of the block."""
        try:
            yield self
        finally:
            self.pause()
            self._pool.shutdown()


def obtainer(run: RunFolder, nodes: Sequence[Node], series: str, drivers: Sequence[Driver]) -> Get:
    """How kernels of this history are obtained, with those of the lab's own modules that the case loads: what
    these are built on must not be taken by the next kernel. `series` is the path of its mbox in the run."""
    whole = read_series(run.path / series) if series else None

    def get(position: int) -> Kernel:
        subject = nodes[position].subject
        if whole is None:
            kernel = obtain_subject(subject, ())
        else:
            _keep_begun(run, subject, mbox_of(whole.first(position)) if position else b"")
            kernel = obtain_step(subject.kernel, whole, position, kconfig=subject.kconfig or KCONFIG)
        return with_drivers(kernel, drivers)

    return get


def _keep_begun(run: RunFolder, subject: Subject, mbox: bytes) -> None:
    """The patches up to this one, so that the record of the run tells how to have this kernel again."""
    for name in subject.mboxes:
        if not (run.path / name).exists():
            files.write_whole(run.path / name, mbox)
