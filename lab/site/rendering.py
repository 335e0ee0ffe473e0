# SPDX-License-Identifier: GPL-2.0-or-later
"""Pages from templates. Every word from outside is escaped, bounded, and loses its control characters."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from lab import __version__
from lab.compare.words import amount
from lab.report.clean import one_line, visible
from lab.site.names import lasting, trend_page, when

TEMPLATES = Path(__file__).parent / "templates"
STYLE = Path(__file__).parent.parent / "report" / "templates" / "report.css"


class Pages:
    """Templates compiled once, and the folder that the pages go to."""

    def __init__(self, folder: Path) -> None:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
        from markupsafe import Markup

        self.folder = folder
        self.size = 0  # bytes of all files
        self.trials: set[tuple[str, str]] = set()  # run and key of the trials that have a page
        self._made: set[Path] = set()
        self._jinja = Environment(
            loader=FileSystemLoader(TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._jinja.filters |= {
            "line": _line,
            "text": _text,
            "amount": amount,
            "when": when,
            "lasting": lasting,
            "trend_page": trend_page,
            # Drawings are markup of our own; what draws them escapes the words in it.
            "drawing": Markup,
        }
        self._jinja.globals |= {
            "made": now(),
            "version": __version__,
        }

    def page(self, name: str, template: str, **values: Any) -> None:
        """Write the page `name`; links in it start with `root`, so that the site works wherever it lies."""
        depth = name.count("/")
        text = self._jinja.get_template(template).render(root="../" * depth, depth=depth, here=name, **values)
        self.file(name, text)

    def file(self, name: str, content: str | bytes) -> None:
        """Write a file below the folder."""
        path = self.folder / name
        if path.parent not in self._made:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._made.add(path.parent)
        raw = content.encode(errors="replace") if isinstance(content, str) else content
        path.write_bytes(raw)
        self.size += len(raw)

    def static(self) -> None:
        """Style and script."""
        self.file("site.css", STYLE.read_text() + (TEMPLATES / "site.css").read_text())
        self.file("site.js", (TEMPLATES / "site.js").read_text())


def now() -> str:
    """The time for a reader."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())


def _line(value: Any, limit: int = 300) -> str:
    return one_line(str(value), limit=limit)


def _text(value: Any, limit: int = 4096) -> str:
    return visible(str(value), limit=limit)
