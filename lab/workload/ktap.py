# SPDX-License-Identifier: GPL-2.0-or-later
"""KTAP, the kernel's test output (version 1), and the lab's metric lines in it.

Tolerant of what is met in practice: version 2, TAP 13 and 14, kselftest's `# ` before nested results,
printk noise between the lines, a missing plan. Whatever would hide a result is told as a problem.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from pydantic import TypeAdapter, ValidationError

from lab.results.models import Check, Clock, Measurement
from lab.spec.models import MetricName

MAX_TEXT = 1 << 20
MAX_LINES = 10_000
MAX_LINE = 4096
MAX_DEPTH = 12
MAX_PROBLEMS = 50
MAX_NUMBER = 2.0**63

_VERSION = re.compile(r"(KTAP|TAP) version (\d{1,4})\s*")
_PLAN = re.compile(r"1\.\.(\d{1,9})(?:\s*#\s*SKIP\b\s*(.*))?\s*")
_RESULT = re.compile(r"(not )?ok(?: +(\d{1,9})(?: +-)?(?= |$)| +-(?= )|(?= +#)|$) *(.*)")
_DIRECTIVE = re.compile(r" *(SKIP|TODO|XFAIL|TIMEOUT|ERROR)\b:?")
_COMMENTS = re.compile(r"(?:# +)+")
_TIMESTAMP = re.compile(r"(?:<\d{1,3}>)?\[ {0,12}\d{1,12}\.\d{6}\](?:\[ *[TC]\d+\])? ?")
_NUMBER = re.compile(r"\d{1,400}(?:\.\d{1,400})?(?:[eE][-+]?\d{1,5})?", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_NAMES = TypeAdapter(MetricName)


@dataclass(frozen=True)
class Parsed:
    """What a workload said."""

    checks: tuple[Check, ...]  # a subtest is named "parent/subtest" and comes before its parent
    measurements: tuple[Measurement, ...]
    problems: tuple[str, ...]  # each means that the output cannot be trusted as it stands
    plan: int | None  # of the outermost level

    @classmethod
    def empty(cls) -> Parsed:
        """Of a trial without a workload."""
        return cls((), (), (), None)


def parse(text: str, clock: Clock) -> Parsed:
    """Read a workload's stdout; `clock` is the one the trial ran on. Never raises for what the text says."""
    reader = _Reader(clock)
    if len(text) > MAX_TEXT:
        reader.tell(0, f"output cut at {MAX_TEXT >> 20} MiB of {len(text) >> 20} MiB")
    lines = text[:MAX_TEXT].replace("\r", "").split("\n")
    if len(lines) > MAX_LINES:
        reader.tell(0, f"output cut at {MAX_LINES} of {len(lines)} lines")
    stamped = _is_stamped(lines)
    for number, line in enumerate(lines[:MAX_LINES], start=1):
        bare = _TIMESTAMP.sub("", line[:MAX_LINE], count=1) if stamped else line[:MAX_LINE]
        reader.take(number, bare)
    return reader.finish()


def _is_stamped(lines: list[str]) -> bool:
    """Whether the results went through printk; else a line with a timestamp is noise of the kernel."""
    for whole in lines[:MAX_LINES]:
        line = whole[:MAX_LINE]
        if _VERSION.fullmatch(line.strip()):
            return False
        if (stamp := _TIMESTAMP.match(line)) and _VERSION.fullmatch(line[stamp.end() :].strip()):
            return True
    return False


@dataclass
class _Level:
    """One nesting depth: the results that belong to one parent."""

    indent: int
    plan: int | None = None
    results: int = 0
    checks: list[Check] = field(default_factory=list)


class _Reader:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._levels = [_Level(0)]
        self._versions = 0
        self._measurements: dict[str, Measurement] = {}
        self._problems: list[str] = []
        self._diagnostics: list[str] = []  # since the last result: why it is as it is
        self._commented = False  # kselftest writes nested output, from version line on, behind "# "

    def tell(self, number: int, text: str) -> None:
        if len(self._problems) < MAX_PROBLEMS:
            self._problems.append(f"line {number}: {text}" if number else text)

    def take(self, number: int, line: str) -> None:
        indent, words = self._unwrap(line)
        if version := _VERSION.fullmatch(words):
            self._open(number, indent, version)
        elif plan := _PLAN.fullmatch(words):
            self._take_plan(number, indent, plan)
        elif result := _RESULT.fullmatch(words):
            self._take_result(number, indent, result)
        elif words.startswith("# metric "):
            self._take_metric(number, words.split()[2:])
        elif words.startswith("# "):
            self._diagnostics = [*self._diagnostics[-4:], _clean(words[2:])]
        elif words.startswith("Bail out!"):
            self.tell(number, _clean(words))

    def _unwrap(self, line: str) -> tuple[int, str]:
        """Indentation in columns, and the words; the `# ` before nested results counts as indentation."""
        words = line.lstrip(" ")
        if comments := _COMMENTS.match(words):
            inner = words[comments.end() :]
            self._commented = self._commented or _VERSION.fullmatch(inner) is not None
            if self._commented and any(form.fullmatch(inner) for form in (_VERSION, _PLAN, _RESULT)):
                words = inner
        return len(line) - len(words), words.rstrip()

    def _level(self, number: int, indent: int) -> _Level:
        """The level at this indentation; deeper ones that no parent closed join it."""
        while self._levels[-1].indent > indent:
            orphans = self._close(number)
            self._levels[-1].checks += orphans
        if self._levels[-1].indent < indent:
            if len(self._levels) == MAX_DEPTH:
                self.tell(number, f"nested more than {MAX_DEPTH} levels deep")
                return self._levels[-1]
            self._levels.append(_Level(indent))
        return self._levels[-1]

    def _close(self, number: int) -> list[Check]:
        level = self._levels.pop()
        if level.plan is not None and level.results != level.plan:
            self.tell(number, f"{level.results} results where the plan says {level.plan}")
        return level.checks

    def _open(self, number: int, indent: int, version: re.Match[str]) -> None:
        if version[1] == "KTAP" and version[2] not in ("1", "2"):
            self.tell(number, f"KTAP version {version[2]} is not known")
        if indent == 0:
            self._versions += 1
            if self._versions > 1:
                self.tell(number, "a second version line")
        self._level(number, indent)

    def _take_plan(self, number: int, indent: int, match: re.Match[str]) -> None:
        level = self._level(number, indent)
        if level.plan is not None:
            self.tell(number, "a second plan")
            return
        level.plan = int(match[1])
        if level.plan == 0 and match[2] is not None:
            level.checks.append(Check(name="all", result="skip", detail=_clean(match[2])))

    def _take_result(self, number: int, indent: int, match: re.Match[str]) -> None:
        children: list[Check] = []
        while self._levels[-1].indent > indent:
            children += self._close(number)
        if indent == 0:
            self._commented = False
        level = self._level(number, indent)
        level.results += 1
        if match[2] and int(match[2]) != level.results:
            self.tell(number, f"result {match[2]} where {level.results} was expected")
        check = _check(bool(match[1]), match[3], level.results, self._diagnostics)
        self._diagnostics = []
        level.checks += [
            child.model_copy(update={"name": f"{check.name}/{child.name}"}) for child in children
        ]
        level.checks.append(check)

    def _take_metric(self, number: int, words: list[str]) -> None:
        if len(words) != 3:
            self.tell(number, "a metric line is `# metric <name> <value> <unit>`")
            return
        name, value, unit = words
        measurement = self._measurement(number, name, value, unit)
        if measurement is None:
            return
        if name in self._measurements:
            self.tell(number, f"metric {name} is given twice")
            return
        self._measurements[name] = measurement

    def _measurement(self, number: int, name: str, value: str, unit: str) -> Measurement | None:
        try:
            _NAMES.validate_python(name)
        except ValidationError:
            self.tell(number, f"`{_clean(name)}` cannot be a metric's name")
            return None
        if not _NUMBER.fullmatch(value) or float(value) >= MAX_NUMBER:
            self.tell(number, f"metric {name}: `{_clean(value)}` is not a number from 0 to 2^63")
            return None
        clock = Clock.COUNT if unit in ("count", "bytes") else self._clock
        right = {Clock.VIRTUAL: "insn", Clock.REAL: "ns", Clock.FUNCTIONAL: "ns"}
        if clock != Clock.COUNT and right.get(clock) != unit:
            self.tell(number, f"metric {name}: unit {_clean(unit)} on the {clock} clock")
            return None
        return Measurement(metric=name, value=float(value), unit=unit, clock=clock)

    def finish(self) -> Parsed:
        while len(self._levels) > 1:
            orphans = self._close(0)
            self._levels[-1].checks += orphans
            self.tell(0, "the output ends inside a subtest")
        plan = self._levels[0].plan
        checks = self._close(0)
        if not self._versions:
            self.tell(0, "no KTAP version line")
        if not checks:
            self.tell(0, "no result")
        return Parsed(tuple(checks), tuple(self._measurements.values()), tuple(self._problems), plan)


def _check(failed: bool, words: str, number: int, diagnostics: list[str]) -> Check:
    """The result from the words after its number: `NAME # DIRECTIVE DATA` or `NAME # DATA`."""
    name, _, data = words.partition("#")
    directive = _DIRECTIVE.match(data)
    kind = directive[1] if directive else ""
    data = _clean(data[directive.end() :] if directive else data)
    name = _clean(name) or f"test {number}"
    if kind == "SKIP":
        return Check(name=name, result="skip", detail=data)
    if failed and kind in ("TODO", "XFAIL"):  # known to fail: says nothing about this kernel
        return Check(name=name, result="skip", detail=f"{kind} {data}".strip())
    failed = failed or kind in ("TIMEOUT", "ERROR")
    reasons = [f"{kind} {data}".strip(), *(diagnostics if failed else [])]
    detail = "; ".join(reason for reason in reasons if reason)
    return Check(name=name, result="not ok" if failed else "ok", detail=detail)


def _clean(text: str) -> str:
    return _CONTROL.sub(" ", text).strip()[:200]
