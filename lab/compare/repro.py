# SPDX-License-Identifier: GPL-2.0-or-later
"""Trials -> is a regression confirmed? Pure. Three answers for each kernel, and so for the regression:

yes          it shows all that its side is to show
no           it ran, and shows something else
cannot tell  it did not run, or could not: SKIP, ERROR, a kernel that is not to be had or does not boot
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lab.compare.words import amount, counted
from lab.results.models import Conclusion, Outcome, Trial, Verdict
from lab.results.repro import ReproRecord, WantedKernel, WantedRegression, WantedSign

UNABLE = frozenset({Outcome.SKIP, Outcome.ERROR})


@dataclass(frozen=True)
class Seen:
    """What one kernel showed."""

    kernel: WantedKernel
    side: str  # "good" or "bad"
    as_stated: bool | None  # None: cannot tell
    words: str  # of all signs, in short
    told: str  # a sentence where it is not as stated, else ""
    trial: Trial | None = None
    wrong: tuple[str, ...] = ()  # of the words, those that are not as stated

    @property
    def main(self) -> str:
        """For a table: what is not as stated, or the first sign."""
        return "; ".join(self.wrong) or self.words.partition("; ")[0]


@dataclass(frozen=True)
class Confirmation:
    """What came of one regression."""

    regression: WantedRegression
    good: tuple[Seen, ...]
    bad: tuple[Seen, ...]

    @property
    def seen(self) -> tuple[Seen, ...]:
        return (*self.good, *self.bad)

    @property
    def confirmed(self) -> bool | None:
        """False if any kernel contradicts it, None if none does and one cannot tell."""
        answers = {seen.as_stated for seen in self.seen}
        return False if False in answers else None if None in answers else True


def confirm(record: ReproRecord, trials: Iterable[Trial]) -> tuple[Confirmation, ...]:
    """Each regression against the newest attempts of its trials."""
    found: dict[tuple[str, str], Trial] = {}
    for trial in trials:
        known = found.get((trial.role, trial.case))
        if known is None or trial.attempt >= known.attempt:
            found[trial.role, trial.case] = trial
    return tuple(_confirm(one, found, record.lacking) for one in record.regressions)


def _confirm(
    wanted: WantedRegression, trials: Mapping[tuple[str, str], Trial], lacking: Mapping[str, str]
) -> Confirmation:
    def look(kernel: WantedKernel, side: str, signs: Sequence[WantedSign]) -> Seen:
        trial = trials.get((kernel.role, wanted.case))
        return _look(kernel, side, signs, trial, lacking.get(kernel.role, ""))

    return Confirmation(
        wanted,
        tuple(look(kernel, "good", wanted.good_signs) for kernel in wanted.good),
        tuple(look(kernel, "bad", wanted.bad_signs) for kernel in wanted.bad),
    )


def _look(
    kernel: WantedKernel, side: str, signs: Sequence[WantedSign], trial: Trial | None, lacking: str
) -> Seen:
    head = f"{side} kernel {kernel.label}"
    if trial is None:
        why = lacking or "not run"
        return Seen(kernel, side, None, "no kernel" if lacking else "not run", f"{head}: {why}")
    if trial.outcome in UNABLE:
        words = str(trial.outcome)
        return Seen(kernel, side, None, words, f"{head}: {words}: {trial.reason}", trial)
    looks = [(sign, *_shows(sign, trial)) for sign in signs]
    wrong = [(short, f"{long}; wanted: {_wanted(sign)}") for sign, holds, short, long in looks if not holds]
    dead = trial.outcome in (Outcome.CRASH, Outcome.TIMEOUT) and any(not sign.seen for sign in signs)
    # Whatever else it is, it is not what the case looks at; and what did not come up complains of nothing.
    if trial.stage == "boot" and (wrong or dead):
        words = f"{trial.outcome} in boot"
        return Seen(kernel, side, None, words, f"{head}: {words}: {trial.reason}", trial)
    words = "; ".join(dict.fromkeys(short for _, _, short, _ in looks))
    told = f"{head}: {'. '.join(long for _, long in wrong)}" if wrong else ""
    return Seen(kernel, side, not wrong, words, told, trial, tuple(short for short, _ in wrong))


def _shows(sign: WantedSign, trial: Trial) -> tuple[bool, str, str]:
    """Does the trial show it, what it shows in short, and in long."""
    if sign.check:
        return _check(sign, trial)
    if sign.metric:
        return _metric(sign, trial)
    if sign.splat:
        titles = [splat.title for splat in trial.splats if sign.splat in splat.title]
        if titles:
            return sign.seen, sign.splat, titles[0]
        words = f"no {sign.splat}"
        return not sign.seen, words, _ended(trial, words)
    words = str(trial.outcome)
    return trial.outcome == sign.outcome, words, f"{words}: {trial.reason}" if trial.reason else words


def _check(sign: WantedSign, trial: Trial) -> tuple[bool, str, str]:
    check = next((one for one in trial.checks if one.name == sign.check), None)
    if check is None:
        words = f"no check {sign.check}"
        return False, words, _ended(trial, words)
    words = f"{check.name}: {check.result}"
    if sign.says and sign.says in check.detail:
        words += f", {sign.says}"
    holds = check.result == sign.result and sign.says in check.detail
    return holds, words, f"{check.name}: {check.result}" + (f": {check.detail}" if check.detail else "")


def _metric(sign: WantedSign, trial: Trial) -> tuple[bool, str, str]:
    measured = trial.value(sign.metric)
    if measured is None:
        words = f"{sign.metric} n/a"
        return False, words, _ended(trial, words)
    unit = "" if measured.unit == "count" else f" {measured.unit}"
    words = f"{sign.metric} {amount(measured.value)}{unit}"
    above = sign.least is None or measured.value >= sign.least
    below = sign.most is None or measured.value <= sign.most
    return above and below, words, words


def _ended(trial: Trial, words: str) -> str:
    """What is not there, and how the trial ended that has it not."""
    return f"{words} ({trial.outcome}{f': {trial.reason}' if trial.reason else ''})"


def _wanted(sign: WantedSign) -> str:
    if sign.check:
        return sign.result + (f" with the words `{sign.says}`" if sign.says else "")
    if sign.metric:
        bounds = (("at least", sign.least), ("at most", sign.most))
        return " and ".join(f"{word} {amount(value)}" for word, value in bounds if value is not None)
    if sign.splat:
        return sign.splat if sign.seen else f"without {sign.splat}"
    return sign.outcome


def asked(signs: Iterable[WantedSign]) -> str:
    """What all of them want, in short: "taken: at least 3; content: ok"."""
    about = ((sign.check or sign.metric, _wanted(sign)) for sign in signs)
    return "; ".join(f"{name}: {wanted}" if name else wanted for name, wanted in about)


def judge_repro(found: Sequence[Confirmation]) -> Verdict:
    """PASS: all confirmed. FAIL: one is not. INCONCLUSIVE: none is contradicted, and one cannot be told."""
    confirmed = sum(one.confirmed is True for one in found)
    reasons = [f"{confirmed} of {counted(len(found), 'regression')} confirmed"]
    for one in found:
        about = "not confirmed" if one.confirmed is False else "cannot tell"
        reasons += [f"{one.regression.name}: {about}: {seen.told}" for seen in one.seen if seen.told]
    answers = {one.confirmed for one in found}
    verdict = (
        Conclusion.FAIL
        if False in answers
        else Conclusion.INCONCLUSIVE
        if None in answers or not found
        else Conclusion.PASS
    )
    return Verdict(verdict=verdict, stage="run", reasons=tuple(reasons))
