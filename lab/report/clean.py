# SPDX-License-Identifier: GPL-2.0-or-later
"""Making guest text fit to show. Consoles hold escapes, NULs and lines of a megabyte; readers get text."""

from __future__ import annotations

import os
import re
from pathlib import Path

from lab.report.untrusted import open_regular

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b\n]*(?:\x07|\x1b\\)?|[ -/]*[0-~])")
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# C0 and C1 controls, surrogates, and the characters that reorder or hide what stands beside them.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)

TAIL_BYTES = 64 << 10
"""Bytes read from the end of a console log for an excerpt."""


def visible(text: str, *, limit: int = 4096) -> str:
    """The text without escapes and control characters (newline and tab stay), cut to `limit` characters."""
    bounded = text[: 4 * limit]
    clean = _UNSEEN.sub("", _ESCAPES.sub("", bounded.replace("\r\n", "\n").replace("\r", "\n")))
    return clean if len(clean) <= limit and len(text) <= 4 * limit else clean[: limit - 3] + "..."


def one_line(text: str, *, limit: int = 300) -> str:
    """The text as one visible line."""
    return " ".join(visible(text, limit=limit).split())


def plain(text: str) -> str:
    """The text in ASCII, for mail: what is not ASCII becomes "?"."""
    return text.encode("ascii", errors="replace").decode()


def xml_text(text: str, *, limit: int = 1 << 20) -> str:
    """The text as XML 1.0 can hold it; junitparser writes control characters that no parser reads back."""
    return _NOT_XML.sub("", visible(text, limit=limit))


def last_lines(path: Path, *, lines: int, width: int, tail: int = TAIL_BYTES) -> list[str]:
    """The last lines of a log, cleaned and cut to `width` characters; [] if there is none to read.

    They are looked for in its last `tail` bytes.
    """
    try:
        with open_regular(path) as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - tail))
            raw = log.read(tail)
    except OSError:
        return []
    text = visible(raw.decode(errors="replace"), limit=2 * tail)
    kept = [line.rstrip() for line in text.split("\n") if line.strip()][-lines:]
    return [line if len(line) <= width else line[: width - 3] + "..." for line in kept]
