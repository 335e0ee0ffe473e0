# SPDX-License-Identifier: GPL-2.0-or-later
"""Does the failure that is looked for show in a boot? Only both ends together say what that failure is."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lab.bisect.noisy import interval
from lab.errors import InfraError, UserError
from lab.results.bisect import Question, Seen
from lab.results.models import BROKEN, Clock, Outcome

Says = Literal["good", "bad", "skip"]

MIDWAY = "midway"
SWAPPED_HINT = "are --good and --bad swapped? With --find-fix the older kernel is the bad one"


@dataclass(frozen=True)
class Yardstick:
    """What counts as the failure."""

    words: str  # for the report
    outcome: Outcome | None = None  # a boot that ends as the bad end does
    stage: str = ""  # "boot", "scan" or another
    signature: str = ""  # the user's words, in whatever the kernel complains of
    complaint: str = ""  # the whole title of the bad end's complaint
    metric: str = ""
    threshold: float | None = None
    above: bool = True  # is the bad side of the threshold the one above it?
    unit: str = ""

    def says(self, seen: Seen) -> tuple[Says, str]:
        """What a boot says, and in words why. "skip": nothing about this failure."""
        if seen.outcome is Outcome.ERROR:
            return "skip", f"the lab failed: {seen.reason}"
        if seen.outcome is Outcome.SKIP:
            return "skip", seen.reason or "SKIP"
        if self.metric:
            return self._by_metric(seen)
        if seen.outcome is Outcome.PASS:
            return "good", "PASS"
        if self._is_it(seen):
            return "bad", f"{seen.outcome}: {seen.reason}"
        return "skip", f"fails in another way: {seen.outcome}: {seen.reason}"

    def _by_metric(self, seen: Seen) -> tuple[Says, str]:
        if seen.outcome not in (Outcome.PASS, Outcome.FAIL):
            return "skip", f"{seen.outcome}: {seen.reason}"
        if seen.value is None:
            return "skip", f"{self.metric}: n/a"
        if seen.clock is Clock.FUNCTIONAL:
            return "skip", f"{self.metric} is wall time under emulation, which is never judged"
        assert self.threshold is not None
        beyond = seen.value > self.threshold if self.above else seen.value < self.threshold
        return "bad" if beyond else "good", str(seen.outcome)

    def _is_it(self, seen: Seen) -> bool:
        if self.complaint:
            return self.complaint in seen.complaints
        if self.signature:
            return has_signature(seen, self.signature)
        return seen.outcome is self.outcome and _where(seen) == self.stage


def has_signature(seen: Seen, signature: str) -> bool:
    """Are these words in what the kernel complained of, or in why the boot did not pass?"""
    wanted = signature.casefold()
    return any(wanted in text.casefold() for text in (*seen.complaints, seen.reason))


def _where(seen: Seen) -> str:
    """A kernel that does not boot fails in another way than its workload, or than its log."""
    return seen.stage if seen.stage in ("boot", "scan") else "run"


def is_void(seen: Seen) -> bool:
    """Was the guest left out because an earlier boot of the same kernel had failed?"""
    return seen.outcome is Outcome.SKIP and seen.reason.startswith("not run: this kernel does not boot")


@dataclass(frozen=True)
class Ends:
    """The boots of both ends."""

    good_name: str
    bad_name: str
    good: Sequence[Seen]
    bad: Sequence[Seen]


def yardstick(question: Question, ends: Ends, better: str = "lower") -> Yardstick | None:
    """What the ends fail by; None while the bad end has not failed in any boot. `better` is the metric's.

    Raises UserError for ends between which nothing can be searched, InfraError if the lab failed at one.
    """
    for name, which, seen in ((ends.good_name, "good", ends.good), (ends.bad_name, "bad", ends.bad)):
        _usable(name, which, seen)
    if question.metric:
        return _of_metric(question, ends, better)
    broken = [seen for seen in ends.bad if seen.outcome in BROKEN]
    if not broken:
        return None
    if question.signature:
        return Yardstick(f'"{question.signature}" in the kernel log', signature=question.signature)
    first = broken[0]
    if first.complaints and (first.outcome is Outcome.CRASH or first.stage == "scan"):
        title = first.complaints[0]
        return Yardstick(f'"{title}" in the kernel log', complaint=title)
    where = " at boot" if first.stage == "boot" else ""
    return Yardstick(f"the case ends in {first.outcome}{where}", outcome=first.outcome, stage=_where(first))


def _usable(name: str, which: str, boots: Sequence[Seen]) -> None:
    said = [seen for seen in boots if not is_void(seen)]
    if said and all(seen.outcome is Outcome.SKIP for seen in said):
        raise UserError(
            f"the case is SKIP on the {which} end {name}: {said[0].reason}",
            hint="choose an end, or a --machine, on which the case means something",
        )
    if said and all(seen.outcome is Outcome.ERROR for seen in said):
        raise InfraError(f"the lab failed at the {which} end {name}: {said[0].reason}")


def _of_metric(question: Question, ends: Ends, better: str) -> Yardstick:
    numbers = [
        _values(question.metric, *end) for end in ((ends.good_name, ends.good), (ends.bad_name, ends.bad))
    ]
    good, bad = (statistics.median(values) for values in numbers)
    unit = next(seen.unit for seen in ends.good if seen.value is not None)
    told = (
        f"{question.metric} is {_number(good)} {unit} on {ends.good_name} "
        f"and {_number(bad)} {unit} on {ends.bad_name}"
    )
    if good == bad:
        raise UserError(f"both ends are the same: {told}", hint="choose ends, or a metric, that differ")
    if (bad > good) is (better == "higher"):
        raise UserError(f"{told}, and {better} is better", hint=SWAPPED_HINT)
    threshold = (good + bad) / 2 if question.threshold == MIDWAY else float(question.threshold)
    if not min(good, bad) <= threshold <= max(good, bad):
        side = "above" if good > threshold else "below"
        raise UserError(
            f"both ends are {side} the threshold {_number(threshold)}: {told}",
            hint=f"choose a threshold between them, or --threshold {MIDWAY}",
        )
    words = f"{question.metric} {'above' if bad > good else 'below'} {_number(threshold)} {unit}".rstrip()
    return Yardstick(words, metric=question.metric, threshold=threshold, above=bad > good, unit=unit)


def _number(value: float) -> str:
    """1,989,730 or 0.25."""
    return f"{value:,.0f}" if value == int(value) else f"{value:,.6g}"


def _values(metric: str, name: str, boots: Sequence[Seen]) -> list[float]:
    if any(seen.value is not None and seen.clock is Clock.FUNCTIONAL for seen in boots):
        raise UserError(
            f"{metric} of {name} is wall time under emulation, which is never judged",
            hint="leave out --clock real, or take a host with KVM; counts can be judged anywhere",
        )
    found = [
        seen.value
        for seen in boots
        if seen.value is not None and seen.outcome in (Outcome.PASS, Outcome.FAIL)
    ]
    if not found:
        raise UserError(
            f"{name} gave no number {metric}: {boots[0].outcome} {boots[0].reason}".rstrip(),
            hint="bisect by outcome instead: leave out --metric",
        )
    return found


def check_ends(ends: Ends, stick: Yardstick | None) -> None:
    """Raises UserError if the failure shows on the good end, or never on the bad one."""
    good = _shown(stick, ends.good, ends.good_name, "good")
    bad = _shown(stick, ends.bad, ends.bad_name, "bad")
    if stick is None:
        broken = [seen for seen in ends.good if seen.outcome in BROKEN]
        if broken:
            raise UserError(
                f"the good end {ends.good_name} fails ({broken[0].outcome}: {broken[0].reason}) "
                f"and the bad end {ends.bad_name} does not",
                hint=SWAPPED_HINT,
            )
    if bad[0] == 0:
        raise UserError(
            f"both ends are good: in {bad[1]} boots of {ends.bad_name} the failure did not show",
            hint="is it the right case and --machine? See it once with: lab run CASE --kernel BAD",
        )
    if good[0]:
        low, high = interval(*good)
        rate = f"in {good[0]} of {good[1]} boots (95 %: {low:.0%} to {high:.0%})"
        if good[0] == good[1]:
            problem = f"both ends are bad: on {ends.good_name}, too, the failure shows {rate}"
            raise UserError(problem, hint="choose a good end from before it; see docs/bisect.md")
        raise UserError(
            f"the good end {ends.good_name} is flaky: the failure shows {rate}",
            hint="a kernel in which it sometimes shows is not good; choose one from before it",
        )


def _shown(stick: Yardstick | None, boots: Sequence[Seen], name: str, which: str) -> tuple[int, int]:
    """(boots in which the failure shows, boots that say anything)."""
    if stick is None:
        return 0, sum(seen.outcome is Outcome.PASS for seen in boots)
    said = [stick.says(seen) for seen in boots if not is_void(seen)]
    counts = [word for word, _ in said if word != "skip"]
    if not counts and said:
        raise UserError(
            f"the {which} end {name} says nothing about the failure ({stick.words}): {said[0][1]}",
            hint="choose another end, or say with --signature or --metric what the failure is",
        )
    return counts.count("bad"), len(counts)
