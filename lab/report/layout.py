# SPDX-License-Identifier: GPL-2.0-or-later
"""Plain-text tables and paragraphs: ASCII, as narrow as their content, never wider than a bound."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from lab.report.clean import one_line, plain

PROSE = 75
"""Columns of prose in a mail that people quote."""

TABLE = 100
"""Columns that no table exceeds."""


def table(
    header: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = (), widest: int = TABLE
) -> list[str]:
    """Lines of a table; the columns in `right` are flush right.

    If it is wider than `widest`, the widest left-flush column is cut, again and again, until it fits.
    """
    cells = [[plain(one_line(cell)) for cell in row] for row in [header, *rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    shrinkable = [column for column in range(len(header)) if column not in right]
    while sum(widths) + 2 * (len(widths) - 1) > widest:
        victim = max(shrinkable, key=lambda column: widths[column])
        if widths[victim] <= 8:
            break
        widths[victim] -= 1
    lines = [_line(row, widths, right) for row in cells]
    return [lines[0], "  ".join("-" * width for width in widths), *lines[1:]]


def _line(row: Sequence[str], widths: Sequence[int], right: Sequence[int]) -> str:
    parts = []
    for column, (cell, width) in enumerate(zip(row, widths, strict=True)):
        cut = cell if len(cell) <= width else cell[: width - 2] + ".."
        parts.append(cut.rjust(width) if column in right else cut.ljust(width))
    return "  ".join(parts).rstrip()


def paragraph(text: str, *, first: str = "", rest: str | None = None, width: int = PROSE) -> list[str]:
    """The text wrapped to `width`, the first line after `first`, the others after `rest`."""
    follow = " " * len(first) if rest is None else rest
    clean = plain(one_line(text, limit=4000))
    return textwrap.wrap(clean, width, initial_indent=first, subsequent_indent=follow) or [first.rstrip()]


def bullets(texts: Sequence[str], *, width: int = PROSE) -> list[str]:
    """One wrapped paragraph for each text; a text that quotes a tool ("| ...") keeps its line."""
    lines: list[str] = []
    for text in texts:
        if text.startswith("| "):
            lines.append("    " + plain(one_line(text, limit=width - 4)))
        else:
            lines += paragraph(text, first="  - ", width=width)
    return lines


def facts(pairs: Sequence[tuple[str, str]], *, width: int = PROSE) -> list[str]:
    """`name  value` lines with the values in one column; pairs without a value are left out."""
    told = [(name, value) for name, value in pairs if value]
    column = max((len(name) for name, _ in told), default=0) + 4
    return [
        line
        for name, value in told
        for line in paragraph(value, first=f"  {name}".ljust(column), width=width)
    ]
