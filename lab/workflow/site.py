# SPDX-License-Identifier: GPL-2.0-or-later
"""What came of the nights, as pages that people look at."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lab import __version__, log
from lab.compare.words import counted
from lab.errors import UserError
from lab.history.index import Index
from lab.results.runfolder import all_runs, write_record
from lab.site.build import Built, build_site
from lab.site.place import MARK, Mark, checked_place, replaced
from lab.site.rendering import Pages, now

LAYOUT = 1


@dataclass(frozen=True)
class Site:
    """A site that was written."""

    path: Path
    built: Built
    size: int  # bytes of its files


def make_site(out: Path, *, nights: int) -> Site:
    """Write the site of the last `nights` nights to `out`, whole or not at all.

    Raises UserError if `out` holds something else, or there is no night.
    """
    place = checked_place(out)
    with Index.open() as index:
        refreshed = index.refresh(all_runs())
        known = index.nights()
        if not known:
            raise UserError("there is no night yet", hint="`lab nightly` makes one")
        shown = known[:nights]
        words = f"writing the site of {counted(len(shown), 'night')}"
        with log.step(words), replaced(place) as folder, _without_looking_for_circles():
            pages = Pages(folder)
            built = build_site(pages, index, shown, older=len(known) - len(shown), damaged=refreshed.damaged)
            mark = Mark(
                faultlab_site=LAYOUT, lab_version=__version__, made=now(), nights=tuple(n.run for n in shown)
            )
            write_record(folder / MARK, mark)
    return Site(place, built, pages.size)


@contextlib.contextmanager
def _without_looking_for_circles() -> Iterator[None]:
    """Ten thousand trials are a million objects, none in a circle: to look through them again and again
    took a fifth of the time."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
