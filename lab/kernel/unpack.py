# SPDX-License-Identifier: GPL-2.0-or-later
"""Strangers' tar archives: nothing is written outside the folder, and nothing but files, folders and links
that stay inside it."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Self

from lab import proc
from lab.errors import UserError
from lab.kernel.sources import is_kernel_tree
from lab.waiting import check_stop

MAX_BYTES = 8 << 30
"""Unpacked, in all; a kernel has 1.7 GiB."""
MAX_MEMBERS = 500_000
MAX_READ = 64 << 20
"""Bytes of one file, and of one header."""

PACKINGS = (
    (b"\xfd7zXZ\0", ("xz", "-dc", "-T0"), "xz-utils"),
    (b"\x1f\x8b", ("gzip", "-dc"), "gzip"),
    (b"BZh", ("bzip2", "-dc"), "bzip2"),
    (b"\x28\xb5\x2f\xfd", ("zstd", "-dc"), "zstd"),
)
STALE = (".config", "include/config", "include/generated", "arch/x86/include/generated")
"""Left by a build inside the tree; kbuild refuses to build outside of a tree that has them."""


def unpack_kernel(archive: Path, into: Path) -> None:
    """Unpack a kernel's tar archive, of any packing, so that its top is `into`, an empty folder.

    Raises UserError if it is no archive, holds no kernel, or tries to reach outside of its folder.
    """
    with _plain_tar(archive) as stream:
        try:
            bounded = _Bounded(stream)
            with tarfile.open(fileobj=bounded, mode="r|", bufsize=1 << 20, tarinfo=_Member) as tar:
                _Unpacking(archive, into).all(tar)
        except (tarfile.TarError, EOFError, ValueError) as error:
            hint = "name the packed tree of a kernel; if this is one, download or pack it again"
            raise UserError(f"{archive} cannot be unpacked: {error}", hint=hint) from error
    _lift(into)
    _check_links(archive, into)
    if not is_kernel_tree(into):
        raise UserError(
            f"{archive} is not a kernel: at its top there is no Makefile with VERSION and PATCHLEVEL, "
            "Kbuild and MAINTAINERS",
            hint="name the archive of a whole kernel tree, such as linux-6.12.tar.xz",
        )
    for name in STALE:
        stale = into / name
        if stale.is_dir() and not stale.is_symlink():
            shutil.rmtree(stale)
        else:
            stale.unlink(missing_ok=True)


@contextmanager
def _plain_tar(archive: Path) -> Iterator[IO[bytes]]:
    """The archive's bytes, decompressed by a program of its own, which is faster than Python's modules."""
    try:
        with archive.open("rb") as handle:
            start = handle.read(8)
    except OSError as error:
        raise UserError(f"cannot read {archive}: {error.strerror}", hint="name a tar archive") from error
    packing = next((entry for entry in PACKINGS if start.startswith(entry[0])), None)
    if packing is None:
        with archive.open("rb") as handle:
            yield handle
        return
    program = proc.needed(packing[1][0], package=packing[2], why=f"{archive.name} is packed with it")
    with tempfile.TemporaryFile() as said:
        child = proc.spawn([program, *packing[1][1:], "--", str(archive)], stdout=proc.PIPE, stderr=said)
        assert child.stdout is not None
        try:
            yield child.stdout
            while child.stdout.read(1 << 20):  # what is padded behind the end of the archive
                check_stop()
            code = child.wait()
        finally:
            child.stdout.close()
            proc.kill_group(child)
        if code != 0:
            said.seek(0)
            words = said.read(500).decode(errors="replace").strip()
            raise UserError(f"{archive} is damaged: {words}", hint="download it again")


class _Bounded(io.BufferedIOBase):
    """A stream that is not read without end."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._left = stream, MAX_BYTES

    def read(self, size: int | None = -1, /) -> bytes:
        check_stop()
        data = self._stream.read(-1 if size is None else size)
        self._left -= len(data)
        if self._left < 0:
            raise tarfile.ReadError(f"it unpacks to more than {MAX_BYTES >> 30} GiB")
        return data


class _Member(tarfile.TarInfo):
    """A header that may not claim an absurd size; names of any length are read into memory by it."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        member = super().frombuf(buf, encoding, errors)
        _refuse_large(member)
        return member


def _refuse_large(member: tarfile.TarInfo) -> None:
    """Asked for each header and for each member: a pax header may state another size than its block."""
    if member.size > MAX_READ:
        raise tarfile.ReadError(f"{member.name[:200]!r} is larger than {MAX_READ >> 20} MiB")


class _Unpacking:
    """One archive on its way to disk."""

    def __init__(self, archive: Path, into: Path) -> None:
        self._archive, self._into = archive, into
        self._links: dict[PurePosixPath, str] = {}

    def all(self, tar: tarfile.TarFile) -> None:
        for number, member in enumerate(tar):
            if number >= MAX_MEMBERS:
                raise tarfile.ReadError(f"it has more than {MAX_MEMBERS} members")
            _refuse_large(member)
            tar.members = []  # type: ignore[attr-defined]  # or they would all be kept in memory
            self._one(tar, member)
        self._make_links()

    def _one(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        name = PurePosixPath(member.name)
        if name.is_absolute() or ".." in name.parts:
            raise self._refused(member, "leads outside of the folder")
        if ".git" in name.parts:
            return  # a kernel's sources only, not somebody's repository with its settings
        # Links are made last, so that none leads astray what is written before.
        if any(parent in self._links for parent in (name, *name.parents)):
            raise self._refused(member, "lies behind a symbolic link")
        path = self._into / name
        if member.isdir():
            path.mkdir(parents=True, exist_ok=True)
        elif member.issym():
            self._links[name] = member.linkname
        elif member.isreg():
            self._write(tar, member, path)
        else:
            raise self._refused(member, "is neither a file, nor a folder, nor a symbolic link")

    def _write(self, tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
        content = tar.extractfile(member)
        assert content is not None
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.read())
        if member.mode & 0o100:
            path.chmod(0o755)

    def _make_links(self) -> None:
        for name, target in self._links.items():
            path = self._into / name
            if path.exists():
                raise UserError(f"{self._archive} has {name} twice", hint="do not trust the archive")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(target)

    def _refused(self, member: tarfile.TarInfo, why: str) -> UserError:
        return UserError(
            f"{self._archive}: {member.name[:200]!r} {why}",
            hint="nothing of it is used; do not trust the archive",
        )


def _lift(into: Path) -> None:
    """Take away the one folder that an archive usually has around its files."""
    inside = list(into.iterdir())
    if len(inside) != 1 or not inside[0].is_dir() or inside[0].is_symlink():
        return
    wrapper = inside[0].rename(into / ".wrapper")
    for path in list(wrapper.iterdir()):
        path.rename(into / path.name)
    wrapper.rmdir()


def _check_links(archive: Path, top: Path) -> None:
    """With all links in place, as one may lead through another: UserError unless all stay inside."""
    real = top.resolve()
    for folder, below, names in os.walk(top):
        for name in (*below, *names):
            path = Path(folder, name)
            if not path.is_symlink():
                continue
            target = path.readlink()
            try:
                inside = not target.is_absolute() and path.resolve().is_relative_to(real)
            except (OSError, RuntimeError):
                inside = False  # a circle
            if not inside:
                raise UserError(
                    f"{archive}: the link {path.relative_to(top)} leads outside, to {target}",
                    hint="nothing of it is used; do not trust the archive",
                )
