# SPDX-License-Identifier: GPL-2.0-or-later
"""The timelines of a run for report.html: two drawings and a short table for each trial that has one."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from lab.report.clean import one_line
from lab.report.findings import Findings
from lab.report.timeline import NESTED, Timeline, build
from lab.report.timeline_files import TICKS_FILE, BadTimeline, read_recorded
from lab.report.timeline_svg import close_up, drawing
from lab.report.timeline_trace import accelerator, clock_of, trust
from lab.results.models import Trial

MAX_TIMELINES = 12
MAX_TOUCHES = 12
"""Rows of the table; the trace file has all."""


@dataclass(frozen=True)
class Row:
    """A touch and what came from it."""

    touch: int
    page: int
    length: int
    guest_faults: int | None
    exits: str  # "2 npf, 1 io"; "n/a"
    host_faults: int | None


@dataclass(frozen=True)
class Section:
    """One trial's timeline; `svg` is "" where it could not be drawn."""

    trial: Trial
    svg: str = ""
    near: str = ""  # one touch, large
    nearest: int = 0  # its number
    unit: str = ""
    rows: tuple[Row, ...] = ()
    left_out: int = 0  # touches that have no row
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def timeline_sections(findings: Findings) -> list[Section]:
    """In the order of the trials."""
    traced = [trial for trial in findings.current if TICKS_FILE in trial.samples]
    return [_section(findings, trial, f"timeline{n}") for n, trial in enumerate(traced[:MAX_TIMELINES])]


def _section(findings: Findings, trial: Trial, ident: str) -> Section:
    try:
        recorded = read_recorded(findings.run.trial_path(trial.key))
        if recorded is None:
            return Section(trial, problems=(f"{TICKS_FILE} is not there",))
        timeline = build(recorded)
    except BadTimeline as error:
        return Section(trial, problems=(one_line(str(error)),))
    by_touch = busiest(timeline)
    title = f"timeline of {trial.case} on {trial.machine}"
    nearest = by_touch[0].touch
    return Section(
        trial,
        drawing(timeline, title=title, ident=ident),
        close_up(timeline, nearest, title=f"{title}, touch {nearest}", ident=f"{ident}-near"),
        nearest,
        "guest instructions" if timeline.unit == "insn" else timeline.unit,
        tuple(by_touch[:MAX_TOUCHES]),
        max(0, len(by_touch) - MAX_TOUCHES),
        tuple(_notes(timeline, trial)),
        tuple(one_line(problem) for problem in timeline.problems),
    )


def busiest(timeline: Timeline) -> list[Row]:
    """All touches, those with most host faults, nested faults, and exits first, then the longest."""
    exits: dict[int, Counter[str]] = {}
    for one in timeline.exits or ():
        if one.touch is not None:
            exits.setdefault(one.touch, Counter())[one.reason] += 1
    guest = Counter(one.touch for one in timeline.guest_faults or ())
    host = Counter(one.touch for one in timeline.host_faults or ())

    def row(number: int) -> Row:
        touch = timeline.touches[number]
        reasons = exits.get(number, Counter[str]())
        told = ", ".join(f"{count} {one_line(reason, limit=40)}" for reason, count in reasons.most_common(4))
        return Row(
            number,
            touch.page,
            round(timeline.units(touch.end - touch.begin)),
            guest[number] if timeline.guest_faults is not None else None,
            "n/a" if timeline.exits is None else told or "0",
            host[number] if timeline.host_faults is not None else None,
        )

    def weight(number: int) -> tuple[int, int, int, int]:
        reasons = exits.get(number, Counter[str]())
        touch = timeline.touches[number]
        return host[number], sum(reasons[one] for one in NESTED), reasons.total(), touch.end - touch.begin

    return [row(number) for number in sorted(range(len(timeline.touches)), key=weight, reverse=True)]


def _notes(timeline: Timeline, trial: Trial) -> list[str]:
    environment = trial.environment
    under = accelerator(environment) if environment is not None else "an unknown accelerator"
    notes = [f"Clock {clock_of(trial)}, under {under}: {trust(timeline, trial)}."]
    if timeline.exits is not None:
        notes.append(
            f"{timeline.without_touch:,} of {len(timeline.exits):,} exits came from no touch: "
            "the workload's way to the span and out of it."
        )
    return [*notes, *(f"n/a: {name}: {one_line(why)}." for name, why in timeline.missing.items())]
