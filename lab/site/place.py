# SPDX-License-Identifier: GPL-2.0-or-later
"""Putting a site where it is wanted: whole, at once, and never over a folder that is something else."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from lab import files
from lab.errors import UserError
from lab.results.models import Record

MARK = "faultlab-site.json"
"""The file that tells a site of ours from all other folders."""

PARTS = {MARK, "index.html", "nights.html", "trends.html", "compare.html", "site.css", "site.js"}
PARTS |= {"nights", "trends", "trials"}
"""All that a site has in its own folder."""

MAX_MARK = 1 << 16
_AT_FDCWD, _EXCHANGE = -100, 2


class Mark(Record):
    """What the mark says."""

    faultlab_site: int  # the layout's version
    lab_version: str
    made: str
    nights: tuple[str, ...]  # the runs whose nights it shows, the newest first


def checked_place(out: Path) -> Path:
    """Where the site goes, absolute and without symbolic links.

    Raises UserError if something is there that is neither an empty folder nor a site.
    """
    place = files.expanded(out).resolve()
    if not os.path.lexists(place):
        return place
    another = "name another folder, or remove it yourself"
    if not place.is_dir():
        raise UserError(f"{out} is there, and is no folder", hint=another)
    there = sorted(path.name for path in place.iterdir())
    if not there:
        return place
    if not _marked(place):
        raise UserError(f"{out} is a folder that is no site of faultlab, and not empty", hint=another)
    if foreign := [name for name in there if name not in PARTS]:
        told = ", ".join(f"{name!r:.80}" for name in foreign[:5])
        raise UserError(f"{out} is a site of faultlab with something else in it: {told}", hint=another)
    return place


def _marked(place: Path) -> bool:
    try:
        with (place / MARK).open("rb") as file:
            Mark.model_validate_json(file.read(MAX_MARK))
    except (OSError, ValidationError):
        return False
    return True


@contextlib.contextmanager
def replaced(place: Path) -> Iterator[Path]:
    """Yield an empty folder; what it holds when no exception leaves becomes `place`, in one step.

    A reader finds the old site or the new one. What an earlier lab that was killed left beside it goes.
    """
    _sweep(place)
    with files.named_disk_errors(place), files.scratch(place) as building:
        yield building
        checked_place(place)  # someone may have put something there in the meantime
        if place.exists():
            _exchange(building, place)
        else:
            building.rename(place)


def _exchange(new: Path, old: Path) -> None:
    """Swap two folders; what `new` named before is then the caller's to remove."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(_AT_FDCWD, os.fsencode(new), _AT_FDCWD, os.fsencode(old), _EXCHANGE) == 0:
        return
    number = ctypes.get_errno()
    if number not in (errno.EINVAL, errno.ENOSYS):
        raise OSError(number, os.strerror(number), str(old))
    # A file system that cannot swap, such as NFS: for a moment nothing is there.
    aside = new.with_name(f"{new.name}.old")
    old.rename(aside)
    new.rename(old)
    aside.rename(new)


def _sweep(place: Path) -> None:
    """Remove half-made sites of labs that are no longer alive."""
    for left in files.leftovers_beside(place):
        shutil.rmtree(left, ignore_errors=True)
