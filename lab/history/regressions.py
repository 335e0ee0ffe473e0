# SPDX-License-Identifier: GPL-2.0-or-later
"""What is new in a night: what broke or was mended, where a metric's level changed, unknown ways to fail."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from lab.compare.words import change_words, with_unit
from lab.history.changes import SMALLEST, metric_changes
from lab.history.commands import bisect_command, compare_command, run_command
from lab.history.index import Index
from lab.history.model import Cell, ChangePoint, Entry, Point
from lab.history.rates import rate_words
from lab.history.rows import trends
from lab.results.models import BROKEN, Clock, MetricRecord, Outcome

Kind = Literal["broken", "signature", "worse", "moved", "better", "fixed", "varies"]
"""moved: a level changed, but the kernel need not be why. varies: nothing that is known changed beside it."""

KINDS: tuple[Kind, ...] = ("broken", "signature", "worse", "moved", "better", "fixed", "varies")
"""In the order in which they are told."""

FEW = 300
"""Cells whose past is read one by one; of more, all at once."""

_CONDITIONS = {
    "accelerator": "the accelerator",
    "nesting": "the nesting",
    "qemu_version": "QEMU",
    "memory_backing": "the guests' memory",
    "lab_version": "the lab's version",
    "host": "the host",
    "host_kernel": "the host's kernel",
    "host_cpu": "the host's processor",
    "host_cpus": "the number of the host's processors",
    "guest_cmdline": "the guests' command line",
}


@dataclass(frozen=True, slots=True)
class Regression:
    """One thing that is new. `before` and `now` hold the two kernels to compare."""

    kind: Kind
    cell: Cell
    what: str  # in one line
    before: Entry | None  # the last one that was otherwise; None: the cell has no past
    now: Entry
    alarm: bool  # somebody must look at it: the kernel got worse, as far as can be told
    note: str = ""  # what else a reader must know
    metric: str = ""  # of worse, better and moved
    title: str = ""  # of the metric, for readers
    change: ChangePoint | None = None
    signature: tuple[str, str] = ("", "")  # kind and title
    cells: int = 1  # that show the signature
    command: str = ""  # shows it again, on the newer kernel
    command_before: str = ""  # on the older one
    compare: str = ""  # `lab compare` of the two runs, where that makes sense
    bisect: str = ""  # `lab bisect` between the two kernels, where that makes sense


def new_since(index: Index, run: str) -> list[Regression]:
    """What is new in a night against those before it; what must be looked at comes first.

    A cell is held against the newest earlier night that says something about it. Without an earlier night
    everything that is broken is new.
    """
    metrics = index.metrics(run)
    found: list[Regression] = []
    for past in _pasts(index, run):
        found += _outcome(index, past)
        found += _metrics(index, past, metrics)
    found += _signatures(index, run, {one.cell for one in found if one.kind == "broken"})
    return sorted(found, key=lambda one: (not one.alarm, KINDS.index(one.kind), one.now.number, one.metric))


def _pasts(index: Index, run: str) -> Iterator[list[Entry]]:
    """The past of each cell in which something differs from the night before, newest first."""
    cells = index.differing(run)
    if len(cells) <= FEW:
        yield from (index.past(cell, until=run) for cell in cells)
        return
    wanted = set(cells)
    yield from (past for cell, past in index.all_past(run).items() if cell in wanted)


def _telling(entries: Iterable[Entry]) -> Iterator[Entry]:
    return (entry for entry in entries if entry.outcome is Outcome.PASS or entry.outcome in BROKEN)


def _outcome(index: Index, past: Sequence[Entry]) -> Iterator[Regression]:
    now, before = past[0], next(_telling(past[1:]), None)
    if now.broken and (before is None or before.good):
        was = f"{before.outcome} -> " if before else "new, and "
        what = f"{was}{now.outcome}: {now.reason or now.signature}"
        note = _why_not_the_kernel(index, before, now, flaking=True) if before else "it has no past"
        yield _regression(index, "broken", now, before, what, alarm=True, note=note)
    elif now.good and before is not None and before.broken:
        known = ", which is expected now" if now.outcome in BROKEN else ""
        what = f"{before.outcome} -> {now.outcome}{known}"
        yield _regression(index, "fixed", now, before, what, alarm=False)


def _why_not_the_kernel(index: Index, before: Entry, now: Entry, *, flaking: bool = False) -> str:
    """What beside the kernel changed, or that the kernel did not; "" if the kernel alone changed."""
    told = _changed_beside_the_kernel(index, before, now)
    if now.kernel_id == before.kernel_id:
        rate = f": fails in {rate_words(index.flakes(now.cell))} boots of it" if flaking else ""
        told.append(f"the kernel is the same{rate}")
    return "; ".join(told)


def _changed_beside_the_kernel(index: Index, before: Entry, now: Entry) -> list[str]:
    told = ["the case was edited"] if now.digest != before.digest else []
    if now.setup != before.setup:
        told += _differing_conditions(index, before, now)
    return told


def _differing_conditions(index: Index, before: Entry, now: Entry) -> list[str]:
    old, new = index.conditions(before.setup), index.conditions(now.setup)
    changed = [words for name, words in _CONDITIONS.items() if old.get(name) != new.get(name)]
    return [f"{', '.join(changed)} changed as well"] if changed else []


def _metrics(
    index: Index, past: Sequence[Entry], metrics: dict[tuple[str, str], MetricRecord]
) -> Iterator[Regression]:
    now = past[0]
    if now.outcome is not Outcome.PASS:
        return
    for name, points in trends(reversed(past)).items():
        told = metrics.get((now.cell.case, name))
        if told is not None and points[-1].run == now.run:
            for change in _new_changes(points, told):
                yield _moved(index, past, name, told, change)


def _new_changes(points: Sequence[Point], metric: MetricRecord) -> list[ChangePoint]:
    """Those that were not to be seen the night before. Noise may place the same change a little elsewhere."""
    found = metric_changes(points, metric)
    if not found:
        return []
    place = {point.run: number for number, point in enumerate(points)}
    slack = SMALLEST if points[-1].clock is Clock.REAL else 0
    known = [place[one.at.run] for one in metric_changes(points[:-1], metric)]
    return [one for one in found if all(abs(place[one.at.run] - other) > slack for other in known)]


def _moved(
    index: Index, past: Sequence[Entry], name: str, metric: MetricRecord, change: ChangePoint
) -> Regression:
    by_run = {entry.run: entry for entry in past}
    now, before = by_run[change.at.run], by_run[change.last.run] if change.last else None
    note = _why_not_the_kernel(index, before, now) if before else ""
    rose = change.after > change.before
    kind: Kind = "worse" if rose == (metric.better == "lower") else "better"
    if before and note:
        kind = "moved" if _changed_beside_the_kernel(index, before, now) else "varies"
    how = "" if change.change is None else f" ({change_words(change.change)})"
    unit = change.at.unit
    what = f"{metric.title} {with_unit(change.before, '')} -> {with_unit(change.after, unit)}{how}"
    alarm = kind == "worse" and metric.gate
    if kind == "worse" and not metric.gate:
        note = "this metric is shown, and fails nothing"
    return _regression(
        index, kind, now, before, what, alarm=alarm, note=note, metric=name, title=metric.title, change=change
    )


def _signatures(index: Index, run: str, broken: set[Cell]) -> Iterator[Regression]:
    """Unknown complaints of kernels. How a check or a deadline failed is no news of a cell that is told as
    broken."""
    for one in index.signatures(run):
        if not one.new:
            continue
        showing = index.showing(run, one.kind, one.title)
        told = all(entry.cell in broken for entry in showing)
        if one.kind in BROKEN and told:
            continue
        now = showing[0]
        before = next(_telling(index.past(now.cell, until=run)[1:]), None)
        where = "" if one.count == 1 else f" in {one.count} cells, such as this one"
        what = f"{one.title if one.title.startswith(one.kind) else f'{one.kind}: {one.title}'}{where}"
        note = _why_not_the_kernel(index, before, now) if before else "the cell has no past"
        if told:
            note = "; ".join(filter(None, ("of what is told as broken", note)))
        yield _regression(
            index,
            "signature",
            now,
            before,
            what,
            alarm=not told,
            note=note,
            signature=(one.kind, one.title),
            cells=one.count,
        )


def _regression(
    index: Index, kind: Kind, now: Entry, before: Entry | None, what: str, *, alarm: bool, **more: object
) -> Regression:
    cell = now.cell
    commands = {"command": run_command(index, cell, now)}
    if before is not None and before.kernel_id != now.kernel_id:
        commands |= {
            "command_before": run_command(index, cell, before),
            "compare": compare_command(index, before, now),
            "bisect": bisect_command(cell, before, now, *_sought(kind, more)) if kind != "fixed" else "",
        }
    return Regression(kind, cell, what, before, now, alarm, **more, **commands)  # type: ignore[arg-type]


def _sought(kind: Kind, more: dict[str, object]) -> tuple[str, ...]:
    """What a bisection is to look for, where it is not simply that the case fails."""
    if metric := more.get("metric"):
        return "--metric", str(metric)
    signature = more.get("signature")
    return ("--signature", str(signature[1])) if kind == "signature" and isinstance(signature, tuple) else ()
