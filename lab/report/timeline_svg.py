# SPDX-License-Identifier: GPL-2.0-or-later
"""Drawing a timeline as inline SVG: the whole span, and one touch with its neighbours, large. Pure.

What lies closer than the drawing can show becomes one stroke, so that it is bounded whatever was traced; the
number of events stands beside each lane.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

from lab.compare.words import amount
from lab.report.timeline import Timeline

WIDTH, LEFT, RIGHT = 760, 118, 12
TOP, LANE, BOTTOM = 26, 34, 40
STEP = 0.5
"""Units of the drawing within which strokes are one."""

MAX_WORDS = 60
"""Names written into one drawing."""


@dataclass(frozen=True)
class Mark:
    """Something with a time: a moment if it ends where it begins."""

    begin: float
    end: float
    name: str


@dataclass(frozen=True)
class Lane:
    name: str
    kind: str  # CSS class
    marks: Sequence[Mark] | None  # None: n/a


def lanes_of(timeline: Timeline) -> list[Lane]:
    """Touches, guest faults, exits, host faults, in units of the clock."""

    def mark(begin: int, end: int, name: str) -> Mark:
        return Mark(timeline.units(begin), timeline.units(end), name)

    faults, exits, host = timeline.guest_faults, timeline.exits, timeline.host_faults
    return [
        Lane("touches", "touch", [mark(t.begin, t.end, f"{t.number}") for t in timeline.touches]),
        Lane("guest faults", "fault", None if faults is None else [mark(f.time, f.time, "") for f in faults]),
        Lane("exits", "exit", None if exits is None else [mark(e.begin, e.end, e.reason) for e in exits]),
        Lane(
            "host faults",
            "host",
            None if host is None else [mark(f.begin, f.end, _of(f.for_guest)) for f in host],
        ),
    ]


def _of(for_guest: bool) -> str:
    return "for the guest" if for_guest else "QEMU's own"


def drawing(timeline: Timeline, *, title: str, ident: str) -> str:
    """The whole span."""
    end = timeline.units(timeline.touches[-1].end)
    return _svg(lanes_of(timeline), (0.0, end), timeline.unit, title=title, ident=ident)


def close_up(timeline: Timeline, number: int, *, title: str, ident: str) -> str:
    """One touch, with a quarter of its length around it."""
    touch = timeline.touches[number]
    begin, end = timeline.units(touch.begin), timeline.units(touch.end)
    margin = (end - begin) / 4 or 1.0
    return _svg(lanes_of(timeline), (begin - margin, end + margin), timeline.unit, title=title, ident=ident)


def _svg(lanes: Sequence[Lane], window: tuple[float, float], unit: str, *, title: str, ident: str) -> str:
    height = TOP + LANE * len(lanes) + BOTTOM
    inside = [
        Lane(lane.name, lane.kind, None if lane.marks is None else _within(lane.marks, window))
        for lane in lanes
    ]
    parts = [
        f'<svg class="plot" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-labelledby="{ident}-title" xmlns="http://www.w3.org/2000/svg">',
        f'<title id="{ident}-title">{html.escape(title)}</title>',
        *(part for number, lane in enumerate(inside) for part in _lane(lane, TOP + LANE * number, window)),
        *_axis(window, TOP + LANE * len(lanes), unit),
        "</svg>",
    ]
    return "\n".join(parts)


def _within(marks: Sequence[Mark], window: tuple[float, float]) -> list[Mark]:
    return [mark for mark in marks if mark.end >= window[0] and mark.begin <= window[1]]


def _lane(lane: Lane, top: int, window: tuple[float, float]) -> list[str]:
    count = "n/a" if lane.marks is None else f"{len(lane.marks):,}"
    parts = [
        f'<text x="{LEFT - 8}" y="{top + 14}" text-anchor="end">{lane.name}</text>',
        f'<text x="{LEFT - 8}" y="{top + 27}" text-anchor="end">{count}</text>',
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{top + LANE - 4}" y2="{top + LANE - 4}"/>',
    ]
    strokes: set[float] = set()
    bars: list[str] = []
    words = 0
    for mark in lane.marks or ():
        begin, end = _x(mark.begin, window), _x(mark.end, window)
        if end - begin < 2 * STEP:
            strokes.add(round(begin / STEP) * STEP)
            continue
        bars.append(f"M{begin:.1f} {top + 4}H{end:.1f}V{top + LANE - 6}H{begin:.1f}Z")
        if end - begin > 7 * len(mark.name) + 4 and words < MAX_WORDS:
            words += 1
            parts.append(
                f'<text class="in" x="{(begin + end) / 2:.1f}" y="{top + 20}" text-anchor="middle">'
                f"{html.escape(mark.name)}</text>"
            )
    if strokes:
        path = "".join(f"M{x:.1f} {top + 4}v{LANE - 10}" for x in sorted(strokes))
        parts.insert(0, f'<path class="stroke {lane.kind}" d="{path}"/>')
    if bars:
        parts.insert(0, f'<path class="bar {lane.kind}" d="{"".join(bars)}"/>')
    return parts


def _x(time: float, window: tuple[float, float]) -> float:
    share = (time - window[0]) / (window[1] - window[0])
    return LEFT + (WIDTH - LEFT - RIGHT) * min(1.0, max(0.0, share))


def _axis(window: tuple[float, float], top: int, unit: str) -> list[str]:
    parts = [f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{top}" y2="{top}"/>']
    scale, shown = (1e6, "ms") if unit == "ns" and window[1] - window[0] > 4e6 else (1.0, unit)
    for part in range(5):
        time = window[0] + (window[1] - window[0]) * part / 4
        x = _x(time, window)
        anchor = ("start", "middle", "middle", "middle", "end")[part]
        parts.append(f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{top + 5}"/>')
        parts.append(
            f'<text x="{x:.1f}" y="{top + 18}" text-anchor="{anchor}">{amount(round(time / scale, 1))}</text>'
        )
    axis = f"{'guest instructions' if unit == 'insn' else shown} from the first touch on"
    parts.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{top + 34}" text-anchor="middle">{axis}</text>')
    return parts
