# SPDX-License-Identifier: GPL-2.0-or-later
"""A series as it is named for one kernel: a file, a commit range, or one of those that ship with the lab."""

from __future__ import annotations

import re
from pathlib import Path

from lab import files
from lab.errors import UserError, did_you_mean
from lab.kernel.archive import resolve
from lab.kernel.gather import gather_series
from lab.kernel.series import Series, read_series
from lab.kernel.sources import Packaged, SourcePackage, Tree, parse_source, version_of
from lab.spec.answer import names_of, releases_of, series_for
from lab.spec.series_index import shipped_indexes
from lab.spec.versions import release_line

SHIPPED = re.compile(r"[a-z0-9][a-z0-9-]*/[a-z0-9][a-z0-9.-]*")


def find_series(text: str, kernel: str, folder: Path) -> tuple[Series, ...]:
    """What `text` names, in the order in which it is to be applied to a kernel: one series, or the one that
    it goes on top of and itself.

    `topic/name` is a shipped series, of which there may be one mbox for some releases and one for others;
    all else is as for `lab validate`, seen from `folder`. Raises UserError if there is no such series, or
    none for this kernel.
    """
    if SHIPPED.fullmatch(text) and not (folder / text).exists():
        return _shipped(text, kernel)
    with files.scratch(files.cache_dir("series") / "gathered") as kept:
        return (read_series(gather_series(text, kept, folder)),)


def _shipped(name: str, kernel: str) -> tuple[Series, ...]:
    indexes = shipped_indexes()
    known = {each for index in indexes for each in names_of(index)}
    if name not in known:
        raise UserError(
            f"there is neither a file nor a shipped series {name}", hint=did_you_mean(name, known)
        )
    release = release_of(kernel)
    mboxes = series_for(indexes, name, release)
    if mboxes is None:
        raise UserError(f"{name} is for {', '.join(releases_of(indexes, name))}, and {kernel} is {release}")
    return tuple(read_series(path) for path in mboxes)


def release_of(kernel: str) -> str:
    """The release, such as "6.12", of a kernel that is not at hand yet. UserError if that is not known."""
    source = parse_source(kernel)
    version: str | None = None
    if isinstance(source, Packaged | SourcePackage):
        version = source.wanted or resolve(Packaged()).version
    elif isinstance(source, Tree) and (source.path / "Makefile").is_file():
        version = version_of((source.path / "Makefile").read_text(errors="replace"))
    if version is None:
        raise UserError(
            f"which variant of the series fits {kernel} is not known", hint="name the series by its mbox"
        )
    return release_line(version)
