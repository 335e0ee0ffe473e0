# SPDX-License-Identifier: GPL-2.0-or-later
"""The packing of trials: nothing over cores and memory, everything once, nobody overtaken for ever."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.campaign.schedule import Demand, Durations, Queue, Room, Slot, expected_seconds, simulate
from lab.results.models import Clock
from lab.spec.catalog import Catalog

ROOM = Room(cores=2, memory=1000)


def order(*demands: Demand, room: Room = ROOM) -> list[int]:
    return [slot.demand.number for slot in simulate(demands, room)]


def test_longest_first_and_priority_before_that() -> None:
    """Of equal length, the order of the plan."""
    assert order(Demand(1, 1), Demand(2, 9), Demand(3, 9), Demand(4, 2, priority=1)) == [4, 2, 3, 1]


def test_memory_is_packed_and_not_sliced_by_the_largest() -> None:
    """A large guest does not keep small ones from running beside each other."""
    large, small = Demand(1, 10, memory=900), [Demand(n, 10, memory=100) for n in (2, 3, 4)]
    assert expected_seconds([large, *small], ROOM) == 20
    assert expected_seconds([large, *(Demand(n, 10, memory=200) for n in (2, 3, 4))], ROOM) == 30


def test_one_that_is_larger_than_the_machine_runs_alone() -> None:
    """It is for the kernel to say that there is no memory; a plan is never stuck."""
    slots = list(simulate([Demand(1, 5, memory=5000), Demand(2, 9, memory=1)], ROOM))
    assert [(slot.demand.number, slot.start) for slot in slots] == [(2, 0), (1, 9)]
    assert order(Demand(1, 5, cores=16)) == [1]


def test_alone_is_alone_and_comes_last() -> None:
    """Trials on the real clock: nothing beside them, and the processors are emptied for them once."""
    slots = list(
        simulate([Demand(1, 9, alone=True), Demand(2, 3), Demand(3, 5), Demand(4, 2, alone=True)], ROOM)
    )
    assert [(slot.demand.number, slot.start) for slot in slots] == [(3, 0), (2, 0), (1, 5), (4, 14)]


def test_a_smaller_priority_does_not_overtake_one_that_waits_for_room() -> None:
    """Else a stream of small trials would keep it waiting to the end of the night."""
    wide = Demand(2, 1, memory=1000, priority=1)
    assert order(Demand(1, 10, memory=100, priority=1), wide, Demand(3, 3), Demand(4, 3)) == [1, 2, 3, 4]


def test_a_busy_lane_holds_nobody_else_up() -> None:
    """The nested lab host does one at a time; other trials run beside it."""
    nested = [Demand(n, 10, lane="nested", priority=1) for n in (1, 2)]
    slots = list(simulate([*nested, Demand(3, 4)], ROOM))
    assert [(slot.demand.number, slot.start) for slot in slots] == [(1, 0), (3, 0), (2, 10)]


def test_what_waits_is_told_in_order() -> None:
    """What a time budget leaves out."""
    queue = Queue([Demand(1, 1), Demand(2, 5), Demand(3, 3)], Room(1, 0))
    assert queue.take() == Demand(2, 5)
    assert queue.take() is None
    assert [one.number for one in queue.left()] == [3, 1]
    assert len(queue) == 2


demand = st.builds(
    Demand,
    number=st.integers(),
    seconds=st.floats(0.1, 100),
    memory=st.integers(0, 1500),
    cores=st.integers(1, 4),
    priority=st.integers(0, 2),
    alone=st.booleans(),
    lane=st.sampled_from(["", "", "", "nested"]),
)


@given(st.lists(demand, max_size=40, unique_by=lambda one: one.number), st.integers(1, 4))
def test_nothing_over_cores_or_memory_and_every_one_once(demands: list[Demand], cores: int) -> None:
    """At every moment of every night; but one that is larger than the machine runs, by itself."""
    room = Room(cores, 1000)
    slots = list(simulate(demands, room))
    assert sorted(slot.demand.number for slot in slots) == sorted(one.number for one in demands)
    for slot in slots:
        together = [other.demand for other in slots if _at_once(other, slot.start)]
        assert slot.demand in together
        if len(together) > 1:
            assert sum(one.memory for one in together) <= room.memory
            assert sum(min(one.cores, cores) for one in together) <= cores
            assert not any(one.alone for one in together)
            assert sum(one.lane == "nested" for one in together) <= 1


@given(st.lists(demand, max_size=30, unique_by=lambda one: one.number))
def test_the_same_plan_is_packed_the_same_way(demands: list[Demand]) -> None:
    """Whatever order the demands come in."""
    assert list(simulate(demands, ROOM)) == list(simulate(list(reversed(demands)), ROOM))


@given(st.lists(st.floats(0.1, 50), min_size=1, max_size=30))
def test_no_processor_idles_while_something_waits(seconds: list[float]) -> None:
    """For trials that fit beside each other: longest first is at most a third over what is possible."""
    found = expected_seconds([Demand(n, one) for n, one in enumerate(seconds)], ROOM)
    best = max(*seconds, sum(seconds) / 2)
    assert found <= best * 4 / 3 + 1e-6


def _at_once(slot: Slot, moment: float) -> bool:
    return slot.start <= moment < slot.end


@pytest.mark.parametrize(
    ("case", "machine", "clock", "expected"),
    [
        ("smoke/boot", "qxl", Clock.VIRTUAL, (4.0, "learned")),
        ("smoke/boot", "virtio-gpu", Clock.VIRTUAL, (6.0, "alike")),
        ("smoke/boot", "qxl", Clock.REAL, (10.0, "guess")),
        ("prefault/exits", "qxl", Clock.FUNCTIONAL, (60.0, "guess")),
    ],
)
def test_durations_say_where_they_come_from(case, machine, clock, expected) -> None:
    """From the very cell's past, from the case elsewhere, or from nothing but its clock."""
    durations = Durations({("smoke/boot", "qxl", "virtual"): 4.0, ("smoke/boot", "bochs", "virtual"): 6.0})
    assert durations.of(Catalog.load().case(case), machine, clock) == expected
