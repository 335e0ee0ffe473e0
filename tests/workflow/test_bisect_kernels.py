# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernels that are obtained ahead: taken when they are wanted, given up when they are not."""

from __future__ import annotations

import threading
import time
from typing import cast

import pytest

from lab.errors import InfraError, Interrupted
from lab.kernel.kernel import Kernel
from lab.waiting import TICK, check_stop, unless
from lab.workflow.bisect_kernels import Kernels


class Builds:
    """Takes for each kernel until it is let go on, as a build does that looks for ^C."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.given_up: list[int] = []
        self.done = {number: threading.Event() for number in range(10)}

    def __call__(self, position: int) -> Kernel:
        self.begun.append(position)
        while not self.done[position].is_set():
            try:
                check_stop()
            except Interrupted:
                self.given_up.append(position)
                raise
            time.sleep(0.001)
        if position == 9:
            raise InfraError("it does not build")
        return cast(Kernel, f"kernel {position}")

    def until_begun(self, position: int) -> None:
        end = time.monotonic() + 60
        while position not in self.begun:
            assert time.monotonic() < end
            time.sleep(0.001)


def test_what_was_obtained_ahead_is_taken() -> None:
    """Built once, whoever asked first."""
    builds = Builds()
    with Kernels(builds).working() as kernels:
        kernels.ahead([3])
        builds.until_begun(3)
        builds.done[3].set()
        assert str(kernels.get(3)) == "kernel 3"
        assert str(kernels.get(3)) == "kernel 3"
        assert kernels.at_hand() == [3]
    assert builds.begun == [3]


def test_what_is_not_wanted_is_given_up() -> None:
    """Nobody waits for a wrong guess; asked for later, it is begun again."""
    builds = Builds()
    with Kernels(builds).working() as kernels:
        kernels.ahead([1, 2])
        builds.until_begun(1)
        builds.done[5].set()
        assert str(kernels.get(5)) == "kernel 5"
        assert builds.given_up == [1]
        assert 2 not in builds.begun
        builds.done[1].set()
        assert str(kernels.get(1)) == "kernel 1"


def test_a_kernel_that_cannot_be_had_is_asked_for_once() -> None:
    """The same error each time, also if it came up ahead."""
    builds = Builds()
    builds.done[9].set()
    with Kernels(builds).working() as kernels:
        kernels.ahead([9])
        for _ in range(2):
            with pytest.raises(InfraError, match="it does not build"):
                kernels.get(9)
    assert builds.begun == [9]


def test_nothing_goes_on_behind_the_end() -> None:
    """What is being built when a bisection ends, or fails, is given up."""
    builds = Builds()
    with pytest.raises(ZeroDivisionError), Kernels(builds).working() as kernels:
        kernels.ahead([1])
        builds.until_begun(1)
        raise ZeroDivisionError
    assert builds.given_up == [1]


def test_one_thread_is_stopped_and_no_other() -> None:
    """What is unwanted in one thread goes on in others, and afterwards."""
    unwanted = threading.Event()
    unwanted.set()
    with pytest.raises(Interrupted), unless(unwanted):
        check_stop()
    check_stop()
    with unless(unwanted):
        free = threading.Thread(target=check_stop)
        free.start()
        free.join(100 * TICK)
