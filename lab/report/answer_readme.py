# SPDX-License-Identifier: GPL-2.0-or-later
"""The tables' place in a README: all between two markers is replaced, nothing else is touched."""

from __future__ import annotations

import re

from lab.errors import UserError

BEGIN, END = "<!-- answer -->", "<!-- /answer -->"
_LINE = re.compile(r"(?m)^<!-- (/?)answer -->[ \t]*$")


def with_answer(text: str, block: str, *, name: str) -> str:
    """The README's text with `block` between its markers, each of which stands alone on a line.

    UserError, naming the file as `name`, unless there is exactly one pair.
    """
    start, end = _place(text, name)
    return f"{text[:start]}\n{block.rstrip()}\n{text[end:]}"


def check_markers(text: str, *, name: str) -> None:
    """UserError unless the tables have a place in this text."""
    _place(text, name)


def _place(text: str, name: str) -> tuple[int, int]:
    """End of the line with the first marker, beginning of the line with the second."""
    found = list(_LINE.finditer(text))
    if [match[1] for match in found] == ["", "/"]:
        return found[0].end(), found[1].start()
    if not found:
        problem = f"{name} has no place for the tables"
    else:
        lines = ", ".join(f"line {text[: match.start()].count(chr(10)) + 1}" for match in found)
        problem = f"{name} must have one {BEGIN} and behind it one {END}; found markers on {lines}"
    raise UserError(problem, hint=f"put {BEGIN} and {END} on lines of their own where the tables shall stand")
