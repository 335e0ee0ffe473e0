# SPDX-License-Identifier: GPL-2.0-or-later
"""Whose turn it is: on a host, and among jobs that need the same workers."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from lab.cluster.turns import Turns, turn
from lab.errors import InfraError
from lab.waiting import Deadline


@pytest.fixture
def host(tmp_path: Path) -> dict[str, Path]:
    """A made-up one, so that no other test waits."""
    folders = {"door": tmp_path / "door", "room": tmp_path / "room"}
    for folder in folders.values():
        folder.mkdir()
    return folders


def free(host: dict[str, Path], *, alone: bool) -> bool:
    """May one more come in?"""
    try:
        with turn(alone=alone, deadline=Deadline("a turn", 0.2), **host):
            return True
    except InfraError:
        return False


def test_on_the_real_clock_a_trial_is_alone(host: dict[str, Path]) -> None:
    """Others run beside each other, not beside it, and it not beside them."""
    with turn(alone=False, deadline=Deadline("first", 1), **host):
        assert free(host, alone=False)
        assert not free(host, alone=True)
    with turn(alone=True, deadline=Deadline("first", 1), **host):
        assert not free(host, alone=False)
        assert not free(host, alone=True)
    assert free(host, alone=True)


def test_who_waits_to_be_alone_is_not_overtaken(host: dict[str, Path]) -> None:
    """While it waits for those inside, nobody else comes in."""
    inside, waits = threading.Event(), threading.Event()

    def alone() -> None:
        waits.set()
        with turn(alone=True, deadline=Deadline("alone", 10), **host):
            inside.set()

    thread = threading.Thread(target=alone)
    with turn(alone=False, deadline=Deadline("first", 1), **host):
        thread.start()
        waits.wait(5)
        end = Deadline("the door to be taken", 5)
        while free(host, alone=False):
            assert not end.expired
        assert not inside.is_set()
    thread.join(10)
    assert inside.is_set()


def test_no_more_jobs_than_workers() -> None:
    """A third job for two workers waits until one of the others has ended; the first that waits is next."""
    turns = Turns()
    order: list[int] = []
    both = frozenset({"w1", "w2"})

    def job(number: int) -> None:
        with turns.taken(both):
            order.append(number)

    threads = []
    with turns.taken(both):
        with turns.taken(both):
            for number in range(3):
                threads.append(threading.Thread(target=job, args=(number,)))
                threads[-1].start()
                end = Deadline("its waiting", 5)
                while len(turns.waiting) <= number:
                    assert not end.expired
            assert order == []
            with turns.taken(frozenset({"w3"})):  # another worker is another matter
                pass
        for thread in threads:
            thread.join(5)
    assert order == [0, 1, 2]
