# SPDX-License-Identifier: GPL-2.0-or-later
"""Drawing the latency of every touch as an inline SVG. Pure: lists of numbers in, markup out.

Colours are CSS variables of the page, so that one drawing serves light and dark mode; the two sides also
differ in the shape of their dots, so that it serves readers who do not see the colours.
"""

from __future__ import annotations

import functools
import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

from lab.compare.words import amount

WIDTH, HEIGHT = 760, 320
LEFT, RIGHT, TOP, BOTTOM = 92, 18, 44, 46  # margins for axis titles, tick labels and the legend
COLUMNS = 380
"""Buckets along x: two units of the drawing each, finer than which dots cannot be told apart."""

MAX_PEAKS = 64
"""More dots than this near the top are no exception, and are drawn like all others."""

MANY = 8192
"""Touches of a drawing from which on the places of its dots are not kept for the next one."""

DOTS = {"base": "round", "patched": "square", "kernel": "round"}


@dataclass(frozen=True)
class Series:
    """One line of the drawing: `role` picks colour and shape, `values` are in touch order."""

    role: str
    label: str
    values: Sequence[int]


def latency_plot(
    series: Sequence[Series], *, title: str, unit: str, ident: str, columns: int = COLUMNS
) -> str:
    """An <svg> element: touch number on a linear x axis, latency on a logarithmic y axis.

    `ident` must be unique in the page and an XML name; `series` holds at least one value each. Of each of
    `columns` stretches of touches the shortest and the longest are drawn.
    """
    touches = max(len(one.values) for one in series)
    scale = _Scale.fit([value for one in series for value in one.values], touches)
    parts = [
        f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-labelledby="{ident}-title {ident}-desc" xmlns="http://www.w3.org/2000/svg">',
        f'<title id="{ident}-title">{html.escape(title)}</title>',
        f'<desc id="{ident}-desc">{html.escape(_description(series, unit))}</desc>',
        *_axes(scale, unit),
        *(_dots(one, scale, columns) for one in series),
        *_longest(series, scale),
        *_legend(series),
        "</svg>",
    ]
    return "\n".join(parts)


def thin(values: Sequence[int], columns: int = COLUMNS) -> list[tuple[int, int]]:
    """(touch number from 0, value) of the smallest and the largest value of each of `columns` buckets.

    Every stall survives: the largest value of any stretch is the largest of some bucket in it.
    """
    if len(values) <= 2 * columns:
        return list(enumerate(values))
    kept: list[tuple[int, int]] = []
    for column in range(columns):
        first = column * len(values) // columns
        bucket = values[first : (column + 1) * len(values) // columns]
        low, high = min(bucket), max(bucket)
        least, most = bucket.index(low), bucket.index(high)
        if least < most:
            kept += (first + least, low), (first + most, high)
        elif most < least:
            kept += (first + most, high), (first + least, low)
        else:
            kept.append((first + least, low))
    return kept


@dataclass(frozen=True)
class _Scale:
    """From data to drawing units; the y axis spans whole decades."""

    touches: int
    low: int  # exponent of ten at the bottom
    high: int  # and at the top

    @classmethod
    def fit(cls, values: Sequence[int], touches: int) -> _Scale:
        least, most = min(values), max(values)
        if least <= 0:
            least = min((value for value in values if value > 0), default=1)
        low = math.floor(math.log10(least))
        return cls(touches, low, max(low + 1, math.ceil(math.log10(max(least, most)))))

    def x(self, index: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (index + 0.5) / self.touches

    def place(self, index: int) -> str:
        return f"M{self.x(index):.1f}"

    def y(self, value: float) -> float:
        # A value of 0 has no logarithm and lies on the axis.
        exponent = math.log10(value) if value > 0 else self.low
        share = (exponent - self.low) / (self.high - self.low)
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share


def _axes(scale: _Scale, unit: str) -> list[str]:
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    parts = []
    for exponent in range(scale.low, scale.high + 1):
        y = scale.y(10.0**exponent)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{_decade(exponent)}</text>')
    for touch in _ticks(scale.touches):
        x = scale.x(touch)
        parts.append(f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{bottom}" y2="{bottom + 5}"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{touch:,}</text>')
    middle = (TOP + bottom) / 2
    parts += [
        f'<line class="axis" x1="{LEFT}" x2="{right}" y1="{bottom}" y2="{bottom}"/>',
        f'<line class="axis" x1="{LEFT}" x2="{LEFT}" y1="{TOP}" y2="{bottom}"/>',
        f'<text x="{(LEFT + right) / 2}" y="{HEIGHT - 8}" text-anchor="middle">'
        "touch, in the order made</text>",
        f'<text transform="translate(14 {middle}) rotate(-90)" text-anchor="middle">'
        f"latency, {html.escape(unit)} (log)</text>",
    ]
    return parts


def _decade(exponent: int) -> str:
    """1 to 100,000 in full, then 1 M, 10 M, ..."""
    if exponent < 6:
        return f"{10**exponent:,}"
    return f"{10 ** (exponent % 3)} {'MGTPE'[exponent // 3 - 2]}"


def _ticks(touches: int) -> list[int]:
    """Some five round touch numbers from 0; powers of two where the buffer is a power of two long."""
    if touches <= 8:
        return list(range(touches))
    if touches & (touches - 1) == 0:
        step = touches // 8
    else:
        magnitude = 10 ** int(math.log10(touches / 4))
        step = next(m * magnitude for m in (1, 2, 5, 10) if touches / (m * magnitude) <= 8)
    return list(range(0, touches, max(1, step)))


def _dots(one: Series, scale: _Scale, columns: int) -> str:
    """The dots of a series as paths of zero-length strokes: the line cap is the dot.

    A few dots near the top are the stalls that the reader looks for: they are drawn larger.
    """
    points = thin(one.values, columns)
    high = max(one.values) / 2
    peaks = [(index, value) for index, value in points if value > high]
    mass = [(index, value) for index, value in points if value <= high]
    if len(peaks) > MAX_PEAKS:
        peaks, mass = [], points
    cap, role = DOTS.get(one.role, "round"), html.escape(one.role)
    return "\n".join(
        f'<path class="dots {kind} {role}" stroke-linecap="{cap}" d="{_path(some, scale)}"/>'
        for kind, some in (("mass", mass), ("peak", peaks))
        if some
    )


def _path(points: Sequence[tuple[int, int]], scale: _Scale) -> str:
    # A site has thousands of such drawings: each height of one is made once, and each place of all.
    heights = {value: f" {scale.y(value):.1f}h0" for value in {value for _, value in points}}
    places = _places(scale.touches) if scale.touches <= MANY else {n: scale.place(n) for n, _ in points}
    return "".join([places[index] + heights[value] for index, value in points])


@functools.lru_cache(maxsize=16)
def _places(touches: int) -> dict[int, str]:
    scale = _Scale(touches, 0, 1)
    return {index: scale.place(index) for index in range(touches)}


def _longest(series: Sequence[Series], scale: _Scale) -> list[str]:
    """A ring and the figure at the longest touch of each series."""
    parts = []
    for one in series:
        longest = max(one.values)
        x, y = scale.x(list(one.values).index(longest)), scale.y(longest)
        anchor, dx = ("end", -9) if x > WIDTH / 2 else ("start", 9)
        role = html.escape(one.role)
        parts.append(f'<circle class="ring {role}" cx="{x:.1f}" cy="{y:.1f}" r="6"/>')
        parts.append(
            f'<text class="longest {role}" x="{x + dx:.1f}" y="{y - 6:.1f}" text-anchor="{anchor}">'
            f"longest: {amount(longest)}</text>"
        )
    return parts


def _legend(series: Sequence[Series]) -> list[str]:
    parts, x = [], LEFT
    for one in series:
        role = html.escape(one.role)
        cap = DOTS.get(one.role, "round")
        label = one.label if len(one.label) <= 44 else one.label[:41] + "..."
        parts.append(f'<path class="dots key {role}" stroke-linecap="{cap}" d="M{x + 5} 15h0"/>')
        parts.append(f'<text x="{x + 16}" y="19">{html.escape(label)}</text>')
        x += 30 + 7 * len(label)
    return parts


def _description(series: Sequence[Series], unit: str) -> str:
    sides = (
        f"{one.label}: {len(one.values):,} touches, {amount(sum(one.values))} {unit} in all, "
        f"the longest {amount(max(one.values))} {unit} at touch {list(one.values).index(max(one.values)):,}"
        for one in series
    )
    return "; ".join(sides)
