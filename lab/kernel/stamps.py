# SPDX-License-Identifier: GPL-2.0-or-later
"""Times of source files as make should see them.

Applying a series and taking it back gives files new times, and make would compile them again though nothing
changed since it last did. So an object tree remembers which content of such a file it was last built with,
and at what time; a file with that content gets that time back while make runs, any other content is new.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from pydantic import Field, ValidationError

from lab import files
from lab.results.models import Record


class Stamp(Record):
    """One version of a file."""

    sha256: str
    mtime_ns: int


class Stamps(Record):
    """Paths below the source tree -> the version last built."""

    built: Mapping[str, Stamp] = Field(default_factory=dict)


@contextlib.contextmanager
def as_last_built(source: Path, memory: Path, paths: Iterable[str]) -> Iterator[None]:
    """While inside, `paths` (and all that were ever named) have the times they were last built with.

    `memory` is a file of the object tree, and beside the source lies one with the true times: other object
    trees of the same source must see those, also if this lab is killed.
    """
    undo = source.parent / "true-times.json"
    _set_times(source, _read(undo))
    known = _read(memory)
    now = {path: stamp for path in {*paths, *known} if (stamp := _stamp(source / path)) is not None}
    as_built = {
        path: known[path] if path in known and known[path].sha256 == stamp.sha256 else stamp
        for path, stamp in now.items()
    }
    files.write_whole(memory, Stamps(built=as_built).model_dump_json())
    files.write_whole(undo, Stamps(built=now).model_dump_json())
    _set_times(source, as_built)
    try:
        yield
    finally:
        _set_times(source, now)
        undo.unlink(missing_ok=True)


def _read(path: Path) -> Mapping[str, Stamp]:
    try:
        return Stamps.model_validate_json(path.read_bytes()).built
    except (OSError, ValidationError):
        return {}


def _stamp(path: Path) -> Stamp | None:
    if path.is_symlink() or not path.is_file():
        return None
    return Stamp(sha256=files.sha256_file(path), mtime_ns=path.stat().st_mtime_ns)


def _set_times(source: Path, stamps: Mapping[str, Stamp]) -> None:
    for name, stamp in stamps.items():
        path = source / name
        found = _stamp(path)
        if found is not None and found.sha256 == stamp.sha256 and found.mtime_ns != stamp.mtime_ns:
            os.utime(path, ns=(stamp.mtime_ns, stamp.mtime_ns))
