# SPDX-License-Identifier: GPL-2.0-or-later
"""Which ends of a trial a file of expectations explains."""

from __future__ import annotations

import pytest
import stand_ins

from lab.campaign.expected import skip_expected, with_expectation
from lab.results.models import Check, Outcome, Splat, Trial
from lab.spec.expectations import Expectation, Expectations, Kind
from lab.spec.versions import KernelRange

SPLAT = Splat(kind="WARNING", title="WARNING: at x", line=1, excerpt="")


def known(kind: Kind, check: str = "") -> Expectations:
    one = Expectation(kind, "a/b", check, "why", KernelRange.parse(">=6.1"), "", "expectations/x.txt:1")
    return Expectations((one,))


def trial(outcome: Outcome, *bad: str, good: str = "other", splats: tuple[Splat, ...] = ()) -> Trial:
    return stand_ins.trial(
        outcome=outcome,
        reason="" if outcome is Outcome.PASS else "it did",
        splats=splats,
        checks=(*(Check(name=name, result="not ok") for name in bad), Check(name=good, result="ok")),
    )


@pytest.mark.parametrize("outcome", [Outcome.FAIL, Outcome.CRASH, Outcome.TIMEOUT])
@pytest.mark.parametrize("kind", ["fails", "flakes"])
def test_whole_case(outcome: Outcome, kind: Kind) -> None:
    """A case that is expected to fail may end in any broken way; the reason says that it was expected."""
    found = with_expectation(known(kind), trial(outcome), "6.1.192-2")
    assert found.as_expected
    assert not found.broken
    assert "it did; expected" in found.reason
    assert found.reason.endswith("why (expectations/x.txt:1)")


def test_checks_must_all_be_expected() -> None:
    """An expected check explains no other check, no crash and no splat beside it."""
    fails = known("fails", "size")
    assert with_expectation(fails, trial(Outcome.FAIL, "size"), "6.1").as_expected
    assert with_expectation(fails, trial(Outcome.FAIL, "size", "content"), "6.1").broken
    assert with_expectation(fails, trial(Outcome.CRASH, "size"), "6.1").broken
    assert with_expectation(fails, trial(Outcome.FAIL, "size", splats=(SPLAT,)), "6.1").broken
    assert with_expectation(fails, trial(Outcome.FAIL), "6.1").broken
    beside = trial(Outcome.FAIL, "size").model_copy(update={"stage": "collect"})
    assert with_expectation(fails, beside, "6.1").broken


def test_better_than_expected() -> None:
    """What fails.txt expects and does not happen is told; of a flake, or elsewhere, it is no news."""
    found = with_expectation(known("fails"), trial(Outcome.PASS), "6.1")
    assert found.expected is not None
    assert not found.expected.met
    assert found.outcome is Outcome.PASS
    assert "unexpected pass" in found.reason
    passed = with_expectation(known("fails", "size"), trial(Outcome.PASS, good="size"), "6.1")
    assert "check size was expected to fail" in passed.reason
    assert with_expectation(known("flakes"), trial(Outcome.PASS), "6.1").expected is None
    assert with_expectation(known("fails"), trial(Outcome.PASS), "5.10").expected is None


@pytest.mark.parametrize("outcome", [Outcome.ERROR, Outcome.SKIP])
def test_no_statement_about_the_kernel(outcome: Outcome) -> None:
    """A failure of the lab or a trial that was not run is neither as expected nor against it."""
    assert with_expectation(known("fails"), trial(outcome), "6.1").expected is None


def test_skips() -> None:
    """A case in skips.txt is not run on those kernels, with the reason and the line."""
    assert skip_expected(known("skips"), "a/b", "qxl", "6.1") == "why (expectations/x.txt:1)"
    assert skip_expected(known("skips"), "a/b", "qxl", "5.10") == ""
    assert skip_expected(known("fails"), "a/b", "qxl", "6.1") == ""
