# SPDX-License-Identifier: GPL-2.0-or-later
"""Frame traces (docs/frame-trace.md): what an application does with its BOs, frame by frame.

The format is read here and, by the same rules, in testcases/stutter/frame_trace.h. A trace comes from
anywhere, so both are strict and bounded, and what they accept can be played: nothing is touched that is not
mapped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from lab.errors import UserError

VERSION = 1
MAX_BYTES = 8 << 20
MAX_LINES = 500_000
MAX_LINE = 200
MAX_BO = 4096
"""The largest number of a BO."""
MAX_PAGES = 1 << 18
"""Pages of one BO."""
MAX_ALL_PAGES = 1 << 20
"""Pages of all BOs together, each number at its largest."""
MAX_TOUCHES = 1 << 24
MAX_FRAMES = 100_000
MAX_RATE = 1000

Verb = Literal["create", "map", "touch", "unmap", "evict", "free"]
Place = Literal["system", "vram"]


@dataclass(frozen=True)
class Op:
    """One step. `pages` is of create and map; `write`, `first`, `count` and `stride` are of touch."""

    verb: Verb
    bo: int
    pages: int = 0
    place: Place = "system"
    write: bool = False
    first: int = 0
    count: int = 1
    stride: int = 1

    @property
    def touched(self) -> range:
        """The pages of a touch, in order."""
        return range(self.first, self.first + self.count * self.stride, self.stride)

    def __str__(self) -> str:
        match self.verb:
            case "create":
                return f"create {self.bo} {self.pages}" + (" vram" if self.place == "vram" else "")
            case "map":
                return f"map {self.bo} {self.pages}"
            case "touch":
                stride = f"/{self.stride}" if self.stride > 1 else ""
                length = f"+{self.count}{stride}" if self.count > 1 else ""
                return f"touch {self.bo} {'w' if self.write else 'r'} {self.first}{length}"
        return f"{self.verb} {self.bo}"


@dataclass(frozen=True)
class Frame:
    """The steps of one frame, and by when they must be done: in percent of the frame's period."""

    ops: tuple[Op, ...]
    percent: int = 100


@dataclass(frozen=True)
class FrameTrace:
    """A whole trace; `setup` is done before the first frame, and no deadline is on it."""

    rate: int  # frames a second
    setup: tuple[Op, ...]
    frames: tuple[Frame, ...]

    @property
    def ops(self) -> Iterator[Op]:
        """All steps, setup first."""
        yield from self.setup
        for frame in self.frames:
            yield from frame.ops


def print_trace(trace: FrameTrace, comments: tuple[str, ...] = ()) -> str:
    """The text of a trace; `parse_trace` gives the same trace back."""
    lines = [f"frame-trace {VERSION}", *(f"# {comment}" for comment in comments), f"rate {trace.rate}"]
    lines += map(str, trace.setup)
    for number, frame in enumerate(trace.frames):
        lines.append(f"frame {number}" + (f" {frame.percent}%" if frame.percent != 100 else ""))
        lines += map(str, frame.ops)
    return "\n".join([*lines, "end", ""])


def parse_trace(text: str, name: str = "trace") -> FrameTrace:
    """Read a trace. Raises UserError with `name:line: problem` for the first line that is wrong."""
    if len(text) > MAX_BYTES:
        raise UserError(f"{name}: larger than {MAX_BYTES >> 20} MiB")
    if not text.endswith("\n") or "\0" in text:
        raise UserError(f"{name}: the last line is cut, or there is a NUL", hint="a trace is text")
    lines = text.split("\n")[:-1]
    if len(lines) > MAX_LINES:
        raise UserError(f"{name}: more than {MAX_LINES} lines")
    reader = _Reader()
    for number, line in enumerate(lines, start=1):
        try:
            reader.take(line)
        except ValueError as error:
            raise UserError(f"{name}:{number}: {error}", hint="docs/frame-trace.md has the format") from error
    if not reader.ended:
        raise UserError(f"{name}: there is no line `end`: the trace is cut", hint="get the whole file")
    return FrameTrace(reader.rate, tuple(reader.setup), tuple(reader.frames()))


_N = r"(0|[1-9][0-9]{0,8})"
_LINES = {
    "rate": re.compile(rf"rate {_N}"),
    "frame": re.compile(rf"frame {_N}(?: {_N}%)?"),
    "create": re.compile(rf"create {_N} {_N}(?: (system|vram))?"),
    "map": re.compile(rf"map {_N}(?: {_N})?"),
    "touch": re.compile(rf"touch {_N} ([rw]) {_N}(?:\+{_N}(?:/{_N})?)?"),
    "unmap": re.compile(rf"unmap {_N}"),
    "evict": re.compile(rf"evict {_N}"),
    "free": re.compile(rf"free {_N}"),
    "end": re.compile(r"end"),
}


@dataclass
class _Bo:
    pages: int
    mapped: int = 0  # pages


@dataclass
class _Reader:
    """The state after the lines so far; ValueError for a line that does not fit it."""

    rate: int = 0
    setup: list[Op] = field(default_factory=list)
    ended: bool = False
    _headed: bool = False
    _open: list[tuple[int, list[Op]]] = field(default_factory=list)
    _bos: dict[int, _Bo] = field(default_factory=dict)
    _largest: dict[int, int] = field(default_factory=dict)
    _all_pages: int = 0
    _touches: int = 0

    def frames(self) -> Iterator[Frame]:
        for percent, ops in self._open:
            yield Frame(tuple(ops), percent)

    def take(self, line: str) -> None:
        if len(line) > MAX_LINE:
            raise ValueError(f"longer than {MAX_LINE} characters")
        if not self._headed:
            if line != f"frame-trace {VERSION}":
                raise ValueError(f"the first line must be `frame-trace {VERSION}`")
            self._headed = True
            return
        if not line or line.startswith("#"):
            return
        if self.ended:
            raise ValueError("a line after `end`")
        word = line.partition(" ")[0]
        if word not in _LINES:
            raise ValueError(f"unknown word {word!a:.40}")
        match = _LINES[word].fullmatch(line)
        if match is None:
            raise ValueError(f"no well-formed `{word}` line")
        if not self.rate and word != "rate":
            raise ValueError("the line `rate N` must come first")
        self._act(word, match)

    def _act(self, word: str, match: re.Match[str]) -> None:
        if word == "rate":
            if self.rate:
                raise ValueError("a second rate")
            self.rate = _within("rate", int(match[1]), 1, MAX_RATE)
        elif word == "frame":
            self._frame(int(match[1]), int(match[2] or 100))
        elif word == "end":
            if not self._open:
                raise ValueError("a trace has one frame or more")
            self.ended = True
        else:
            (self._open[-1][1] if self._open else self.setup).append(self._op(word, match))

    def _frame(self, number: int, percent: int) -> None:
        if number != len(self._open):
            raise ValueError(f"frame {number} where frame {len(self._open)} is next")
        _within("frames", number + 1, 1, MAX_FRAMES)
        self._open.append((_within("percent", percent, 1, 100), []))

    def _op(self, word: str, match: re.Match[str]) -> Op:
        bo = _within("BO", int(match[1]), 1, MAX_BO)
        if word == "create":
            return self._create(bo, _within("pages", int(match[2]), 1, MAX_PAGES), match[3] or "system")
        if bo not in self._bos:
            raise ValueError(f"there is no BO {bo}")
        kept = self._bos[bo]
        if word == "map":
            if kept.mapped:
                raise ValueError(f"BO {bo} is mapped already")
            kept.mapped = _within("pages", int(match[2] or kept.pages), 1, kept.pages)
            return Op("map", bo, kept.mapped)
        if word in ("touch", "unmap") and not kept.mapped:
            raise ValueError(f"BO {bo} is not mapped")
        if word == "touch":
            return self._touch(bo, kept.mapped, match)
        if word == "unmap":
            kept.mapped = 0
            return Op("unmap", bo)
        if word == "evict":
            return Op("evict", bo)
        if kept.mapped:
            raise ValueError(f"BO {bo} is still mapped: unmap it first")
        del self._bos[bo]
        return Op("free", bo)

    def _create(self, bo: int, pages: int, place: str) -> Op:
        if bo in self._bos:
            raise ValueError(f"there is a BO {bo} already")
        self._all_pages += max(0, pages - self._largest.get(bo, 0))
        self._largest[bo] = max(pages, self._largest.get(bo, 0))
        _within("pages of all BOs", self._all_pages, 1, MAX_ALL_PAGES)
        self._bos[bo] = _Bo(pages)
        return Op("create", bo, pages, "vram" if place == "vram" else "system")

    def _touch(self, bo: int, mapped: int, match: re.Match[str]) -> Op:
        first, count = int(match[3]), _within("pages", int(match[4] or 1), 1, MAX_PAGES)
        stride = _within("stride", int(match[5] or 1), 1, MAX_PAGES)
        last = first + (count - 1) * stride
        if last >= mapped:
            raise ValueError(f"page {last} of a mapping of {mapped}")
        self._touches += count
        _within("touches", self._touches, 1, MAX_TOUCHES)
        return Op("touch", bo, write=match[2] == "w", first=first, count=count, stride=stride)


def _within(what: str, value: int, low: int, high: int) -> int:
    if not low <= value <= high:
        raise ValueError(f"{what}: {value} is not within {low} to {high}")
    return value


def summary(trace: FrameTrace) -> str:
    """What a trace holds, in a few lines."""
    per_frame = [sum(op.count for op in frame.ops if op.verb == "touch") for frame in trace.frames]
    counts = {verb: sum(op.verb == verb for op in trace.ops) for verb in ("create", "map", "evict", "free")}
    live = peak = 0
    pages: dict[int, int] = {}
    for op in trace.ops:
        if op.verb == "create":
            pages[op.bo] = op.pages
            live += op.pages
        elif op.verb == "free":
            live -= pages.pop(op.bo)
        peak = max(peak, live)
    return (
        f"{len(trace.frames)} frames at {trace.rate} Hz\n"
        f"{sum(per_frame)} touches, at most {max(per_frame)} in a frame\n"
        f"{counts['create']} BOs created, {counts['map']} mappings, {counts['evict']} evictions, "
        f"{counts['free']} freed; at most {peak * 4 / 1024:.1f} MiB at once"
    )


def load_trace(path: Path) -> FrameTrace:
    """Read a trace from a file. Raises UserError if it cannot be read, or as `parse_trace`."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    return parse_trace(raw.decode("latin-1"), path.name)  # a character is a byte, as for the reader in C
