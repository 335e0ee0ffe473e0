# SPDX-License-Identifier: GPL-2.0-or-later
"""The verdict on a night: did anything break that was not expected to, and was everything looked at?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from lab.compare.pairs import newest_attempts
from lab.compare.words import counted
from lab.results.models import Conclusion, Outcome, PlannedTrial, RunRecord, Trial, Verdict
from lab.results.night import NightRecord

MAX_TOLD = 30
"""Reasons of one kind; more are counted."""


def judge_night(record: RunRecord, night: NightRecord, trials: Sequence[Trial]) -> Verdict:
    """FAIL if a cell broke that was not expected to, or a series does not apply or build; INCONCLUSIVE if
    cells have no result and the lab, the host or an interruption is why; else PASS. What a time budget left
    out and what is unchanged is told, and is no failure, unless there is nothing else."""
    current = newest_attempts(trials)
    planned = {one.key: one for one in record.plan}
    failures = [*_rejected(night), *_broken(current), *_still_broken(night, planned)]
    holes = _holes(record, night, current)
    told = _summary(record, night, current)
    if failures:
        only_boots = not night.at_fault and not night.still_broken
        broken = [trial for trial in current if trial.broken]
        stage: Literal["boot", "run"] = (
            "boot" if only_boots and all(trial.stage == "boot" for trial in broken) else "run"
        )
        reasons = (*_bounded(failures), *(f"open: {hole}" for hole in _bounded(holes)), *told)
        return Verdict(verdict=Conclusion.FAIL, stage=stage, reasons=reasons)
    if holes or not (current or night.unchanged):
        why = holes or ["no cell was run"]
        return Verdict(verdict=Conclusion.INCONCLUSIVE, stage="run", reasons=(*_bounded(why), *told))
    return Verdict(verdict=Conclusion.PASS, stage="run", reasons=tuple(told))


def _rejected(night: NightRecord) -> list[str]:
    return [f"kernel {role}: {night.failed_kernels[role]}" for role in night.at_fault]


def _broken(trials: Iterable[Trial]) -> list[str]:
    """One sentence for each broken cell; a kernel that does not boot on a machine is told once."""
    found: list[str] = []
    boots: dict[tuple[str, str], Trial] = {}
    for trial in trials:
        if not trial.broken:
            continue
        if trial.stage == "boot":
            boots.setdefault((trial.role, trial.machine), trial)
        else:
            found.append(f"{_where(trial)}: {trial.outcome}: {trial.reason or 'no reason was recorded'}")
    first = [
        f"kernel {role} does not boot on {machine}: {trial.outcome}: {trial.reason} (trial {trial.number})"
        for (role, machine), trial in boots.items()
    ]
    return [*first, *found]


def _still_broken(night: NightRecord, planned: dict[str, PlannedTrial]) -> list[str]:
    return [
        f"{_where(planned[key])}: unchanged since {night.unchanged.get(key, 'an earlier night')}: {how}"
        for key, how in night.still_broken.items()
        if key in planned
    ]


def _holes(record: RunRecord, night: NightRecord, trials: Sequence[Trial]) -> list[str]:
    """What has no result through no fault of a kernel, and not for want of time."""
    left = {one.key: one for one in night.not_run}
    found = [
        f"kernel {role}: {why}" for role, why in night.failed_kernels.items() if role not in night.at_fault
    ]
    bad = {record_case(one.key, record): one.why for one in night.not_run if one.because == "case"}
    found += [f"{case}: {why}" for case, why in bad.items()]
    errors = [trial for trial in trials if trial.outcome is Outcome.ERROR]
    found += [f"{_where(trial)}: the lab failed: {trial.reason}" for trial in errors]
    done = {trial.key for trial in trials}
    missing = [one.key for one in record.plan if one.key not in done and one.key not in left]
    if missing:
        why = "the night was interrupted: " if record.interrupted else ""
        some = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        found.append(
            f"{why}{len(missing)} of {counted(len(record.plan), 'planned trial')} without a result: {some}"
        )
    return found


def record_case(key: str, record: RunRecord) -> str:
    """The case of a planned trial; the key itself if it is not in the plan."""
    return next((one.case for one in record.plan if one.key == key), key)


def _summary(record: RunRecord, night: NightRecord, trials: Sequence[Trial]) -> list[str]:
    """How many ended how, and what was not run, in a few sentences."""
    ends = [str(trial.outcome) for trial in trials if not trial.as_expected]
    parts = [f"{ends.count(kind):,} {kind}" for kind in sorted(set(ends))]
    known = sum(trial.as_expected for trial in trials)
    parts += [f"{known:,} failed as expected"] if known else []
    told = [f"{counted(len(trials), 'trial')} of {len(record.plan):,} ran: {', '.join(parts) or 'none'}"]
    late = [one for one in night.not_run if one.because == "budget"]
    if late:
        told.append(f"{counted(len(late), 'trial')} not run: {late[-1].why}")
    if night.unchanged:
        told.append(f"{counted(len(night.unchanged), 'trial')} not run: unchanged since an earlier night")
    told += [f"kernel {role} has moved: {how}" for role, how in night.moved.items()]
    told += [f"left out: {why}" for why in night.left_out]
    surprises = [t for t in trials if t.expected is not None and not t.expected.met]
    told += _bounded([f"{_where(trial)}: {trial.reason}" for trial in surprises])
    return told


def _where(one: Trial | PlannedTrial) -> str:
    return f"{one.case} on {one.machine}, kernel {one.role}"


def _bounded(sentences: Sequence[str]) -> list[str]:
    more = len(sentences) - MAX_TOLD
    return [*sentences[:MAX_TOLD], *([f"and {more:,} more"] if more > 0 else [])]
