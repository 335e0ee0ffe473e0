# SPDX-License-Identifier: GPL-2.0-or-later
"""From trials to PASS, FAIL or INCONCLUSIVE, and the sentences that say why."""

from __future__ import annotations

from typing import Any

import pytest
from made_up import KERNELS, plan, record, trial

from lab.compare.compare import compare
from lab.compare.two_runs import as_pair
from lab.compare.verdict import judge, judge_run, reject, same_bytes
from lab.errors import SeriesError, UserError
from lab.results.models import Clock, Conclusion, Expected, Outcome, RunRecord, Trial, Verdict

CASE = "prefault/first-touch"
PLAN = plan((CASE, "base"), (CASE, "patched"))
SAME = {"faults": 128.0, "total": 1000.0, "max": 100.0}
BROKEN = [Outcome.FAIL, Outcome.CRASH, Outcome.TIMEOUT]


def verdict(trials: list[Trial], run: RunRecord | None = None, **more: Any) -> Verdict:
    run = run or record(PLAN)
    return judge(run, trials, compare(run, trials), **more)


def ended(role: int, outcome: Outcome, **more: Any) -> Trial:
    defaults = {"outcome": outcome, "reason": f"the {outcome} reason", "stage": "run"}
    return trial(PLAN[role], **(defaults | more))


def test_worse_fails_and_names_the_gain() -> None:
    """A gating metric that is worse fails the series; the reasons name numbers, unit, factor and gains."""
    found = verdict(
        [trial(PLAN[0], SAME | {"max": 22012.0}), trial(PLAN[1], SAME | {"max": 348120.0, "total": 730.0})]
    )
    assert (found.verdict, found.stage, found.exit_code) == (Conclusion.FAIL, "compare", 1)
    assert found.reasons == (
        "prefault/first-touch: longest touch 22,012 -> 348,120 instructions (15.8 times), worse",
        "gain: prefault/first-touch: all touches 1,000 -> 730 instructions (-27.0 %)",
    )


def test_metric_that_does_not_gate() -> None:
    """A metric that does not gate is told, and cannot fail the series."""
    found = verdict([trial(PLAN[0], SAME), trial(PLAN[1], SAME | {"faults": 256.0})])
    assert found.verdict is Conclusion.PASS and "does not gate" in found.reasons[1]


def test_no_difference_passes() -> None:
    """Equal numbers pass, with a sentence on what was judged."""
    found = verdict([trial(p, SAME) for p in PLAN])
    assert found.verdict is Conclusion.PASS and found.exit_code == 0
    assert found.reasons == ("1 case passed on both kernels, none of 2 gating metrics is worse",)


@pytest.mark.parametrize("outcome", BROKEN)
def test_patched_breaks(outcome: Outcome) -> None:
    """What passes on base and breaks on patched fails, and says how."""
    found = verdict([trial(PLAN[0], SAME), ended(1, outcome)])
    assert (found.verdict, found.stage) == (Conclusion.FAIL, "run")
    assert found.reasons == (f"{CASE} on qxl: passes on base, {outcome} on patched: the {outcome} reason",)


def test_patched_does_not_boot() -> None:
    """A patched kernel that ends while booting fails at the stage boot."""
    assert verdict([trial(PLAN[0], SAME), ended(1, Outcome.CRASH, stage="boot")]).stage == "boot"


@pytest.mark.parametrize("outcome", BROKEN)
@pytest.mark.parametrize("after", [Outcome.PASS, Outcome.CRASH])
def test_broken_base_is_inconclusive(outcome: Outcome, after: Outcome) -> None:
    """A base that does not work leaves nothing to compare with, whatever patched does."""
    found = verdict([ended(0, outcome), ended(1, after)])
    assert found.verdict is Conclusion.INCONCLUSIVE and found.exit_code == 125
    assert "nothing to compare with" in found.reasons[0] and str(outcome) in found.reasons[0]


def test_broken_base_of_one_case_does_not_hide_a_failure_of_another() -> None:
    """FAIL goes before INCONCLUSIVE, and what stays open is told after it."""
    planned = plan((CASE, "base"), (CASE, "patched"), ("smoke/boot", "base"), ("smoke/boot", "patched"))
    trials = [
        trial(planned[0], outcome=Outcome.CRASH, reason="panic"),
        trial(planned[1], SAME),
        trial(planned[2]),
        trial(planned[3], outcome=Outcome.FAIL, reason="a WARNING"),
    ]
    found = verdict(trials, record(planned))
    assert found.verdict is Conclusion.FAIL
    assert found.reasons[0].startswith("smoke/boot on qxl: passes on base, FAIL")
    assert found.reasons[1].startswith("open: prefault/first-touch on qxl: nothing to compare with")


@pytest.mark.parametrize("role", [0, 1])
def test_lab_error_is_inconclusive(role: int) -> None:
    """The lab's own failure says nothing about a kernel."""
    trials = [trial(PLAN[1 - role], SAME), ended(role, Outcome.ERROR)]
    found = verdict(trials)
    assert found.verdict is Conclusion.INCONCLUSIVE and "the lab failed on" in found.reasons[0]


def test_missing_trial_is_inconclusive() -> None:
    """A planned trial without a result leaves the answer open, and is named."""
    found = verdict([trial(PLAN[0], SAME)], record(PLAN, interrupted=True))
    assert found.verdict is Conclusion.INCONCLUSIVE
    assert found.reasons[0].startswith("the run was interrupted: 1 of 2 planned trials without a result")
    assert PLAN[1].key in found.reasons[0]


def test_nothing_ran() -> None:
    """No trial at all is no PASS."""
    assert verdict([], record(())).verdict is Conclusion.INCONCLUSIVE


def test_all_skipped_is_inconclusive() -> None:
    """If everything is skipped, nothing was compared; the reasons of the skips are told."""
    found = verdict([ended(0, Outcome.SKIP), ended(1, Outcome.SKIP)])
    assert found.verdict is Conclusion.INCONCLUSIVE
    assert found.reasons == ("nothing could be compared", f"{CASE} on qxl: SKIP: the SKIP reason")


@pytest.mark.parametrize("role", [0, 1])
def test_skipped_on_one_side_is_inconclusive(role: int) -> None:
    """A case that one kernel cannot run is not equal on both."""
    found = verdict([trial(PLAN[1 - role], SAME), ended(role, Outcome.SKIP)])
    assert found.verdict is Conclusion.INCONCLUSIVE and "skipped on" in found.reasons[0]


def test_undecided_gate_is_inconclusive() -> None:
    """A gating metric without a decision leaves the answer open."""
    found = verdict([trial(PLAN[0], SAME), trial(PLAN[1], {"faults": 128.0, "total": 1000.0})])
    assert (found.verdict, found.stage) == (Conclusion.INCONCLUSIVE, "compare")
    assert "longest touch undecided: n/a on patched" in found.reasons[0]


def test_functional_time_cannot_pass() -> None:
    """If no gating metric of a case could be judged, its PASS would be empty."""
    planned = plan((CASE, "base"), (CASE, "patched"), clock=Clock.FUNCTIONAL)
    found = verdict([trial(p, SAME) for p in planned], record(planned))
    assert found.verdict is Conclusion.INCONCLUSIVE and "wall time under emulation" in found.reasons[0]


def test_repeats_in_which_some_break() -> None:
    """One crash in three boots of a case that always passes on base is a failure, with its count."""
    planned = plan(*[(CASE, role) for role in ("base", "patched") for _ in range(3)])
    trials = [trial(p, SAME) for p in planned[:5]]
    trials.append(trial(planned[5], outcome=Outcome.CRASH, reason="panic"))
    found = verdict(trials, record(planned))
    assert found.verdict is Conclusion.FAIL and "in 1 of 3 boots" in found.reasons[0]


def test_same_bytes_pass_only_if_they_agree() -> None:
    """A series that changes nothing that is built passes; a difference is then the lab's fault."""
    assert same_bytes(KERNELS["base"], KERNELS["base"].model_copy(update={"id": "f" * 12}))
    assert not same_bytes(KERNELS["base"], KERNELS["patched"])
    assert not same_bytes(KERNELS["base"], None)
    agree = verdict([trial(p, SAME) for p in PLAN], same_build=True)
    assert agree.verdict is Conclusion.PASS and "changes nothing that is built" in agree.reasons[0]
    differ = verdict([trial(PLAN[0], SAME), trial(PLAN[1], SAME | {"max": 900.0})], same_build=True)
    assert differ.verdict is Conclusion.INCONCLUSIVE and "the lab is at fault" in differ.reasons[0]


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ([Outcome.PASS, Outcome.PASS], Conclusion.PASS),
        ([Outcome.PASS, Outcome.SKIP], Conclusion.PASS),
        ([Outcome.SKIP, Outcome.SKIP], Conclusion.INCONCLUSIVE),
        ([Outcome.PASS, Outcome.ERROR], Conclusion.INCONCLUSIVE),
        ([Outcome.PASS], Conclusion.INCONCLUSIVE),
        ([], Conclusion.INCONCLUSIVE),
        ([Outcome.PASS, Outcome.FAIL], Conclusion.FAIL),
        ([Outcome.ERROR, Outcome.CRASH], Conclusion.FAIL),
        ([Outcome.TIMEOUT], Conclusion.FAIL),
    ],
)
def test_single_kernel(outcomes: list[Outcome], expected: Conclusion) -> None:
    """A run of one kernel passes only if everything planned ran, and something passed."""
    planned = plan((CASE, "kernel"), ("smoke/boot", "kernel"))
    trials = [trial(p, outcome=o, reason="why") for p, o in zip(planned, outcomes, strict=False)]
    found = judge_run(record(planned, kernels={"kernel": KERNELS["base"].id}), trials)
    assert found.verdict is expected and found.reasons


def test_rejected_series() -> None:
    """A series that does not build fails at its stage, with the compiler's first words, bounded."""
    error = SeriesError(
        "drivers/gpu/drm/ttm/ttm_bo_vm.c does not compile", stage="build", evidence="x\n" * 99
    )
    found = reject(error)
    assert (found.verdict, found.stage, found.exit_code) == (Conclusion.FAIL, "build", 1)
    assert found.reasons[0] == error.message and found.reasons[1] == "| x" and len(found.reasons) == 11


def test_two_runs_of_one_kernel_each() -> None:
    """Two runs compare like one, if each has one kernel and they share a case."""
    planned = plan((CASE, "kernel"))
    run = record(planned, kernels={"kernel": KERNELS["base"].id})
    joined, trials = as_pair(run, [trial(planned[0], SAME)], run, [trial(planned[0], SAME | {"max": 900.0})])
    assert judge(joined, trials, compare(joined, trials)).verdict is Conclusion.FAIL
    with pytest.raises(UserError, match="2 kernels"):
        as_pair(record(PLAN), [], run, [])
    with pytest.raises(UserError, match="in common"):
        as_pair(run, [], run.model_copy(update={"plan": plan(("smoke/boot", "kernel"))}), [])


def known(role: int, outcome: Outcome = Outcome.FAIL, *, kind: str = "fail", met: bool = True) -> Trial:
    """A trial about which a file of expectations has something to say."""
    said = Expected(kind=kind, reason="split on eviction", where="expectations/fails.txt:8", met=met)
    return ended(role, outcome, expected=said)


def test_expected_failure_is_no_failure() -> None:
    """One kernel: a failure as expected leaves the run PASS and is counted apart, another one does not."""
    run = record(PLAN)
    found = judge_run(run, [trial(PLAN[0], SAME), known(1)])
    assert (found.verdict, found.reasons) == (Conclusion.PASS, ("1 trial passed, 1 failed as expected",))
    found = judge_run(run, [known(0), ended(1, Outcome.CRASH)])
    assert (found.verdict, len(found.reasons)) == (Conclusion.FAIL, 1)


def test_unexpected_pass_is_told() -> None:
    """One kernel: what was expected to fail and did not is said, and fails nothing."""
    found = judge_run(record(PLAN), [trial(PLAN[0], SAME), known(1, Outcome.PASS, met=False)])
    assert found.verdict is Conclusion.PASS
    assert found.reasons[1] == f"{CASE} on qxl: the PASS reason"


def test_known_limitation_on_both_kernels() -> None:
    """A pair: failing alike and as expected on both sides blames nobody, and is no comparison either."""
    other = plan(("smoke/boot", "base"), ("smoke/boot", "patched"))
    both = tuple(p.model_copy(update={"number": n}) for n, p in enumerate((*PLAN, *other), 1))
    found = verdict([known(0), known(1), *(trial(p, {}) for p in both[2:])], record(both))
    assert found.verdict is Conclusion.PASS
    assert "1 failed on both as expected" in found.reasons[0]
    worse = verdict([known(0), known(1, Outcome.CRASH), *(trial(p, {}) for p in both[2:])], record(both))
    assert worse.verdict is Conclusion.INCONCLUSIVE
    assert f"{CASE} on qxl: nothing to compare with: FAIL on base" in worse.reasons[0]
    alone = verdict([known(0), known(1)])
    assert alone.verdict is Conclusion.INCONCLUSIVE
    assert alone.reasons[0] == "nothing could be compared"


def test_series_that_mends_a_known_failure() -> None:
    """A pair: a base that fails as expected and a patched kernel that passes is told as such."""
    found = verdict([known(0), known(1, Outcome.PASS, met=False)])
    assert f"{CASE} on qxl: fails on base as expected, passes on patched" in found.reasons


def test_failure_that_is_expected_of_other_kernels() -> None:
    """A pair: where the base passes, an expected failure on patched is a regression; a flake is a hole."""
    found = verdict([trial(PLAN[0], SAME), known(1)])
    assert (found.verdict, "passes on base" in found.reasons[0]) == (Conclusion.FAIL, True)
    found = verdict([trial(PLAN[0], SAME), known(1, kind="flake")])
    assert (found.verdict, "a known flake" in found.reasons[0]) == (Conclusion.INCONCLUSIVE, True)
