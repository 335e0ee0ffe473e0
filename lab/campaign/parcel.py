# SPDX-License-Identifier: GPL-2.0-or-later
"""A finished trial as bytes: packed where it was run, unpacked strictly where its run folder is.

A line that says what it is, then for each file a line `NAME SIZE` and its bytes, then `end SHA256` over all
that stands before. What comes from elsewhere is hostile: names by pattern, sizes bounded, files made anew.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from pydantic import ValidationError

from lab.errors import InfraError
from lab.results.models import Trial

MAGIC = b"faultlab trial 1\n"
MAX_FILES = 300
MAX_BYTES = 144 << 20
"""Of all files together: console and samples have limits of 64 MiB each."""

RECORD = "trial.json"
EXECUTABLE = frozenset({"qemu.cmd"})

_NAME = re.compile(r"(?:samples/|(?!samples\Z))[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")
_HEAD = re.compile(rb"([!-~]{1,80}) (0|[1-9][0-9]{0,9})\n")
_END = re.compile(rb"end ([0-9a-f]{64})\n")
_LINE = 128


class ParcelError(InfraError):
    """The bytes are no trial."""


def pack(folder: Path) -> bytes:
    """All files of a trial's folder. InfraError if they are too many, too large, or not as a trial's are."""
    parts = [MAGIC]
    room = MAX_BYTES
    found = sorted(path for path in folder.rglob("*") if not path.is_dir())
    if len(found) > MAX_FILES:
        raise InfraError(f"the trial has {len(found)} files, {MAX_FILES} is the limit")
    for path in found:
        name = str(path.relative_to(folder))
        if path.is_symlink() or not path.is_file() or not _NAME.fullmatch(name):
            raise InfraError(f"a trial cannot hold {name!r:.100}")
        data = path.read_bytes()
        room -= len(data)
        if room < 0:
            raise InfraError(f"the trial's files have more than {MAX_BYTES >> 20} MiB in all")
        parts += [f"{name} {len(data)}\n".encode(), data]
    body = b"".join(parts)
    return body + f"end {hashlib.sha256(body).hexdigest()}\n".encode()


def unpack(data: bytes, folder: Path, key: str) -> Trial:
    """Write the files of the packed trial `key` into its folder, which has nothing but an empty samples/.

    Nothing is written unless all of it is well-formed. Raises ParcelError if it is not.
    """
    found = _parse(data)
    if RECORD not in found:
        raise ParcelError(f"the parcel of trial {key} has no {RECORD}")
    try:
        trial = Trial.model_validate_json(bytes(found[RECORD]))
    except ValidationError as error:
        raise ParcelError(f"the parcel of trial {key}: {RECORD}: {error.errors()[0]['msg']}") from error
    if trial.key != key:
        raise ParcelError(f"the parcel of trial {key} has trial {trial.key!r:.100}")
    for name, content in found.items():
        mode = 0o755 if name in EXECUTABLE else 0o644
        handle = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
        with os.fdopen(handle, "wb") as out:
            out.write(content)
    return trial


def _parse(data: bytes) -> dict[str, memoryview]:
    """Names and contents; ParcelError names the byte at which it is wrong."""
    if not data.startswith(MAGIC):
        raise ParcelError("these bytes are no trial's parcel")
    if len(data) > MAX_BYTES + (MAX_FILES + 2) * _LINE:
        raise ParcelError(f"a parcel of {len(data)} bytes is too large")
    found: dict[str, memoryview] = {}
    view = memoryview(data)
    at = len(MAGIC)
    while (head := _HEAD.match(data, at)) is not None:
        name, size = head[1].decode(), int(head[2])
        if not _NAME.fullmatch(name) or name in found or len(found) >= MAX_FILES:
            raise ParcelError(f"the parcel cannot have the file {name!r} (byte {at})")
        if head.end() + size > len(data):
            raise ParcelError(f"the parcel is cut off in {name} (byte {at})")
        found[name] = view[head.end() : head.end() + size]
        at = head.end() + size
    end = _END.fullmatch(data, at)
    if end is None:
        raise ParcelError(f"the parcel is damaged at byte {at}")
    if hashlib.sha256(view[:at]).hexdigest() != end[1].decode():
        raise ParcelError("the parcel's content is not what was sent")
    return found
