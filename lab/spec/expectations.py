# SPDX-License-Identifier: GPL-2.0-or-later
"""Known limitations of kernels: testcases/expectations/{fails,flakes,skips}.txt, in the manner of drm-ci.

A file consists of paragraphs. One that has only comments is prose; in any other, comments say about all of
its lines what `WORDS` lists, and each other line is a case, or a check of one: `topic/case:check`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from lab.errors import SpecError, UserError, did_you_mean
from lab.spec.loader import shown
from lab.spec.versions import KernelRange

Kind = Literal["fails", "flakes", "skips"]

FOLDER = "expectations"
WORDS = ("Reason", "Kernels", "Machine", "Link", "Owner")
MAX_BYTES = 256 << 10
_COMMENT = re.compile(r"#\s*([A-Za-z]+):\s*(.*)")
_ENTRY = re.compile(r"([a-z0-9][a-z0-9_.+-]*/[a-z0-9][a-z0-9_.+-]*)(?::(\S.*))?")


@dataclass(frozen=True)
class Expectation:
    """One line of a file, with what its paragraph says."""

    kind: Kind
    case: str
    check: str  # "": the whole case
    reason: str
    kernels: KernelRange | None
    machine: str  # "": any
    where: str  # expectations/fails.txt:12
    link: str = ""
    owner: str = ""

    def applies(self, case: str, machine: str, version: str) -> bool:
        """Is it about this case on this machine, with a kernel of this version?"""
        return (
            case == self.case
            and self.machine in ("", machine)
            and (self.kernels is None or self.kernels.has(version))
        )


@dataclass(frozen=True)
class Expectations:
    """All that is expected."""

    known: tuple[Expectation, ...] = ()

    def of(self, kind: Kind, case: str, machine: str, version: str) -> tuple[Expectation, ...]:
        """Those of one kind that apply."""
        return tuple(one for one in self.known if one.kind == kind and one.applies(case, machine, version))


def load_expectations(root: Path, cases: Collection[str], machines: Collection[str]) -> Expectations:
    """Read the files below a testcases folder; none is fine. Raises SpecError with every problem."""
    found: list[Expectation] = []
    problems: list[str] = []
    for path in sorted((root / FOLDER).glob("*")):
        if path.stem not in get_args(Kind) or path.suffix != ".txt":
            problems.append(f"{shown(path)}:1:1: the lab reads only {', '.join(get_args(Kind))}, each .txt")
            continue
        for item in _read(path, cases, machines):
            if isinstance(item, Expectation):
                found.append(item)
            else:
                problems.append(f"{shown(path)}:{item[0]}:1: {item[1]}")
    if problems:
        raise SpecError(problems)
    return Expectations(tuple(found))


Problem = tuple[int, str]
"""Line and sentence."""


def _read(path: Path, cases: Collection[str], machines: Collection[str]) -> Iterator[Expectation | Problem]:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {shown(path)}: {error.strerror}") from error
    if len(raw) > MAX_BYTES:
        yield 1, f"larger than {MAX_BYTES >> 10} KiB"
        return
    kind: Kind = path.stem  # type: ignore[assignment]  # the caller has checked it
    for paragraph in _paragraphs(raw.decode(errors="replace").splitlines()):
        entries = [(number, line) for number, line in paragraph if not line.startswith("#")]
        if not entries:
            continue
        comments = [(number, line) for number, line in paragraph if line.startswith("#")]
        said, wrong = _comments(comments, entries[0][0], machines)
        yield from wrong
        for number, line in entries:
            case, check, problem = _entry(line, kind, cases)
            if problem:
                yield number, problem
            elif not wrong:
                where = f"{FOLDER}/{path.name}:{number}"
                yield _expectation(kind, case, check, where, said)


def _paragraphs(lines: Sequence[str]) -> Iterator[list[Problem]]:
    paragraph: list[Problem] = []
    for number, line in enumerate([*lines, ""], 1):
        if line.strip():
            paragraph.append((number, line.strip()))
        elif paragraph:
            yield paragraph
            paragraph = []


def _comments(
    comments: Iterable[Problem], first: int, machines: Collection[str]
) -> tuple[dict[str, str], list[Problem]]:
    """What a paragraph says by word, and what is wrong with it."""
    said: dict[str, str] = {}
    wrong: list[Problem] = []
    for number, line in comments:
        match = _COMMENT.fullmatch(line)
        if match is None or match[1] not in WORDS or not match[2]:
            allowed = ", ".join(WORDS)
            wrong.append((number, f"beside cases, a comment says one of {allowed}, as in `# Reason: text`"))
        elif match[1] in said:
            wrong.append((number, f"{match[1]} is given twice in one paragraph"))
        else:
            said[match[1]] = match[2].strip()
            if match[1] == "Kernels":
                wrong += [(number, text) for text in _range_problem(said["Kernels"])]
            if match[1] == "Machine" and said["Machine"] not in machines:
                near = did_you_mean(said["Machine"], machines)
                wrong.append((number, f"there is no machine {said['Machine']}; {near}"))
    if "Reason" not in said:
        wrong.append((first, "the paragraph needs a line `# Reason: text` before its cases"))
    return said, wrong


def _range_problem(text: str) -> list[str]:
    try:
        KernelRange.parse(text)
    except ValueError as error:
        return [str(error)]
    return []


def _entry(line: str, kind: Kind, cases: Collection[str]) -> tuple[str, str, str]:
    """Case, check and problem."""
    match = _ENTRY.fullmatch(line)
    if match is None:
        return "", "", f"`{line[:60]}` is neither topic/case nor topic/case:check"
    if match[1] not in cases:
        return "", "", f"there is no case {match[1]}; {did_you_mean(match[1], cases)}"
    if match[2] and kind == "skips":
        return "", "", "only a whole case can be skipped, not one check"
    return match[1], match[2] or "", ""


def _expectation(kind: Kind, case: str, check: str, where: str, said: dict[str, str]) -> Expectation:
    return Expectation(
        kind=kind,
        case=case,
        check=check,
        reason=said["Reason"],
        kernels=KernelRange.parse(said["Kernels"]) if "Kernels" in said else None,
        machine=said.get("Machine", ""),
        where=where,
        link=said.get("Link", ""),
        owner=said.get("Owner", ""),
    )
