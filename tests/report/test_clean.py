# SPDX-License-Identifier: GPL-2.0-or-later
"""Hostile text, made fit to show."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from xml.sax.saxutils import escape

from hypothesis import given
from hypothesis import strategies as st

from lab.report.clean import last_lines, one_line, plain, visible, xml_text
from lab.report.layout import table

ANYTHING = st.text(st.characters(codec=None, exclude_categories=()))


def test_escapes_go_away() -> None:
    """Colours, titles and cursor moves of a terminal leave nothing behind; tabs and newlines stay."""
    assert visible("\x1b[1;31mred\x1b[0m\x1b]0;title\x07 \x1b(Bx\ty\r\nz\x00\x9b") == "red x\ty\nz"


@given(ANYTHING)
def test_any_text_becomes_xml(text: str) -> None:
    """Whatever goes in, an XML parser reads it back."""
    assert ET.fromstring(f"<a>{escape(xml_text(text))}</a>").tag == "a"


@given(ANYTHING)
def test_one_line_is_one_line(text: str) -> None:
    """A line holds no line break of any kind, and ASCII is ASCII."""
    assert len(one_line(text).splitlines()) <= 1
    assert plain(one_line(text)).isascii()


def test_long_text_is_cut() -> None:
    """A megabyte becomes what fits, with a mark that something is missing."""
    assert visible("x" * (1 << 20), limit=10) == "xxxxxxx..."


def test_last_lines(tmp_path: Path) -> None:
    """The end of a huge log is read without reading it all; missing logs and folders are no error."""
    log = tmp_path / "console.log"
    log.write_bytes(b"x" * (2 << 20) + b"\nlast \xff but one\n\n\x1b[0mlast\n")
    assert last_lines(log, lines=2, width=80) == ["last \ufffd but one", "last"]
    assert last_lines(tmp_path / "none", lines=2, width=80) == []
    assert last_lines(tmp_path, lines=2, width=80) == []


@given(st.lists(st.tuples(ANYTHING, st.text(max_size=40), st.text("0123456789,.", max_size=12)), max_size=5))
def test_tables_stay_narrow(rows: list[tuple[str, str, str]]) -> None:
    """A table is never wider than its bound."""
    assert all(len(line) <= 60 for line in table(("a", "b", "c"), rows, right=(2,), widest=60))
