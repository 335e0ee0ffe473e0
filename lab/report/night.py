# SPDX-License-Identifier: GPL-2.0-or-later
"""A night as a matrix of letters: cases down, kernels across. However large it is, what broke is seen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lab.report.clean import one_line, plain
from lab.report.findings import Findings
from lab.results.models import Outcome, Trial
from lab.results.night import NightRecord

MAX_ROWS = 60
"""Lines of one part; from there on, lines that say the same for all kernels are folded by topic."""

COLUMNS = 32
"""Kernels beside each other; more are in a further part."""

MAX_PARTS = 4
"""Parts that are shown: 128 kernels."""

NAME = 46
"""Characters of a case with its machine."""

LETTERS = {
    Outcome.PASS: ".",
    Outcome.FAIL: "F",
    Outcome.CRASH: "C",
    Outcome.TIMEOUT: "T",
    Outcome.ERROR: "E",
    Outcome.SKIP: "s",
}
LEGEND = {
    ".": "passed",
    "F": "FAIL",
    "C": "CRASH",
    "T": "TIMEOUT",
    "E": "the lab failed",
    "x": "failed as expected",
    "s": "skipped",
    "u": "unchanged, not run",
    "U": "unchanged, not run: broken",
    "-": "not run",
    " ": "no such cell",
}
WORST = "CTFUEx-us."
"""Which letter stands for several boots of a cell: the first of these."""

Row = tuple[str, str]
"""Case and machine."""


@dataclass(frozen=True)
class Grid:
    """One letter for each cell."""

    rows: tuple[Row, ...]
    roles: tuple[str, ...]
    letters: dict[tuple[Row, str], str]

    def line(self, row: Row, roles: Sequence[str]) -> str:
        return "".join(self.letters.get((row, role), " ") for role in roles)


def grid(findings: Findings, night: NightRecord) -> Grid:
    """What each cell of the plan came to; of several boots the worst."""
    trials = {trial.key: trial for trial in findings.current}
    letters: dict[tuple[Row, str], str] = {}
    for one in findings.record.plan:
        place = (one.case, one.machine), one.role
        trial = trials.get(one.key)
        letter = _letter(trial) if trial is not None else _absent(one.key, night)
        before = letters.get(place, letter)
        letters[place] = min(before, letter, key=WORST.index)
    rows = tuple(dict.fromkeys(row for row, _ in letters))
    order = {case: number for number, case in enumerate(findings.record.cases)}
    return Grid(
        tuple(sorted(rows, key=lambda row: (order.get(row[0], len(order)), row[1]))),
        tuple(dict.fromkeys(one.role for one in findings.record.plan)),
        letters,
    )


def _letter(trial: Trial) -> str:
    return "x" if trial.as_expected else LETTERS[trial.outcome]


def _absent(key: str, night: NightRecord) -> str:
    if key in night.still_broken:
        return "U"
    return "u" if key in night.unchanged else "-"


def matrix_lines(findings: Findings) -> list[str]:
    """The matrix as text, at most some 100 columns wide, with what letters and columns mean."""
    if findings.night is None:
        return []
    found = grid(findings, findings.night)
    lines: list[str] = []
    parts = [found.roles[at : at + COLUMNS] for at in range(0, len(found.roles), COLUMNS)]
    for number, roles in enumerate(parts[:MAX_PARTS]):
        lines += ["", *_part(findings, found, roles, number * COLUMNS)]
    if len(parts) > MAX_PARTS:
        lines += ["", f"and {len(found.roles) - MAX_PARTS * COLUMNS} more kernels"]
    used = set("".join(found.letters.values()))
    legend = ", ".join(f"{letter} {words}" for letter, words in LEGEND.items() if letter in used)
    return [*lines[1:], "", f"  {legend}"]


def _part(findings: Findings, found: Grid, roles: Sequence[str], first: int) -> list[str]:
    """One block of kernels: their names under numbers, then the lines."""
    lines = [
        f"  {first + n:>3}  {plain(one_line(_kernel(findings, role), limit=88))}"
        for n, role in enumerate(roles, 1)
    ]
    numbers = [f"{first + n:>3}" for n in range(1, len(roles) + 1)]
    width = min(NAME, max((len(_name(row)) for row in found.rows), default=0))
    lines += [""] + [" " * (width + 2) + "".join(number[digit] for number in numbers) for digit in range(3)]
    lines = [line for line in lines if line.strip() or not line]
    rows = [(row, found.line(row, roles)) for row in found.rows]
    shown = [_shown(_name(row), line, width) for row, line in rows]
    if len(shown) > MAX_ROWS:
        shown = list(_folded(rows, width))
    more = len(shown) - 4 * MAX_ROWS
    return [*lines, *shown[: 4 * MAX_ROWS], *([f"and {more} more lines"] if more > 0 else [])]


def _folded(rows: Iterable[tuple[Row, str]], width: int) -> Iterable[str]:
    """Lines that say that nothing broke as one for each topic and letters; the others as they are."""
    quiet: dict[tuple[str, str], int] = {}
    for row, line in rows:
        if _is_quiet(line):
            key = row[0].partition("/")[0], line
            quiet[key] = quiet.get(key, 0) + 1
        else:
            yield _shown(_name(row), line, width)
    for (topic, line), count in quiet.items():
        yield _shown(f"{topic}: {count} alike", line, width)


def _is_quiet(line: str) -> bool:
    return not set(line) & set("FCTUE")


def _shown(name: str, line: str, width: int) -> str:
    cut = name if len(name) <= width else name[: width - 2] + ".."
    return plain(f"{cut:<{width}}  {line}".rstrip())


def _name(row: Row) -> str:
    return f"{row[0]} [{row[1]}]"


def _kernel(findings: Findings, role: str) -> str:
    kernel = findings.kernel(role)
    return f"{role}: {kernel.name} ({kernel.id})" if kernel is not None else f"{role}: not had"
