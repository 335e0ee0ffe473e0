# SPDX-License-Identifier: GPL-2.0-or-later
"""Names of files and words of the site that come from run folders: bounded, and safe in any path or link."""

from __future__ import annotations

import hashlib
import os
import re
from datetime import UTC, datetime
from pathlib import PurePath

from lab.site.picture import Row

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,119}")
_UNFIT = re.compile(r"[^A-Za-z0-9._+-]+")


def slug(name: str) -> str:
    """`name` itself where any file system and link can hold it, else a readable part of it and a digest."""
    if _PLAIN.fullmatch(name):
        return name
    digest = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:12]
    return f"x{_UNFIT.sub('-', name)[:60].strip('-')}-{digest}"


def night_page(run: str) -> str:
    return f"nights/{slug(run)}.html"


def night_data(run: str) -> str:
    return f"nights/{slug(run)}.js"


def trial_page(run: str, key: str) -> str:
    return f"trials/{slug(run)}/{slug(key)}.html"


def console_file(run: str, key: str) -> str:
    # ".txt": a browser that opens it from a folder shows it as text, whatever a guest has written into it.
    return f"trials/{slug(run)}/{slug(key)}.console.txt"


def trend_page(row: Row) -> str:
    return f"trends/{slug(f'{row.case}-{row.machine}-{row.clock}'.replace('/', '.'))}.html"


def matrix_name(matrix: str) -> str:
    """The file of a matrix as it is called by those who do not sit at this machine.

    >>> matrix_name("ci/nightly.yaml"), matrix_name("/home/me/faultlab/ci/nightly.yaml")
    ('ci/nightly.yaml', 'nightly.yaml')
    """
    path = PurePath(matrix)
    return path.name if path.is_absolute() else matrix


def homely(text: str, home: str = "~") -> str:
    """Words of the lab, for readers who have nothing to do with the home of whoever ran it."""
    mine = os.path.expanduser("~").rstrip("/")  # noqa: PTH111 - Path.home() raises where there is none
    return text.replace(f"{mine}/", f"{home}/") if mine.startswith("/") else text


def when(stamp: str) -> str:
    """An RFC 3339 time as a reader wants it; "n/a" for what is none.

    >>> when("2026-11-21T01:02:03+00:00"), when("soon")
    ('2026-11-21 01:02 UTC', 'n/a')
    """
    try:
        return datetime.fromisoformat(stamp).astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (ValueError, OverflowError):
        return "n/a"


def lasting(seconds: float) -> str:
    """A time that the lab took.

    >>> lasting(3.26), lasting(95), lasting(7260)
    ('3.3 s', '1 min 35 s', '2 h 1 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
