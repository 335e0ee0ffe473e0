# SPDX-License-Identifier: GPL-2.0-or-later
"""Which latency plots a run has: one for each case, machine and clock whose trials kept their touches."""

from __future__ import annotations

from dataclasses import dataclass

from lab.compare.words import counted
from lab.report.clean import one_line
from lab.report.findings import Findings
from lab.report.samples import FILE_NAME, BadSamples, read_touches
from lab.report.svg import Series, latency_plot
from lab.results.models import Clock, Outcome, Trial

MAX_KERNELS = 6
"""In one drawing; where a run has more, as `lab answer` has, nothing could be seen in it."""

UNITS = {Clock.VIRTUAL: "guest instructions"}
"""Of a touch on each clock, where it is not "ns"."""


@dataclass(frozen=True)
class Plot:
    """One drawing with the words around it; `svg` is "" where the samples could not be read."""

    case: str
    title: str
    question: str
    machine: str
    svg: str
    caption: str


def latency_plots(findings: Findings) -> list[Plot]:
    """The plots in the order of the trials."""
    groups: dict[tuple[str, str, Clock], list[Trial]] = {}
    for trial in findings.current:
        if FILE_NAME in trial.samples and trial.outcome in (Outcome.PASS, Outcome.FAIL):
            groups.setdefault((trial.case, trial.machine, trial.clock), []).append(trial)
    drawn = [trials for trials in groups.values() if len({trial.role for trial in trials}) <= MAX_KERNELS]
    return [_plot(findings, trials, f"plot{n}") for n, trials in enumerate(drawn, start=1)]


def _plot(findings: Findings, trials: list[Trial], ident: str) -> Plot:
    case, machine, clock = trials[0].case, trials[0].machine, trials[0].clock
    first = min(trial.repeat for trial in trials)
    shown = sorted((t for t in trials if t.repeat == first), key=lambda t: t.role != "base")
    series, problems = [], []
    for trial in shown:
        try:
            touches = read_touches(findings.run.trial_path(trial.key) / "samples" / FILE_NAME)
        except BadSamples as error:
            problems.append(f"{trial.role}: {error}")
            continue
        series.append(Series(trial.role, _label(findings, trial.role), touches))
    record = findings.record.cases.get(case)
    title = one_line(record.title if record else case)
    unit = UNITS.get(clock, "ns")
    svg = (
        latency_plot(series, title=f"{case} on {machine}: {title}", unit=unit, ident=ident) if series else ""
    )
    boots = max(trial.repeat for trial in trials)
    caption = [f"Boot {first} of {counted(boots, 'boot')}."] if boots > 1 else []
    if clock is Clock.FUNCTIONAL:
        caption.append("Wall time under emulation: shows the shape, is never judged.")
    caption += [f"Not drawn: {one_line(problem)}." for problem in problems]
    return Plot(case, title, one_line(record.question if record else ""), machine, svg, " ".join(caption))


def _label(findings: Findings, role: str) -> str:
    kernel = findings.kernel(role)
    name = one_line(kernel.name, limit=60) if kernel else ""
    return f"{role}: {name}" if name and role != "kernel" else name or role
