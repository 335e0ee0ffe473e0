# SPDX-License-Identifier: GPL-2.0-or-later
"""The small YAML that the lab reads: plain data, with the place of every value.

YAML 1.1 has traps: `on` is a truth value, `010` is eight, `1:30` is ninety, a repeated key silently wins,
an alias can grow without end. Each is a problem here, told at its place, and reading goes on so that all
problems of a file come at once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import yaml

MAX_BYTES = 256 << 10
MAX_DEPTH = 16

Loc = tuple[str | int, ...]
Plain = None | bool | int | float | str | list["Plain"] | dict[str, "Plain"]

_INT = re.compile(r"[-+]?(0|[1-9][0-9]{0,18})")
_FLOAT = re.compile(r"[-+]?(0|[1-9][0-9]{0,18})\.[0-9]{1,19}")
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


class Mark(NamedTuple):
    """A place in a file; both count from 1."""

    line: int
    column: int


class Problem(NamedTuple):
    mark: Mark
    text: str


@dataclass
class Document:
    """What a file says, where it says it, and what is wrong with it as YAML."""

    data: Plain = None
    marks: dict[Loc, Mark] = field(default_factory=dict)
    key_marks: dict[Loc, Mark] = field(default_factory=dict)
    sources: dict[Loc, str] = field(default_factory=dict)  # scalars as they were written
    unreadable: set[Loc] = field(default_factory=set)  # values whose problem is already told
    problems: list[Problem] = field(default_factory=list)

    def mark(self, loc: Loc, *, key: bool = False) -> Mark:
        """The place of the value at `loc`, or of its key, or of the nearest value around it."""
        if key and loc in self.key_marks:
            return self.key_marks[loc]
        while loc not in self.marks and loc:
            loc = loc[:-1]
        return self.marks.get(loc, Mark(1, 1))


def parse(raw: bytes) -> Document:
    """Read one document; never raises for what the bytes say."""
    document = Document()
    if len(raw) > MAX_BYTES:
        document.problems.append(Problem(Mark(1, 1), f"larger than {MAX_BYTES >> 10} KiB"))
        return document
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        mark = _mark_at(raw[: error.start].decode("utf-8-sig", errors="replace"))
        document.problems.append(Problem(mark, f"byte 0x{raw[error.start]:02x} is not UTF-8"))
        return document
    try:
        _Reader(text, document).read()
    except yaml.reader.ReaderError as error:
        what = f"character U+{ord(text[error.position]):04X} is not allowed in YAML"
        document.problems.append(Problem(_mark_at(text[: error.position]), what))
    except yaml.MarkedYAMLError as error:
        document.problems.append(_syntax_problem(error))
    except _TooDeep as error:
        document.problems.append(error.problem)
    return document


def _mark_at(before: str) -> Mark:
    return Mark(before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)


def _syntax_problem(error: yaml.MarkedYAMLError) -> Problem:
    at = error.problem_mark or error.context_mark
    mark = Mark(1, 1) if at is None else Mark(at.line + 1, at.column + 1)
    if error.problem and r"'\t'" in error.problem:
        return Problem(mark, "a tab where YAML wants spaces")
    words = " ".join(part for part in (error.problem, error.context) if part)
    return Problem(mark, f"not YAML: {words}")


class _TooDeep(Exception):
    def __init__(self, mark: Mark) -> None:
        self.problem = Problem(mark, f"nested more than {MAX_DEPTH} levels deep")


class _Reader:
    """Walks the parser's events; recursion is bounded by MAX_DEPTH, work by the size of the file."""

    def __init__(self, text: str, document: Document) -> None:
        self._loader: Any = yaml.SafeLoader(text)  # its methods have no types
        self._document = document

    def read(self) -> None:
        self._next()  # start of the stream
        if not self._at_end(yaml.StreamEndEvent):
            self._next()  # start of the document
            self._document.data = self._value((), self._next())
            self._next()  # end of the document
        if not self._at_end(yaml.StreamEndEvent):
            self._tell(self._next(), "a second document; one file declares one thing")

    def _next(self) -> yaml.Event:
        event: yaml.Event = self._loader.get_event()
        return event

    def _at_end(self, kind: type[yaml.Event]) -> bool:
        return bool(self._loader.check_event(kind))

    def _tell(self, event: yaml.Event, text: str) -> None:
        self._document.problems.append(Problem(_place(event), text))

    def _value(self, loc: Loc, event: yaml.Event) -> Plain:
        self._document.marks[loc] = _place(event)
        if len(loc) > MAX_DEPTH:
            raise _TooDeep(_place(event))
        if isinstance(event, yaml.AliasEvent):
            self._tell(event, f"alias *{event.anchor}: write the value out, aliases are not supported")
            self._document.unreadable.add(loc)
            return None
        assert isinstance(event, yaml.ScalarEvent | yaml.SequenceStartEvent | yaml.MappingStartEvent)
        if event.anchor is not None:
            self._tell(event, f"anchor &{event.anchor}: anchors and aliases are not supported")
        if event.tag is not None:
            self._tell(event, f"tag {event.tag}: tags are not supported")
            self._document.unreadable.add(loc)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(loc)
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(loc)
        return self._scalar(loc, event)

    def _sequence(self, loc: Loc) -> Plain:
        items: list[Plain] = []
        while not self._at_end(yaml.SequenceEndEvent):
            items.append(self._value((*loc, len(items)), self._next()))
        self._next()
        return items

    def _mapping(self, loc: Loc) -> Plain:
        entries: dict[str, Plain] = {}
        while not self._at_end(yaml.MappingEndEvent):
            event = self._next()
            key = self._key(loc, event)
            if key is None or key in entries:
                if key is not None:
                    first = self._document.key_marks[(*loc, key)].line
                    self._tell(event, f"key '{key}' is given twice, first on line {first}")
                # Its value is read all the same, for the problems that are in there.
                self._value((*loc, f"<line {_place(event).line}>"), self._next())
                continue
            self._document.key_marks[(*loc, key)] = _place(event)
            entries[key] = self._value((*loc, key), self._next())
        self._next()
        return entries

    def _key(self, loc: Loc, event: yaml.Event) -> str | None:
        """The key as text, or None after telling why it is none."""
        if not isinstance(event, yaml.ScalarEvent):
            self._tell(event, "a key must be a word")
            if not isinstance(event, yaml.AliasEvent):
                self._value((*loc, "<key>"), event)  # consume it whole
            return None
        if event.anchor is not None or event.tag is not None:
            self._tell(event, "anchors and tags are not supported")
        kind = self._kind(event)
        if kind != "str":
            found = describe(event.value, kind)
            self._tell(event, f"a key must be a word, found {found}; if it is meant, put it in quotes")
            return None
        key: str = event.value
        if _UNPRINTABLE.search(key):
            self._tell(event, "the key holds a control character")
            return None
        return key

    def _kind(self, event: yaml.ScalarEvent) -> str:
        tag: str = self._loader.resolve(yaml.ScalarNode, event.value, event.implicit)
        return tag.removeprefix("tag:yaml.org,2002:")

    def _scalar(self, loc: Loc, event: yaml.ScalarEvent) -> Plain:
        text: str = event.value
        self._document.sources[loc] = text
        kind = self._kind(event)
        if kind == "null":
            return None
        if kind == "bool":
            return text.lower() in ("true", "yes", "on")
        if kind == "int" and _INT.fullmatch(text):
            return int(text)
        if kind == "float" and _FLOAT.fullmatch(text):
            return float(text)
        if kind != "str":
            self._tell(event, f"{describe(text, kind)}: write a plain decimal number, or text in quotes")
            self._document.unreadable.add(loc)
        elif bad := _UNPRINTABLE.search(text):
            self._tell(event, f"the text holds the control character U+{ord(bad[0]):04X}")
            self._document.unreadable.add(loc)
            return ""
        return text


def _place(event: yaml.Event) -> Mark:
    assert event.start_mark is not None
    return Mark(event.start_mark.line + 1, event.start_mark.column + 1)


def describe(source: str, kind: str) -> str:
    """How YAML 1.1 understands a scalar, in words."""
    text = short(source)
    names = {
        "bool": f"`{text}`, a truth value in YAML",
        "int": f"the number `{text}`",
        "float": f"the number `{text}`",
        "null": "nothing",
        "str": f"the text `{text}`",
        "timestamp": f"`{text}`, a date in YAML",
        "merge": "`<<`, a merge, which is not supported",
    }
    return names.get(kind, f"`{text}`")


def short(text: str) -> str:
    """The text on one line of at most 43 characters."""
    line = " ".join(text.split())
    return line if len(line) <= 40 else line[:40] + "..."
