# SPDX-License-Identifier: GPL-2.0-or-later
"""Drawing one metric over nights as a small inline SVG, in the colours of the page. Pure."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

from lab.compare.words import amount

WIDTH, HEIGHT = 420, 150
LEFT, RIGHT, TOP, BOTTOM = 78, 12, 16, 26  # margins for the values, and for the nights below
DOT = 2.6
NARROW = 7.0
"""Units of the drawing that a character of a label takes, roughly."""


@dataclass(frozen=True, slots=True)
class Dot:
    """One night; `value` None is a night that gave no number."""

    words: str  # "2026-11-21 02:00 UTC, debian:6.12.43-1"
    value: float | None


@dataclass(frozen=True, slots=True)
class Step:
    """From the night `at` on the value lies at another level."""

    at: int  # index into the dots
    before: float
    after: float
    word: str  # "+12.5 %"
    decision: str  # "better", "worse" or "changed": picks the colour


def trend_plot(
    dots: Sequence[Dot], steps: Sequence[Step], *, title: str, unit: str, first: str, last: str
) -> str:
    """An <svg> element. At least one of the dots has a value; `first` and `last` name the outer nights."""
    values = [dot.value for dot in dots if dot.value is not None]
    scale = _Scale.fit(values, len(dots))
    parts = [
        f'<svg class="plot trend" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" xmlns="http://www.w3.org/2000/svg">',
        f"<title>{html.escape(title)}</title>",
        *_frame(scale, unit, first, last),
        *_levels(steps, scale, len(dots)),
        *(_dot(n, dot, scale) for n, dot in enumerate(dots)),
        "</svg>",
    ]
    return "\n".join(parts)


@dataclass(frozen=True)
class _Scale:
    low: float
    high: float
    count: int

    @classmethod
    def fit(cls, values: Sequence[float], count: int) -> _Scale:
        low, high = min(values), max(values)
        room = (high - low) * 0.08 or abs(high) * 0.05 or 1.0
        return cls(low - room, high + room, count)

    def x(self, place: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (place + 0.5) / self.count

    def y(self, value: float) -> float:
        # In two steps: the difference of two large numbers may be more than a float can hold.
        share = value / (self.high - self.low) - self.low / (self.high - self.low)
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share


def _frame(scale: _Scale, unit: str, first: str, last: str) -> list[str]:
    room = (scale.high - scale.low) * (0.08 / 1.16)
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    parts = []
    for value in dict.fromkeys((scale.low + room, scale.high - room)):
        y = scale.y(value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{amount(_exact(value))}</text>')
    parts.append(f'<line class="axis" x1="{LEFT}" x2="{right}" y1="{bottom}" y2="{bottom}"/>')
    parts.append(f'<text x="{LEFT}" y="{HEIGHT - 8}">{html.escape(first)}</text>')
    if scale.count > 1:
        parts.append(f'<text x="{right}" y="{HEIGHT - 8}" text-anchor="end">{html.escape(last)}</text>')
    middle = (TOP + bottom) / 2
    turned = f'transform="translate(10 {middle}) rotate(-90)" text-anchor="middle"'
    parts.append(f"<text {turned}>{html.escape(unit)}</text>")
    return parts


def _exact(value: float) -> float:
    """Without what the arithmetic of the scale has added to it."""
    return float(f"{value:.10g}")


def _levels(steps: Sequence[Step], scale: _Scale, count: int) -> list[str]:
    """The level of each stretch as a line, and a mark with its word where one follows another."""
    parts = []
    for n, step in enumerate(steps):
        begin = steps[n - 1].at if n else 0
        end = steps[n + 1].at if n + 1 < len(steps) else count
        x = scale.x(step.at - 0.5)
        if n == 0:
            parts.append(_level(scale, begin - 0.5, step.at - 0.5, step.before))
        parts.append(_level(scale, step.at - 0.5, end - 0.5, step.after))
        upright = f'x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"'
        parts.append(f'<line class="step {step.decision}" {upright}/>')
        anchor = "end" if x + NARROW * len(step.word) > WIDTH - RIGHT else "start"
        dx = -4 if anchor == "end" else 4
        parts.append(
            f'<text class="step {step.decision}" x="{x + dx:.1f}" y="{TOP - 4}" text-anchor="{anchor}">'
            f"{html.escape(step.word)}</text>"
        )
    return parts


def _level(scale: _Scale, begin: float, end: float, value: float) -> str:
    y = scale.y(value)
    return (
        f'<line class="level" x1="{scale.x(begin):.1f}" x2="{scale.x(end):.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'
    )


def _dot(place: int, dot: Dot, scale: _Scale) -> str:
    x, words = scale.x(place), html.escape(dot.words)
    if dot.value is None:
        y = HEIGHT - BOTTOM
        cross = f"M{x - 3:.1f} {y - 3}l6 6m0 -6l-6 6"
        return f'<path class="none" d="{cross}"><title>{words}: n/a</title></path>'
    return (
        f'<circle cx="{x:.1f}" cy="{scale.y(dot.value):.1f}" r="{DOT}">'
        f"<title>{words}: {amount(dot.value)}</title></circle>"
    )
