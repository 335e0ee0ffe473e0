# SPDX-License-Identifier: GPL-2.0-or-later
"""Writing "newc" cpio archives, the format of an initramfs (Linux: Documentation/driver-api/early-userspace/
buffer-format.rst). The kernel unpacks several concatenated archives in order, so an initramfs is joined from
cached parts. Archives are bit-reproducible: no times, no owners, inodes in order of appearance.
"""

from __future__ import annotations

import stat
from pathlib import PurePosixPath


class Archive:
    """An archive under construction; parent folders are added as needed."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._names: set[str] = set()

    def file(self, path: str, data: bytes, mode: int = 0o644) -> None:
        self._add(path, stat.S_IFREG | mode, data)

    def folder(self, path: str, mode: int = 0o755) -> None:
        self._add(path, stat.S_IFDIR | mode, b"")

    def symlink(self, path: str, target: str) -> None:
        self._add(path, stat.S_IFLNK | 0o777, target.encode())

    def char_device(self, path: str, major: int, minor: int, mode: int = 0o600) -> None:
        self._add(path, stat.S_IFCHR | mode, b"", device=(major, minor))

    def packed(self) -> bytes:
        """The archive, padded to 512 bytes so that another may follow."""
        whole = b"".join(self._parts) + _entry("TRAILER!!!", 0, 0, b"", (0, 0))
        return whole + bytes(-len(whole) % 512)

    def _add(self, path: str, mode: int, data: bytes, device: tuple[int, int] = (0, 0)) -> None:
        name = str(PurePosixPath(path)).lstrip("/")
        parent = str(PurePosixPath(name).parent)
        if parent != "." and parent not in self._names:
            self.folder(parent)
        if name in self._names:
            if stat.S_ISDIR(mode):
                return
            raise ValueError(f"{name} is in the archive already")
        self._names.add(name)
        self._parts.append(_entry(name, len(self._names), mode, data, device))


def _entry(name: str, inode: int, mode: int, data: bytes, device: tuple[int, int]) -> bytes:
    raw = name.encode() + b"\0"
    links = 2 if stat.S_ISDIR(mode) else 1
    # ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check
    fields = (inode, mode, 0, 0, links, 0, len(data), 0, 0, *device, len(raw), 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + raw
    return head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)
