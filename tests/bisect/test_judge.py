# SPDX-License-Identifier: GPL-2.0-or-later
"""What counts as the failure, and between which ends nothing can be searched."""

from __future__ import annotations

import pytest
import stand_ins

from lab.bisect.judge import Ends, check_ends, has_signature, yardstick
from lab.errors import InfraError, UserError
from lab.results.bisect import Question, Seen, seen_of
from lab.results.models import Clock, Outcome


def question(**asked: object) -> Question:
    base = {"kind": "versions", "case": "smoke/boot", "machine": "qxl", "clock": "virtual"}
    return Question.model_validate({**base, "good": "debian:1", "bad": "debian:2", **asked})


def seen(outcome: str = "PASS", **more: object) -> Seen:
    return Seen.model_validate({"role": "r", "key": "k", "outcome": outcome, **more})


def ends(good: list[Seen], bad: list[Seen]) -> Ends:
    return Ends("1-1", "2-1", good, bad)


PASS, FAIL = seen(stage="done"), seen("FAIL", stage="run", reason="not ok: x")
OOPS = seen("CRASH", stage="run", complaints=("BUG: unable to handle page fault in ttm_bo_move",))
OTHER = seen("CRASH", stage="run", complaints=("kernel BUG in list_del",))


def test_by_outcome() -> None:
    """As the bad end: another way of failing says nothing, and neither does a kernel that does not boot."""
    stick = yardstick(question(), ends([PASS], [FAIL]))
    assert stick is not None
    verdicts = [stick.says(one)[0] for one in (PASS, FAIL, OOPS, seen("FAIL", stage="scan"), seen("SKIP"))]
    assert verdicts == ["good", "bad", "skip", "skip", "skip"]
    assert stick.says(seen("CRASH", stage="boot", reason="panic"))[0] == "skip"
    assert stick.says(seen("ERROR", reason="qemu"))[1] == "the lab failed: qemu"


def test_a_boot_failure_can_be_what_is_looked_for() -> None:
    """Then a kernel that boots and fails later is not it."""
    dead = seen("TIMEOUT", stage="boot", reason="silent")
    stick = yardstick(question(), ends([PASS], [dead]))
    assert stick is not None
    assert [stick.says(one)[0] for one in (dead, FAIL, PASS)] == ["bad", "skip", "good"]


def test_by_crash_signature() -> None:
    """Another crash is a skip. Without --signature it is that of the bad end."""
    for asked in (question(), question(signature="TTM_bo_move")):
        stick = yardstick(asked, ends([PASS], [OOPS]))
        assert stick is not None
        assert [stick.says(one)[0] for one in (PASS, OOPS, OTHER)] == ["good", "bad", "skip"]
    assert has_signature(seen("FAIL", reason="kernel log: WARNING in x"), "warning in X")


def test_by_the_whole_complaint() -> None:
    """The bad end's title in a longer one is another complaint; words of the user's are looked for in any."""

    def warns(title: str) -> Seen:
        return seen("FAIL", stage="scan", complaints=(title,), reason=f"kernel log: {title}")

    bad, longer = (
        warns("WARNING in drm_gem_object_release"),
        warns("WARNING in drm_gem_object_release_handle"),
    )
    for asked, says in ((question(), "skip"), (question(signature="object_release"), "bad")):
        stick = yardstick(asked, ends([PASS], [bad]))
        assert stick is not None
        assert [stick.says(one)[0] for one in (bad, longer)] == ["bad", says]


def test_what_is_proof() -> None:
    """A boot on the virtual clock, unless it missed a deadline, which is of the host's time."""
    ran = stand_ins.environment()
    assert seen_of(stand_ins.trial(environment=ran), "").exact
    assert seen_of(stand_ins.trial(outcome=Outcome.CRASH, environment=ran), "").exact
    assert not seen_of(stand_ins.trial(outcome=Outcome.TIMEOUT, environment=ran), "").exact


def test_conditions_of_a_boot() -> None:
    """Equal for two boots of one case; not for an edited one, another QEMU or another machine."""

    def of(digest: str = "d", **more: object) -> str:
        argv = ("qemu", "-m", "512M", "-add-fd", "fd=8,set=8", "-append", "quiet lab.nonce=1f")
        ran = stand_ins.environment(**{"qemu_argv": argv, **more})
        return seen_of(stand_ins.trial(environment=ran, case_digest=digest), "").conditions

    same = ("qemu", "-m", "512M", "-add-fd", "fd=19,set=19", "-append", "quiet lab.nonce=2e")
    assert of() == of(qemu_argv=same) != ""
    assert len({of(), of("e"), of(qemu_version="9"), of(qemu_argv=("qemu", "-m", "4G"))}) == 4
    assert seen_of(stand_ins.trial(), "").conditions == ""


def number(value: float, clock: Clock = Clock.VIRTUAL) -> Seen:
    return seen(value=value, unit="insn", clock=clock)


def test_by_metric() -> None:
    """Beyond the threshold, on the side of the bad end; what has no number says nothing."""
    asked = question(metric="stall_max", threshold="midway")
    stick = yardstick(asked, ends([number(100)], [number(200)]))
    assert stick is not None
    assert (stick.threshold, stick.above) == (150, True)
    assert [stick.says(one)[0] for one in (number(149), number(151), PASS, OOPS)] == [
        "good",
        "bad",
        "skip",
        "skip",
    ]
    lower = yardstick(asked, ends([number(200)], [number(100)]), "higher")
    assert lower is not None
    assert lower.says(number(10))[0] == "bad"
    assert stick.says(number(500, Clock.FUNCTIONAL))[0] == "skip"


@pytest.mark.parametrize(
    ("threshold", "good", "bad", "problem"),
    [
        ("midway", 100, 100, "both ends are the same"),
        ("midway", 200, 100, "lower is better"),
        ("50", 100, 200, "both ends are above the threshold 50"),
        ("500", 100, 200, "both ends are below the threshold 500"),
    ],
)
def test_a_metric_that_does_not_part_the_ends(threshold: str, good: float, bad: float, problem: str) -> None:
    """Told with both numbers, and what to do."""
    asked = question(metric="stall_max", threshold=threshold)
    with pytest.raises(UserError, match=problem) as caught:
        yardstick(asked, ends([number(good)], [number(bad)]))
    assert caught.value.hint


def test_functional_time_is_never_judged() -> None:
    """Wall time under emulation says nothing about a kernel."""
    slow = number(1, Clock.FUNCTIONAL)
    with pytest.raises(UserError, match="never judged"):
        yardstick(question(metric="stall_max", threshold="midway"), ends([slow], [slow]))
    with pytest.raises(UserError, match="gave no number stall_max"):
        yardstick(question(metric="stall_max", threshold="midway"), ends([PASS], [OOPS]))


def refused(good: list[Seen], bad: list[Seen]) -> UserError:
    with pytest.raises(UserError) as caught:
        both = ends(good, bad)
        check_ends(both, yardstick(question(), both))
    assert caught.value.hint
    return caught.value


def test_swapped() -> None:
    """The good end fails and the bad one does not."""
    error = refused([FAIL], [PASS])
    assert "the good end 1-1 fails (FAIL: not ok: x) and the bad end 2-1 does not" in error.message
    assert "swapped" in error.hint


def test_both_good() -> None:
    """Told with how often the bad end was booted."""
    assert "both ends are good: in 3 boots of 2-1" in refused([PASS], [PASS] * 3).message


def test_both_bad() -> None:
    assert (
        "both ends are bad: on 1-1, too, the failure shows in 2 of 2 boots"
        in refused([FAIL] * 2, [FAIL]).message
    )


def test_a_flaky_good_end_is_refused_with_its_rate() -> None:
    """One boot in ten is enough: then it is not good."""
    error = refused([FAIL, *[PASS] * 9], [FAIL] * 3)
    assert "the good end 1-1 is flaky: the failure shows in 1 of 10 boots (95 %: 2% to 40%)" in error.message


def test_a_good_end_that_fails_in_another_way() -> None:
    assert "says nothing about the failure" in refused([OTHER], [OOPS]).message


@pytest.mark.parametrize("which", ["good", "bad"])
def test_a_case_that_is_skipped_on_one_end(which: str) -> None:
    """Told with which end, and why."""
    skipped = seen("SKIP", reason="the case needs ttm")
    boots = ([skipped], [FAIL]) if which == "good" else ([PASS], [skipped])
    assert f"the case is SKIP on the {which} end" in refused(*boots).message


def test_a_lab_that_fails_says_nothing() -> None:
    """It is the host's turn, not the user's."""
    with pytest.raises(InfraError, match="the lab failed at the bad end"):
        yardstick(question(), ends([PASS], [seen("ERROR", reason="no QEMU")]))
