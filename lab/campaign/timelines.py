# SPDX-License-Identifier: GPL-2.0-or-later
"""`lab run --timeline`: what a trial has left of its span becomes a trace file, if it can be trusted."""

from __future__ import annotations

from pathlib import Path

from lab.report.timeline import Timeline, build
from lab.report.timeline_files import BadTimeline, read_recorded
from lab.report.timeline_trace import trace_json
from lab.results.models import Outcome, Trial

TIMELINE_FILE = "timeline.json"


def with_timeline(trial: Trial, folder: Path) -> Trial:
    """The trial with its timeline in `folder` and a note on it. A passed trial whose timeline contradicts
    itself is ERROR: the lab has put together what does not belong together."""
    try:
        recorded = read_recorded(folder)
        if recorded is None:
            return _noted(trial, "timeline: n/a: the workload told no touches")
        timeline = build(recorded)
    except BadTimeline as error:
        return _refused(trial, str(error))
    (folder / TIMELINE_FILE).write_text(trace_json(timeline, trial))
    where = f"trials/{trial.key}/{TIMELINE_FILE}"
    trial = _noted(trial, f"timeline: {where} (for ui.perfetto.dev): {summary(timeline)}")
    return _refused(trial, "; ".join(timeline.problems)) if timeline.problems else trial


def summary(timeline: Timeline) -> str:
    """How much of everything it has; "n/a" with the reason."""
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in timeline.reasons.most_common(6))
    without = f"; {timeline.without_touch:,} without a touch" if timeline.exits is not None else ""
    counts = {
        "guest faults": (timeline.guest_faults, ""),
        "exits": (timeline.exits, f" ({reasons}{without})" if timeline.exits else ""),
        "host faults": (timeline.host_faults, ""),
    }
    told = [f"{len(timeline.touches):,} touches"]
    for name, (found, more) in counts.items():
        told.append(f"{len(found):,} {name}{more}" if found is not None else f"{name} n/a")
    why = dict.fromkeys(timeline.missing.values())
    return ", ".join(told) + (f" ({'; '.join(why)})" if why else "")


def _noted(trial: Trial, note: str) -> Trial:
    return trial.model_copy(update={"notes": (*trial.notes, note)})


def _refused(trial: Trial, why: str) -> Trial:
    if trial.outcome is not Outcome.PASS:
        return _noted(trial, f"timeline: {why}")
    return trial.model_copy(
        update={"outcome": Outcome.ERROR, "stage": "collect", "reason": f"the timeline: {why}"}
    )
