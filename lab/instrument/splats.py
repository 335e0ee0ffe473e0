# SPDX-License-Identifier: GPL-2.0-or-later
"""Complaints of the guest's kernel in its console log, titled so that people can search for them.

Only what printk stamped with a time counts: a program that writes "BUG:" to the console says nothing about
the kernel (one that writes to /dev/kmsg cannot be told from the kernel). The guest's kernel must therefore
run with printk.time=1. Titles follow syzkaller: a kind and the function that is to blame, no addresses.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from lab.instrument.frames import blamed
from lab.instrument.patterns import CUT_HERE, KNOWN, PATTERNS, Pattern
from lab.results.models import Splat

MAX_CONSOLE = 64 << 20
MAX_LINE = 512
MAX_TITLES, MAX_COMPLAINTS = 50, 2000  # of each kind, so that a flood of warnings cannot hide a panic
MAX_EXCERPT = 4000
BEFORE, REACH = 2, 60  # lines around a complaint that belong to it
ABSORB = 12  # printk lines within which one fault tells of itself twice

FATAL = ("panic", "oops")

_STAMP = re.compile(r"\[ {0,5}\d{1,9}\.\d{6}\](?:\[ {0,6}[TC]\d{1,7}\])? ")
_ESCAPE = re.compile(r"\x1b(?:\[[0-9;?]{0,16}[@-~]|.)")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_ACCESS = re.compile(r"(Read|Write|Free) (?:of size|of addr)")
_ADDRESS = re.compile(r"\b(?:0x)?[0-9a-f]{12,16}\b")
_CANDIDATE = re.compile("|".join(re.escape(word) for pattern in PATTERNS for word in pattern.words))


@dataclass
class _Complaint:
    """A splat while its lines are still being read."""

    pattern: Pattern
    match: re.Match[str]
    line: int
    reach: list[str] = field(default_factory=list)  # what printk said from here on
    dead: bool = False  # it went on to an oops


def scan(console: str, known: Sequence[tuple[str, str]] = KNOWN) -> tuple[Splat, ...]:
    """Every complaint, in order; those with the same title once, with their number in the excerpt.

    `known` are (pattern of a title, reason) of complaints that are no fault.

    Reads at most MAX_CONSOLE characters, in time linear in them.
    """
    lines = console[:MAX_CONSOLE].split("\n")
    splats: dict[str, Splat] = {}
    times: Counter[str] = Counter()
    titles: Counter[str] = Counter()
    complaints: Counter[str] = Counter()
    for complaint in _complaints(lines):
        kind, title = _named(complaint)
        complaints[kind] += 1
        if complaints[kind] > MAX_COMPLAINTS or any(re.search(harmless, title) for harmless, _ in known):
            continue
        if title not in splats and titles[kind] < MAX_TITLES:
            titles[kind] += 1
            excerpt = _excerpt(lines, complaint.line)
            splats[title] = Splat(kind=kind, title=title, line=complaint.line, excerpt=excerpt)
        times[title] += 1
    return tuple(_counted(splat, times[title]) for title, splat in splats.items())


def _counted(splat: Splat, times: int) -> Splat:
    if times == 1:
        return splat
    return splat.model_copy(update={"excerpt": f"{splat.excerpt}\n(seen {times} times)"})


def fatal(splats: Iterable[Splat]) -> Splat | None:
    """The first complaint after which the kernel, or the task it was running, is dead; None if it lives."""
    return next((splat for splat in splats if splat.kind in FATAL), None)


def _complaints(lines: list[str]) -> Iterator[_Complaint]:
    current: _Complaint | None = None
    for number, line in enumerate(lines, start=1):
        message = _printk(line)
        if message is None:
            continue
        begun = _begun(message, number)
        if current is not None and begun is not None and _goes_on(current, begun):
            current, begun = _joined(current, begun), None
        elif current is not None and (begun is not None or len(current.reach) >= REACH):
            yield current
            current = None
        if begun is not None:
            current = begun
        elif current is not None:
            current.reach.append(message)
    if current is not None:
        yield current


def _printk(line: str) -> str | None:
    """The message of a line that printk stamped; None for any other."""
    head = line[:MAX_LINE]
    stamp = _STAMP.search(head)
    if stamp is None:
        return None
    return _CONTROL.sub("", _ESCAPE.sub("", head[stamp.end() :])).strip()


def _begun(message: str, number: int) -> _Complaint | None:
    if not _CANDIDATE.search(message):
        return None
    for pattern in PATTERNS:
        if match := pattern.form.match(message):
            return _Complaint(pattern, match, number)
    return None


def _goes_on(current: _Complaint, begun: _Complaint) -> bool:
    """Whether what begins here tells of the same fault as what is being read."""
    if len(current.reach) >= ABSORB:
        return False
    return current.pattern is CUT_HERE or begun.pattern.kind in current.pattern.absorbs


def _joined(current: _Complaint, begun: _Complaint) -> _Complaint:
    """Both as one: a cut line gives way to what follows it, else the first gives the title."""
    if current.pattern is CUT_HERE:
        return _Complaint(begun.pattern, begun.match, current.line)
    current.reach.append(begun.match.string)
    current.dead = current.dead or begun.pattern.kind in FATAL
    return current


def _named(complaint: _Complaint) -> tuple[str, str]:
    """Kind and title."""
    pattern, groups = complaint.pattern, complaint.match.groupdict()
    kind, title = pattern.kind, pattern.title.format(**groups)
    if pattern is CUT_HERE:
        kind, title = "WARNING", " ".join(["cut here:", *complaint.reach[:1]])
    if kind == "KASAN" and (access := next(filter(None, map(_ACCESS.match, complaint.reach[:3])), None)):
        title += f" {access[1]}"
    if pattern.blame:
        function = blamed(groups.get("frame"), complaint.reach, lock=pattern.blame == "lock")
        title += f" in {function}" if function else ""
    if complaint.dead and kind not in FATAL:
        kind = "oops"
    return kind, _ADDRESS.sub("ADDR", title).strip()[:200]


def _excerpt(lines: list[str], number: int) -> str:
    """The console around a complaint, to the end of its trace; at most MAX_EXCERPT characters."""
    kept: list[str] = []
    for index in range(max(0, number - 1 - BEFORE), min(len(lines), number + REACH)):
        kept.append(_CONTROL.sub("", _ESCAPE.sub("", lines[index][:MAX_LINE])))
        if index >= number and "---[ end " in kept[-1]:
            break
    return "\n".join(kept)[:MAX_EXCERPT]
