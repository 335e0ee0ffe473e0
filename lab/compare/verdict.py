# SPDX-License-Identifier: GPL-2.0-or-later
"""Comparisons -> verdict. Three answers, and each one names its reasons.

FAIL          a case that works on base breaks on patched, or a gating metric is worse
INCONCLUSIVE  the evidence does not suffice: base broken, lab errors, trials missing, metrics undecided
PASS          everything that was planned ran, and nothing that gates got worse
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, get_args

from lab.compare.pairs import BASE, PATCHED, Cell, cells, newest_attempts
from lab.compare.words import change_words, counted, percent, with_unit
from lab.errors import SeriesError
from lab.results.models import (
    BROKEN,
    Clock,
    Comparison,
    Conclusion,
    Decision,
    KernelRecord,
    Outcome,
    PlannedTrial,
    RunRecord,
    Trial,
    Verdict,
)

Stage = Literal["apply", "configure", "build", "boot", "run", "compare"]

MAX_EVIDENCE = 10
"""Lines of a tool's own words that become reasons; all of them are in the build log."""


def judge(
    record: RunRecord,
    trials: Sequence[Trial],
    comparisons: Sequence[Comparison],
    *,
    same_build: bool = False,
) -> Verdict:
    """The verdict on a base and a patched kernel; `same_build` says that both are the same bytes."""
    grid = cells(record, trials)
    broken = [cell for cell in grid if _broken_by_patch(cell)]
    mended = [cell for cell in grid if cell.mended]
    worse = [c for c in comparisons if c.gate and c.decision is Decision.WORSE]
    holes, hole_stage = _holes(record, trials, grid, comparisons)
    steps = _broken_steps(trials)
    between = [
        f"after {t.role.replace('-', ' ')}: {t.case} on {t.machine}: {t.outcome}: {_reason(t)}" for t in steps
    ]
    differing = [reason for cell in broken for reason in _breakage(cell)]
    differing += [describe(c, comparisons) for c in worse]
    if same_build and differing:
        return _same_bytes_disagree(differing)
    failures = between + differing
    others = [describe(c, comparisons) for c in comparisons if c not in worse and _tells(c)]
    others += [
        f"{cell.case} on {cell.machine}: fails on base as expected, passes on patched" for cell in mended
    ]
    if failures:
        at_fault = [t for cell in broken for t in cell.patched if _blamed(t)]
        stage: Stage = _stage_of([*steps, *at_fault])
        return _verdict(Conclusion.FAIL, stage, [*failures, *others, *(f"open: {hole}" for hole in holes)])
    if holes:
        return _verdict(Conclusion.INCONCLUSIVE, hole_stage, [*holes, *others])
    if same_build:
        summary = "the series changes nothing that is built: base and patched are the same kernel"
    else:
        summary = _summary(grid, comparisons)
    return _verdict(Conclusion.PASS, "compare", [summary, *others])


def judge_run(record: RunRecord, trials: Sequence[Trial]) -> Verdict:
    """The verdict on one kernel without another to compare it with."""
    current = newest_attempts(trials)
    broken = [t for t in current if t.broken]
    errors = [t for t in current if t.outcome is Outcome.ERROR]
    missing = _missing(record, trials)
    failures = [f"{t.case} on {t.machine}: {t.outcome}: {_reason(t)}" for t in broken]
    holes = [f"{t.case} on {t.machine}: the lab failed: {_reason(t)}" for t in errors]
    holes += [_missing_sentence(record, missing)] if missing else []
    if failures:
        stage: Stage = "boot" if all(t.stage == "boot" for t in broken) else "run"
        return _verdict(Conclusion.FAIL, stage, [*failures, *(f"open: {hole}" for hole in holes)])
    if holes or not current:
        stage = "boot" if all(t.stage in ("", "plan", "boot") for t in errors) else "run"
        return _verdict(Conclusion.INCONCLUSIVE, stage, holes or ["no trial was run"])
    skipped = [t for t in current if t.outcome is Outcome.SKIP]
    if len(skipped) == len(current):
        reasons = [f"{t.case} on {t.machine}: SKIP: {_reason(t)}" for t in skipped]
        return _verdict(Conclusion.INCONCLUSIVE, "run", ["every trial was skipped", *reasons])
    known = [t for t in current if t.as_expected]
    parts = [f"{counted(len(current) - len(skipped) - len(known), 'trial')} passed"]
    parts += [f"{len(known)} failed as expected"] if known else []
    parts += [f"{len(skipped)} skipped"] if skipped else []
    return _verdict(Conclusion.PASS, "run", [", ".join(parts), *_surprises(current)])


def _surprises(trials: Sequence[Trial]) -> list[str]:
    """One sentence for each trial that came out better than expected: the expectation is out of date."""
    return [
        f"{t.case} on {t.machine}: {_reason(t)}"
        for t in trials
        if t.expected is not None and not t.expected.met
    ]


def reject(error: SeriesError) -> Verdict:
    """The verdict on a series that does not apply or does not build: FAIL, with the tool's own words."""
    stage: Stage = error.stage if error.stage in get_args(Stage) else "build"  # type: ignore[assignment]
    lines = [line.rstrip() for line in error.evidence.splitlines() if line.strip()][:MAX_EVIDENCE]
    return _verdict(Conclusion.FAIL, stage, [error.message, *(f"| {line[:200]}" for line in lines)])


def same_bytes(base: KernelRecord | None, patched: KernelRecord | None) -> bool:
    """Whether two kernel records describe the same built bytes: the patch changed a comment, say."""
    if base is None or patched is None:
        return False
    if base.id == patched.id:
        return True
    first, second = (
        (k.image_sha256, k.config_sha256, k.build_id, k.replaced_modules) for k in (base, patched)
    )
    return first == second


def describe(comparison: Comparison, among: Sequence[Comparison]) -> str:
    """One comparison as a sentence, naming the machine only if `among` has several."""
    c = comparison
    numbers = f"{with_unit(c.base, '')} -> {with_unit(c.patched, c.unit)}"
    change = "" if c.change is None else f" ({change_words(c.change)})"
    evidence = ""
    if c.clock is Clock.REAL and c.interval:
        low, high = (percent(bound) for bound in c.interval)
        evidence = f", 95 % interval {low} to {high} over {c.trials} pairs of boots"
    text = f"{_where(c, among)}: {c.title} {numbers}{change}{evidence}"
    if c.decision is Decision.BETTER:
        return f"gain: {text}"
    if c.decision is Decision.WORSE:
        return f"{text}, worse" + ("" if c.gate else " (shown, does not gate)")
    return f"{_where(c, among)}: {c.title} {c.decision}: {c.note}"


def _where(comparison: Comparison, among: Sequence[Comparison]) -> str:
    several = len({c.machine for c in among}) > 1
    return f"{comparison.case} on {comparison.machine}" if several else comparison.case


def _tells(comparison: Comparison) -> bool:
    """Whether a reader of the verdict wants to hear of it although it does not fail the series."""
    if comparison.decision is Decision.NOT_JUDGED:
        return comparison.gate
    return comparison.decision is Decision.WORSE or (
        comparison.gate and comparison.decision is Decision.BETTER
    )


def _broken_by_patch(cell: Cell) -> bool:
    return cell.outcomes(BASE) == {Outcome.PASS} and any(_blamed(t) for t in cell.patched)


def _blamed(trial: Trial) -> bool:
    """Does a failure where the base passed count against the series? Not if the case fails now and then."""
    return trial.outcome in BROKEN and not (trial.as_expected and _kind(trial) == "flake")


def _kind(trial: Trial) -> str:
    return trial.expected.kind if trial.expected is not None else ""


def _broken_steps(trials: Sequence[Trial]) -> list[Trial]:
    """Boots of kernels in the middle of the series that did not go well; the series does not bisect."""
    return [t for t in newest_attempts(trials) if t.role not in (BASE, PATCHED) and t.broken]


def _breakage(cell: Cell) -> list[str]:
    """One sentence for each way in which the patched kernel broke a case that works on base."""
    ends = [t for t in cell.patched if _blamed(t)]
    sentences = []
    for outcome in sorted({t.outcome for t in ends}):
        these = [t for t in ends if t.outcome is outcome]
        of = f" in {len(these)} of {len(cell.patched)} boots" if len(cell.patched) > 1 else ""
        sentences.append(
            f"{cell.case} on {cell.machine}: passes on base, {outcome} on patched{of}: {_reason(these[0])}"
        )
    return sentences


def _holes(
    record: RunRecord, trials: Sequence[Trial], grid: Iterable[Cell], comparisons: Sequence[Comparison]
) -> tuple[list[str], Stage]:
    """What is missing for a PASS, and the stage at which it is missing."""
    missing = _missing(record, trials)
    early = [_missing_sentence(record, missing)] if missing else []
    late: list[str] = []
    blamed: list[Trial] = []
    for cell in grid:
        at_fault, sentence = _hole(cell)
        if not sentence and not missing:
            sentence = cell.one_sided()
        if sentence:
            early.append(sentence)
            blamed += at_fault
        else:
            late += _unsettled(cell, comparisons)
    if not early and not any(cell.patched and cell.passed(BASE) for cell in grid):
        silent = [cell.base[0] for cell in grid if cell.skipped or cell.as_expected]
        reasons = [f"{t.case} on {t.machine}: {t.outcome}: {_reason(t)}" for t in silent]
        early += ["nothing could be compared", *reasons]
    if early:
        return early + late, "boot" if blamed and _stage_of(blamed) == "boot" else "run"
    return late, "compare"


def _hole(cell: Cell) -> tuple[list[Trial], str]:
    """Why a cell cannot answer whether the series broke it: the trials at fault, and the sentence."""
    where = f"{cell.case} on {cell.machine}"
    for role in (BASE, PATCHED):
        errors = [t for t in cell.side(role) if t.outcome is Outcome.ERROR]
        if errors:
            return errors, f"{where}: the lab failed on {role}: {_reason(errors[0])}"
    if cell.as_expected or cell.mended:
        return [], ""
    spoiled = [t for t in cell.base if t.outcome in BROKEN]
    flaked = [t for t in cell.patched if t.outcome in BROKEN and not _blamed(t)]
    if flaked and not spoiled:
        return (
            flaked,
            f"{where}: {flaked[0].outcome} on patched, which is a known flake: {_reason(flaked[0])}",
        )
    if spoiled:
        ends = f"{spoiled[0].outcome} on base: {_reason(spoiled[0])}"
        after = ", ".join(sorted(cell.outcomes(PATCHED))) or "not run"
        return spoiled, f"{where}: nothing to compare with: {ends} (patched: {after})"
    if cell.base and cell.patched and not cell.skipped:
        for role, other in ((BASE, PATCHED), (PATCHED, BASE)):
            skips = [t for t in cell.side(role) if t.outcome is Outcome.SKIP]
            if skips:
                return skips, f"{where}: skipped on {role} but not on {other}: {_reason(skips[0])}"
    return [], ""


def _unsettled(cell: Cell, comparisons: Sequence[Comparison]) -> list[str]:
    """Gating metrics of a cell that ran well and still say nothing."""
    gating = [c for c in comparisons if (c.case, c.machine) == (cell.case, cell.machine) and c.gate]
    if not (cell.passed(BASE) and cell.passed(PATCHED)) or _broken_by_patch(cell):
        return []
    undecided = [c for c in gating if c.decision is Decision.UNDECIDED]
    if gating and all(c.decision is Decision.NOT_JUDGED for c in gating):
        return [f"{cell.case} on {cell.machine}: no gating metric could be judged: {gating[0].note}"]
    return [describe(c, comparisons) for c in undecided]


def _missing(record: RunRecord, trials: Sequence[Trial]) -> list[PlannedTrial]:
    done = {trial.key for trial in trials}
    return [planned for planned in record.plan if planned.key not in done]


def _missing_sentence(record: RunRecord, missing: Sequence[PlannedTrial]) -> str:
    why = "the run was interrupted: " if record.interrupted else ""
    names = ", ".join(planned.key for planned in missing[:3]) + (", ..." if len(missing) > 3 else "")
    return f"{why}{len(missing)} of {counted(len(record.plan), 'planned trial')} without a result: {names}"


def _same_bytes_disagree(differing: Sequence[str]) -> Verdict:
    """The same bytes cannot differ: what was seen is the lab's noise, and must not blame the series."""
    first = "base and patched are the same kernel, yet they behaved differently: the lab is at fault"
    return _verdict(Conclusion.INCONCLUSIVE, "compare", [first, *differing])


def _summary(grid: Sequence[Cell], comparisons: Sequence[Comparison]) -> str:
    judged = [c for c in comparisons if c.gate and c.decision in (Decision.SAME, Decision.BETTER)]
    silent = [cell for cell in grid if cell.skipped or cell.as_expected or cell.mended]
    ran = counted(len(grid) - len(silent), "case")
    text = f"{ran} passed on both kernels, none of {counted(len(judged), 'gating metric')} is worse"
    skipped = sum(cell.skipped for cell in grid)
    known = sum(cell.as_expected for cell in grid)
    text += f"; {known} failed on both as expected" if known else ""
    return f"{text}; {skipped} skipped" if skipped else text


def _stage_of(trials: Sequence[Trial]) -> Stage:
    """The stage that the trials at fault reached; "compare" if no trial is at fault."""
    if not trials:
        return "compare"
    return "boot" if all(trial.stage == "boot" for trial in trials) else "run"


def _reason(trial: Trial) -> str:
    return trial.reason or "no reason was recorded"


def _verdict(conclusion: Conclusion, stage: Stage, reasons: Sequence[str]) -> Verdict:
    return Verdict(verdict=conclusion, stage=stage, reasons=tuple(reasons))
