# SPDX-License-Identifier: GPL-2.0-or-later
"""What confirms a regression, and what only looks like it."""

from __future__ import annotations

import stand_ins

from lab.compare.repro import confirm, judge_repro
from lab.results.models import Conclusion, Outcome, Splat, Trial
from lab.results.repro import ReproRecord, WantedKernel, WantedRegression, WantedSign

CASE = "smoke/boot"
WARNS = Splat(kind="WARNING", title="WARNING in f", line=1, excerpt="")
WANTED = WantedRegression(
    name="r",
    title="a warning",
    kind="reported",
    case=CASE,
    machine="qxl",
    good=(WantedKernel(role="g", label="6.1"),),
    bad=(WantedKernel(role="b", label="6.12"),),
    good_signs=(WantedSign(splat="WARNING in f", seen=False),),
    bad_signs=(WantedSign(splat="WARNING in f"),),
)
BAD = stand_ins.trial(2, Outcome.FAIL, case=CASE, role="b", stage="scan", splats=(WARNS,))


def verdict(good: Trial) -> Conclusion:
    return judge_repro(confirm(ReproRecord(regressions=(WANTED,)), [good, BAD])).verdict


def test_the_absence_of_a_complaint_takes_a_kernel_that_came_up() -> None:
    """One that died while booting complained of nothing that comes later."""

    def good(outcome: Outcome, stage: str) -> Trial:
        return stand_ins.trial(1, outcome, case=CASE, role="g", stage=stage, reason="why")

    assert verdict(good(Outcome.PASS, "done")) is Conclusion.PASS
    assert verdict(good(Outcome.FAIL, "run")) is Conclusion.PASS
    for outcome in (Outcome.CRASH, Outcome.TIMEOUT):
        assert verdict(good(outcome, "boot")) is Conclusion.INCONCLUSIVE
