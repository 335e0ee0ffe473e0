# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes the three traces beside this file: synthetic, in the shape of what such programs do.

    python testcases/stutter/make_traces.py

Sizes are in pages of 4 KiB. The share of a frame's period that is left for memory is a guess and said in each
trace: the rest belongs to decoding, layout, game logic and the GPU.
"""

from __future__ import annotations

import textwrap
from pathlib import Path

from lab.workload.frame_trace import Frame, FrameTrace, Op, print_trace

HERE = Path(__file__).parent


def create(bo: int, pages: int) -> Op:
    return Op("create", bo, pages)


def mapped(bo: int, pages: int) -> Op:
    return Op("map", bo, pages)


def write(bo: int, first: int, count: int = 1, stride: int = 1) -> Op:
    return Op("touch", bo, write=True, first=first, count=count, stride=stride)


def read(bo: int, first: int, count: int = 1, stride: int = 1) -> Op:
    return Op("touch", bo, first=first, count=count, stride=stride)


def new(bo: int, pages: int, *, drawn: int | None = None) -> list[Op]:
    """Create a BO, map it and write its first `drawn` pages, by default all."""
    return [create(bo, pages), mapped(bo, pages), write(bo, 0, pages if drawn is None else drawn)]


def gone(bo: int) -> list[Op]:
    return [Op("unmap", bo), Op("free", bo)]


def video() -> FrameTrace:
    """A browser plays 1080p. The GPU decodes into a ring of six frames; the CPU maps the frame that comes
    next, looks at its first line, writes into six places of it and draws subtitles. Every tenth frame the
    page's controls are drawn: one spot in each of six 2 MiB textures."""
    frame, texture, ring, controls = 2025, 512, range(1, 7), range(7, 13)
    setup = [
        op
        for bo, pages in [*((bo, frame) for bo in ring), *((bo, texture) for bo in controls)]
        for op in (create(bo, pages), mapped(bo, pages), write(bo, 0), Op("unmap", bo))
    ]
    frames = []
    for number in range(90):
        bo = ring[number % len(ring)]
        ops = [mapped(bo, frame), read(bo, 0), write(bo, 200, 6, 256), write(bo, 1800, 40), Op("unmap", bo)]
        if number % 10 == 5:
            for one in controls:
                ops += [mapped(one, texture), write(one, 17 * (one - 6)), Op("unmap", one)]
        frames.append(Frame(tuple(ops), 25))
    return FrameTrace(60, tuple(setup), tuple(frames))


def resize() -> FrameTrace:
    """Someone drags the corner of a window. Each frame the program gets a buffer of the new size and draws
    all of it, the compositor a shadow of which it draws the border, and the buffers of three frames ago are
    freed."""
    frames = []
    for number in range(60):
        size = 200 + 6 * (number if number < 40 else 80 - number)
        shadow = size + 56
        window, border = 1 + 2 * (number % 3), 2 + 2 * (number % 3)
        ops = []
        if number >= 3:
            ops += gone(window) + gone(border)
        ops += new(window, size)
        ops += [*new(border, shadow, drawn=8), write(border, shadow - 8, 8)]
        frames.append(Frame(tuple(ops), 50))
    return FrameTrace(60, (), tuple(frames))


def streaming() -> FrameTrace:
    """A game streams a level. Every fourth frame two textures come, each written whole and unmapped; in all
    frames a spot of each of the newest six is updated, mapped for just that. When there are 24, the eight
    oldest are evicted, two in a frame; two of them are needed once more, then all eight are freed."""
    frames: list[Frame] = []
    pages: dict[int, int] = {}
    alive: list[int] = []
    going: list[int] = []
    gone_out: list[int] = []
    for number in range(120):
        ops: list[Op] = []
        if number % 4 == 0:
            for bo in (len(pages) + 1, len(pages) + 2):
                pages[bo] = 128 + 24 * (bo % 16)
                ops += [*new(bo, pages[bo]), Op("unmap", bo)]
                alive.append(bo)
        for bo in alive[-6:]:
            ops += [mapped(bo, pages[bo]), write(bo, (number * 37 + bo * 11) % pages[bo]), Op("unmap", bo)]
        if len(alive) == 24:
            going, alive = alive[:8], alive[8:]
        elif going:
            ops += [Op("evict", bo) for bo in going[:2]]
            gone_out, going = gone_out + going[:2], going[2:]
        elif gone_out:
            for bo in gone_out[:2]:
                ops += [mapped(bo, pages[bo]), read(bo, 0, pages[bo] // 32, 32), Op("unmap", bo)]
            ops += [Op("free", bo) for bo in gone_out]
            gone_out = []
        frames.append(Frame(tuple(ops), 60))
    return FrameTrace(60, (), tuple(frames))


def main() -> None:
    for build in (video, resize, streaming):
        story = textwrap.wrap(f"Synthetic, by make_traces.py. {' '.join((build.__doc__ or '').split())}", 108)
        comments = ("SPDX-License-Identifier: GPL-2.0-or-later", *story)
        (HERE / f"{build.__name__}.trace").write_text(print_trace(build(), comments))


if __name__ == "__main__":
    main()
