# SPDX-License-Identifier: GPL-2.0-or-later
"""A worker's store: kernels and images by the SHA-256 of their content.

What a boot needs comes straight from the client to the worker, in pieces, over a connection that the TLS of
the cluster protects; the scheduler never sees it. A piece is written where nobody looks, and the file appears
under its digest only if that is what was written. What was used longest ago goes when the store is full.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from lab import files
from lab.errors import InfraError

DIGEST = re.compile(r"[0-9a-f]{64}")
UPLOAD = re.compile(r"[0-9a-f]{32}")

PIECE = 4 << 20
"""Bytes that are sent at once."""

MAX_FILE = 2 << 30
"""Bytes of one file: a debug kernel's ELF has some 1 GiB."""

LIMIT = 20 << 30
"""Bytes of all files together, unless the worker was told otherwise."""

MAX_UPLOADS = 32

STALE_SECONDS = 60.0
"""After so long without a piece a file's sender is gone."""


@dataclass
class _Upload:
    """A file that is being received."""

    digest: str
    size: int
    out: IO[bytes]
    path: Path
    found: Any = field(default_factory=hashlib.sha256)
    received: int = 0
    touched: float = field(default_factory=time.monotonic)


class Store:
    """One folder of files; several workers of a host may share it."""

    def __init__(self, folder: Path, limit: int = LIMIT) -> None:
        self.folder = folder
        self.limit = limit
        self._uploads: dict[str, _Upload] = {}

    def missing(self, digests: Iterable[str]) -> list[str]:
        """Those that must be sent."""
        return [digest for digest in dict.fromkeys(digests) if not self._path(digest).is_file()]

    def receive(self, upload: str, digest: str, size: int, offset: int, data: bytes) -> bool:
        """Take the next piece of a file of `size` bytes; True once the file is there.

        Raises InfraError if it is too large, comes out of order, is not what its digest says, or if there is
        no room for it.
        """
        path = self._path(digest)
        current = self._uploads.get(upload)
        if current is None:
            current = self._begin(upload, path, size)
        if (current.digest, current.size, current.received) != (digest, size, offset):
            raise self._refused(upload, f"the store got a piece of {digest[:12]} out of order")
        if not data or len(data) > PIECE or offset + len(data) > size:
            raise self._refused(upload, f"the store got a piece of {len(data)} bytes of {digest[:12]}")
        try:
            current.out.write(data)
            current.out.flush()
            current.found.update(data)
            current.received += len(data)
            current.touched = time.monotonic()
            if current.received < size:
                return False
            if current.found.hexdigest() != digest:
                raise self._refused(
                    upload, f"the store got something else than {digest[:12]}: {current.found.hexdigest()}"
                )
            current.path.chmod(0o644)
            current.path.rename(path)
        except OSError as error:
            self.drop(upload)
            raise files.disk_error(path, error) from error
        self.drop(upload)
        return True

    def drop(self, upload: str) -> None:
        """Forget a file that is not whole."""
        current = self._uploads.pop(upload, None)
        if current is not None:
            current.path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # what did not fit is written once more
                current.out.close()

    def link(self, digests: Iterable[str], folder: Path) -> dict[str, Path]:
        """Each of these files in `folder`, on this file system, where nobody takes it away.

        Raises InfraError if one is not there, or is not what it was: then it is removed.
        """
        found: dict[str, Path] = {}
        for digest in dict.fromkeys(digests):
            kept, own = self._path(digest), folder / digest
            try:
                os.link(kept, own)
                os.utime(kept)  # used now
            except FileNotFoundError:
                raise InfraError(f"the store lost {digest[:12]}", hint="is it too small?") from None
            except OSError as error:
                raise files.disk_error(own, error) from error
            if files.sha256_file(own) != digest:
                kept.unlink(missing_ok=True)
                raise InfraError(f"{kept} was damaged; it has been removed", hint="check the worker's disk")
            found[digest] = own
        return found

    def _begin(self, upload: str, path: Path, size: int) -> _Upload:
        for name, other in list(self._uploads.items()):
            if time.monotonic() - other.touched > STALE_SECONDS:
                self.drop(name)
        if not UPLOAD.fullmatch(upload) or len(self._uploads) >= MAX_UPLOADS:
            raise InfraError(f"the store takes at most {MAX_UPLOADS} files at once")
        if not 0 < size <= min(MAX_FILE, self.limit):
            raise InfraError(
                f"a file of {size} bytes does not fit into the store",
                hint="`lab worker --store-limit` gives it more room",
            )
        with files.named_disk_errors(path):
            self.folder.mkdir(parents=True, exist_ok=True)
            self._make_room(size)
            # The name tells the next sweep whose it was, the lock that its owner lives (lab.files).
            handle, name = tempfile.mkstemp(dir=self.folder, prefix=f".{path.name}.{os.getpid()}.")
        fcntl.flock(handle, fcntl.LOCK_EX)
        current = _Upload(path.name, size, os.fdopen(handle, "wb"), Path(name))
        self._uploads[upload] = current
        return current

    def _make_room(self, size: int) -> None:
        kept: list[tuple[float, int, Path]] = []
        for path in self.folder.iterdir():
            with contextlib.suppress(FileNotFoundError):  # another worker of this host made room as well
                about = path.stat()
                kept.append((about.st_mtime, about.st_size, path))
        total = sum(length for _, length, _ in kept)
        for _, length, path in sorted(kept):
            if total + size <= self.limit:
                return
            if DIGEST.fullmatch(path.name):
                path.unlink(missing_ok=True)
                total -= length

    def _refused(self, upload: str, why: str) -> InfraError:
        self.drop(upload)
        return InfraError(why, hint="what was sent is removed")

    def _path(self, digest: str) -> Path:
        if not isinstance(digest, str) or not DIGEST.fullmatch(digest):
            raise InfraError(f"{digest!r:.80} is no digest")
        return self.folder / digest
