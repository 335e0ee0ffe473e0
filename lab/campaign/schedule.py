# SPDX-License-Identifier: GPL-2.0-or-later
"""In which order trials are run and which of them at the same time: pure, so that a night can be foretold.

Larger priority first; among equals those that must be alone last, then the longest first, then the order of
the plan. A trial is started when processors and memory have room for it. One that does not fit is overtaken
by others of its priority, not by those of a smaller one: it would wait for ever.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from lab.results.models import Clock
from lab.spec.models import Case

GUESSES = {Clock.VIRTUAL: 10.0, Clock.REAL: 10.0, Clock.FUNCTIONAL: 20.0}
"""Seconds of a trial that was never run, by its clock: about the middle of those of the shipped cases."""

GUESS_NESTED = 60.0
"""The same, of one that the nested lab host runs, under emulated KVM."""

Origin = Literal["learned", "alike", "guess"]
"""From earlier trials of the case on that machine; from those on others; from the clock alone."""

DurationKey = tuple[str, str, str]
"""Case, machine, clock."""


class Duration(NamedTuple):
    """Host seconds that a trial is expected to take, and why."""

    seconds: float
    origin: Origin


class Durations:
    """What earlier trials took."""

    def __init__(self, learned: Mapping[DurationKey, float] | None = None) -> None:
        """`learned`: seconds by case, machine and clock."""
        self._learned = dict(learned or {})
        alike: dict[tuple[str, str], list[float]] = {}
        for (case, _machine, clock), seconds in self._learned.items():
            alike.setdefault((case, clock), []).append(seconds)
        self._alike = {key: max(found) for key, found in alike.items()}

    def of(self, case: Case, machine: str, clock: Clock) -> Duration:
        """What a trial will take."""
        known = self._learned.get((case.name, machine, str(clock)))
        if known is not None:
            return Duration(known, "learned")
        known = self._alike.get((case.name, str(clock)))
        if known is not None:
            return Duration(known, "alike")
        return Duration(
            GUESS_NESTED if case.needs else GUESSES.get(clock, GUESSES[Clock.FUNCTIONAL]), "guess"
        )


class Room(NamedTuple):
    """What guests may take at the same time."""

    cores: int
    memory: int  # bytes


@dataclass(frozen=True, slots=True)
class Demand:
    """What one trial takes while it runs."""

    number: int  # order in the plan; tells one from another
    seconds: float = 0.0  # expected
    memory: int = 0  # bytes
    cores: int = 1
    priority: int = 0
    alone: bool = False  # no other may run at the same time
    lane: str = ""  # of those in one lane, one at a time

    @property
    def order(self) -> tuple[int, bool, float, int]:
        return -self.priority, self.alone, -self.seconds, self.number


class Queue:
    """Trials that wait, and what those that run take."""

    def __init__(self, demands: Iterable[Demand], room: Room) -> None:
        self.room = room
        self._running: dict[int, Demand] = {}
        self._cores = self._memory = 0  # that these take
        self._lines: dict[Kind, deque[Demand]] = {}
        for one in sorted(demands, key=lambda each: each.order):
            # Only the first of those that need the same can be the next one.
            self._lines.setdefault(_kind(one), deque()).append(one)

    def __len__(self) -> int:
        """How many wait."""
        return sum(len(line) for line in self._lines.values())

    @property
    def running(self) -> tuple[Demand, ...]:
        return tuple(self._running.values())

    def take(self) -> Demand | None:
        """The next one that can be started now, which counts as running from here on; None if none can."""
        if self._running and self._cores >= self.room.cores:
            return None
        heads = sorted((line[0] for line in self._lines.values()), key=lambda one: one.order)
        held: int | None = None  # the priority of one that waits for room
        for one in heads:
            if held is not None and one.priority < held:
                return None
            if self._fits(one):
                return self._start(one)
            if not self._lane_busy(one):
                held = one.priority
        return None

    def done(self, one: Demand) -> None:
        """It has ended."""
        del self._running[one.number]
        self._cores -= self._cores_of(one)
        self._memory -= one.memory

    def left(self) -> list[Demand]:
        """Those that wait, in their order."""
        return sorted((one for line in self._lines.values() for one in line), key=lambda each: each.order)

    def _fits(self, one: Demand) -> bool:
        if not self._running:
            return True  # at least one runs, however little room there is
        if one.alone or any(other.alone for other in self._running.values()) or self._lane_busy(one):
            return False
        return (
            self._cores + self._cores_of(one) <= self.room.cores
            and self._memory + one.memory <= self.room.memory
        )

    def _cores_of(self, one: Demand) -> int:
        return min(one.cores, self.room.cores)

    def _lane_busy(self, one: Demand) -> bool:
        return bool(one.lane) and any(other.lane == one.lane for other in self._running.values())

    def _start(self, one: Demand) -> Demand:
        line = self._lines[_kind(one)]
        line.popleft()
        if not line:
            del self._lines[_kind(one)]
        self._running[one.number] = one
        self._cores += self._cores_of(one)
        self._memory += one.memory
        return one


Kind = tuple[int, bool, str, int, int]


def _kind(one: Demand) -> Kind:
    """Equal for those of which one fits exactly if the other does."""
    return one.priority, one.alone, one.lane, one.cores, one.memory


class Slot(NamedTuple):
    """When a trial is expected to run, in seconds from the beginning."""

    demand: Demand
    start: float
    end: float


def simulate(demands: Sequence[Demand], room: Room) -> Iterator[Slot]:
    """When each trial would run if all took as long as expected, in the order in which they would start."""
    queue = Queue(demands, room)
    ends: list[tuple[float, int, Demand]] = []
    now = 0.0
    while True:
        while (one := queue.take()) is not None:
            heapq.heappush(ends, (now + one.seconds, one.number, one))
            yield Slot(one, now, now + one.seconds)
        if not ends:
            return
        now, _, ended = heapq.heappop(ends)
        queue.done(ended)


def expected_seconds(demands: Sequence[Demand], room: Room) -> float:
    """How long all of them are expected to take."""
    return max((slot.end for slot in simulate(demands, room)), default=0.0)
