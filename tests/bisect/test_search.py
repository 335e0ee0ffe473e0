# SPDX-License-Identifier: GPL-2.0-or-later
"""The search finds what was planted, or says between which kernels nothing can be told."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.bisect.history import History, members
from lab.bisect.noisy import Posterior, interval
from lab.bisect.search import Costs, Search

Shows = Callable[[int], bool]


def searched(search: Search, shows: Shows, untestable: frozenset[int] = frozenset()) -> list[int]:
    """Carry a search out; the order in which kernels were asked for."""
    history = search.history
    search.posterior.note(history.bad_end, shown=1)
    search.posterior.note(history.good_end, passed=1)
    asked = []
    while not search.over():
        position = search.next()
        asked.append(position)
        assert len(asked) < 4000
        if position in untestable:
            search.skipped[position] = "not to be had"
        else:
            shown = shows(position)
            search.posterior.note(position, shown=int(shown), passed=int(not shown))
    return asked


@st.composite
def histories(draw: st.DrawFn) -> tuple[History, int]:
    """A history with merges, whose last commit contains all, and a culprit in it."""
    size = draw(st.integers(2, 24))
    parents: list[tuple[int, ...]] = [()]
    for number in range(1, size):
        count = draw(st.integers(1, 2))
        parents.append(tuple(sorted(draw(st.sets(st.integers(0, number - 1), min_size=1, max_size=count)))))
    contained = {parent for own in parents for parent in own}
    heads = tuple(number for number in range(size) if number not in contained)
    parents.append(heads)
    return History(parents, find_fix=draw(st.booleans())), draw(st.integers(1, size))


@settings(max_examples=200, deadline=None)
@given(histories(), st.data())
def test_the_culprit_is_found_or_among_what_is_left(made: tuple[History, int], data: st.DataObject) -> None:
    """Whatever the merges, the direction and the kernels that cannot be tested."""
    history, culprit = made
    inner = list(range(1, history.size - 1))
    untestable = frozenset(data.draw(st.sets(st.sampled_from(inner)) if inner else st.just(set())))
    search = Search(history, 0.01, Posterior(history, certain=True))
    asked = searched(search, lambda position: bool(history.blamed(position) >> culprit & 1), untestable)
    assert culprit in search.left()
    assert len(set(asked)) == len(asked)
    if not untestable:
        assert search.left() == [culprit]
    # What is left could not have been told apart by any kernel that can be tested.
    bits = sum(1 << one for one in search.left())
    for position in set(range(history.size)) - untestable:
        assert history.blamed(position) & bits in (0, bits)


@pytest.mark.parametrize("size", [2, 3, 4, 20, 22, 1000])
def test_a_list_is_halved(size: int) -> None:
    """ceil(log2(N)) kernels between the ends, for each place of the culprit."""
    most = 0
    for culprit in range(1, size) if size < 100 else range(1, size, 37):
        history = History.line(size)
        search = Search(history, 0.01, Posterior(history, certain=True))
        most = max(most, len(searched(search, lambda position, c=culprit: position >= c)))  # type: ignore[misc]
        assert search.left() == [culprit]
    assert most <= math.ceil(math.log2(size - 1))


def test_a_fix_is_found_as_well() -> None:
    """With find_fix the failure is in the old end, and the first kernel without it is looked for."""
    history = History.line(30, find_fix=True)
    search = Search(history, 0.01, Posterior(history, certain=True))
    searched(search, lambda position: position < 17)
    assert search.left() == [17]


def test_a_branch_is_searched_apart_from_the_trunk() -> None:
    """0-1-2-5-6 with 1-3-4-5: a culprit on the side branch shows only from the merge on."""
    history = History([(), (0,), (1,), (1,), (3,), (2, 4), (5,)])
    assert not history.linear
    assert members(history.blamed(4)) == [1, 3, 4]
    search = Search(history, 0.01, Posterior(history, certain=True))
    searched(search, lambda position: position in (4, 5, 6))
    assert search.left() == [4]


def test_near_a_kernel_that_cannot_be_tested_is_asked_less() -> None:
    """A run of broken kernels around the middle is left, not walked through one by one."""
    history = History.line(200)
    search = Search(history, 0.01, Posterior(history, certain=True))
    broken = frozenset(range(80, 120))
    asked = searched(search, lambda position: position >= 30, broken)
    assert search.left() == [30]
    assert len([position for position in asked if position in broken]) <= 4


def test_kernels_of_the_same_bytes_clear_what_is_between_them() -> None:
    """What is in the one and not in the other cannot have done it."""
    history = History.line(10)
    search = Search(history, 0.01, Posterior(history, certain=True))
    search.posterior.same(3, 8)
    searched(search, lambda position: position >= 9)
    assert search.left() == [9]
    blind = Search(history, 0.01, Posterior(history, certain=True))
    blind.posterior.note(0, passed=1)
    blind.posterior.same(0, 9)
    assert blind.over()
    assert blind.left() == []


def test_boots_that_contradict_each_other_end_the_search() -> None:
    """It shows, is gone, and shows again: no single change does that."""
    history = History.line(10)
    search = Search(history, 0.01, Posterior(history, certain=True))
    search.posterior.note(4, shown=1)
    search.posterior.note(6, passed=1)
    assert search.over()
    assert search.left() == []


def test_a_good_end_that_shows_it_late_ends_the_search() -> None:
    """No suspect is left then."""
    history = History.line(10)
    search = Search(history, 0.01, Posterior(history))
    search.posterior.note(9, shown=3)
    search.posterior.note(0, passed=4)
    assert not search.over()
    search.posterior.note(0, shown=1)
    assert search.over()
    assert search.left() == []


def noisy_search(
    size: int, culprit: int, share: float, rng: random.Random, *, find_fix: bool = False
) -> tuple[list[int], int]:
    """What is left after a search of a failure that shows in a share of boots, and the boots it took."""
    history = History.line(size, find_fix=find_fix)
    search = Search(history, 0.01, Posterior(history))

    def boot(position: int) -> None:
        shown = bool(history.blamed(position) >> culprit & 1) and rng.random() < share
        search.posterior.note(position, shown=int(shown), passed=int(not shown))

    while search.posterior.shown.get(history.bad_end, 0) < 3:
        boot(history.bad_end)
    while not search.over():
        boot(search.next(Costs(obtain=0.0)))
    return search.left(), search.posterior.boots


@pytest.mark.parametrize("share", [0.2, 0.5, 1.0])
@pytest.mark.parametrize("find_fix", [False, True])
def test_the_stated_error_holds(share: float, find_fix: bool) -> None:
    """A small simulation (bench/bisection.py has the large one): of 60 searches at most 3 are wrong, which a
    search that is wrong in one of a hundred exceeds once in 300 times; the numbers are fixed by the seed."""
    rng = random.Random(17)
    wrong = 0
    for _ in range(60):
        culprit = rng.randrange(1, 40)
        wrong += noisy_search(40, culprit, share, rng, find_fix=find_fix)[0] != [culprit]
    assert wrong <= 3


def test_one_boot_per_kernel_would_not_do() -> None:
    """The check above can fail: a search that takes one boot for proof is often wrong."""
    rng = random.Random(17)
    wrong = 0
    for _ in range(60):
        culprit = rng.randrange(1, 40)
        history = History.line(40)
        search = Search(history, 0.01, Posterior(history, certain=True))
        searched(search, lambda position, c=culprit: position >= c and rng.random() < 0.5)  # type: ignore[misc]
        wrong += search.left() != [culprit]
    assert wrong > 20


def test_a_number_of_the_real_clock_may_stray_on_either_side() -> None:
    """A boot in fifty of a good kernel is beyond the threshold, one in ten of a bad one is not."""
    rng = random.Random(5)
    wrong = 0
    for _ in range(40):
        culprit = rng.randrange(1, 30)
        history = History.line(30)
        search = Search(history, 0.01, Posterior(history, two_sided=True))
        search.posterior.note(29, shown=3)
        search.posterior.note(0, passed=3)
        while not search.over():
            position = search.next(Costs(obtain=0.0))
            shown = rng.random() < (0.9 if position >= culprit else 0.02)
            search.posterior.note(position, shown=int(shown), passed=int(not shown))
        wrong += search.left() != [culprit]
    assert wrong <= 2


def test_a_kernel_at_hand_is_preferred_to_one_that_must_be_built() -> None:
    """Boots of what is there cost seconds, a build minutes: it is left only when that pays."""
    history = History.line(100)
    search = Search(history, 0.01, Posterior(history))
    search.posterior.note(99, shown=4, passed=6)
    search.posterior.note(0, passed=10)
    search.posterior.note(50, passed=1)
    costs = Costs(boot=3, obtain=600, at_hand=[0, 50, 99])
    assert search.next(costs) == 50
    assert search.next(Costs(boot=3, obtain=0)) != 50


def test_what_is_guessed_is_what_follows() -> None:
    """One of the guesses is booted next, whichever way the boot goes."""
    for shown in (True, False):
        history = History.line(60)
        search = Search(history, 0.01, Posterior(history, certain=True))
        search.posterior.note(59, shown=1)
        search.posterior.note(0, passed=1)
        position = search.next()
        guesses = search.guesses(position)
        search.posterior.note(position, shown=int(shown), passed=int(not shown))
        assert search.next() in guesses


def test_the_bad_end_alone_says_nothing_of_the_good_one() -> None:
    """Before the good end is booted, it may be as bad."""
    history = History.line(5)
    posterior = Posterior(history)
    posterior.note(4, shown=3)
    assert posterior.weights[-1] == pytest.approx(0.5)
    assert posterior.credible(0.01) == []
    assert interval(0, 0) == (0.0, 1.0)
