# SPDX-License-Identifier: GPL-2.0-or-later
"""Attending to a guest that announces spans: each time it stands, the counters are read and it goes on."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from lab.errors import InfraError
from lab.guest.guest import Guest
from lab.instrument.exit_trace import ExitTrace, traced
from lab.instrument.exits import EMPTY_SPANS, MAX_SPANS, Counted, Snapshot, snapshot, spans_of
from lab.instrument.host_trace import HostTrace, not_recorded, recording

STANDS = "guest-panicked"
"""QEMU's name for the state in which pvpanic leaves a guest; no kernel of the lab's loads its driver."""

EVIDENCE = "exits.json"
MONITOR_SECONDS = 30.0
LAST_SECONDS = 2.0


class SpanCounter:
    """Counts the exits of one guest's spans: from `start` on, in every wait on the guest."""

    def __init__(self, guest: Guest, *, timeline: bool = False) -> None:
        self._guest = guest
        self._timeline = timeline
        self._recording: HostTrace | None = None
        self._snapshots: list[Snapshot] = []
        self._notes: list[str] = []
        self._trace: ExitTrace | None = None
        self._ending = contextlib.ExitStack()
        self._asked = -1  # events seen when the state was last asked for

    def __enter__(self) -> SpanCounter:
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.close()

    def start(self) -> None:
        """Once the guest is up: connect to its QEMU, and trace it if that is permitted."""
        with self._unless_it_ended():
            self._guest.connect_monitor(MONITOR_SECONDS)
            (thread,) = [int(cpu["thread-id"]) for cpu in self._execute("query-cpus-fast", {})]
            self._observe(thread)
            self._guest.attend = self.attend

    def _observe(self, thread: int) -> None:
        """Trace that virtual CPU, as far as it is permitted."""
        try:
            self._trace = self._ending.enter_context(traced(thread))
        except InfraError as error:
            self._notes.append(f"exits by reason: n/a: {error.message}")
        if self._timeline:
            self._record(thread)

    def attend(self) -> None:
        """If the guest stands at the edge of a span, count and let it go on."""
        events = self._guest.monitor.count("STOP")
        if events == self._asked or self._guest.exit_status is not None:
            return
        self._asked = events
        with self._unless_it_ended():
            self._count()

    @contextlib.contextmanager
    def _unless_it_ended(self) -> Iterator[None]:
        """A QEMU that has just ended answers nothing: whoever waits will see that it has."""
        try:
            yield
        except InfraError:
            if not self._guest.ended_within(LAST_SECONDS):
                raise

    def _count(self) -> None:
        if self._execute("query-status", {})["status"] != STANDS:
            return
        if len(self._snapshots) >= 2 * MAX_SPANS:
            raise InfraError(f"the workload announced more than {MAX_SPANS} spans")
        reasons = self._trace.read() if self._trace is not None else None
        self._snapshots.append(snapshot(self._execute, reasons))
        if self._recording is not None and len(self._snapshots) > 2 * EMPTY_SPANS:
            self._recording.edge(begins=len(self._snapshots) % 2 == 1)
        self._execute("cont", {})

    def _record(self, thread: int) -> None:
        """Have the host's part of a timeline recorded, if that is permitted."""
        try:
            self._recording = self._ending.enter_context(recording(thread, self._guest.folder))
        except InfraError as error:
            not_recorded(self._guest.folder, thread, error.message)

    def counted(self, report: str) -> Counted:
        """All spans, as the workload's report names them; the evidence is written beside it."""
        found = spans_of(self._snapshots, report)
        text = json.dumps([asdict(one) for one in self._snapshots], indent=1)
        (self._guest.folder / EVIDENCE).write_text(text + "\n")
        return Counted(found.spans, found.baseline, (*self._notes, *found.notes))

    def _execute(self, command: str, arguments: dict[str, object]) -> Any:
        return self._guest.monitor.execute(command, arguments, MONITOR_SECONDS)
