# SPDX-License-Identifier: GPL-2.0-or-later
"""What the guest gets: archives that unpack as written, and orders as PID 1 reads them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lab.image.cpio import Archive
from lab.image.initramfs import Initramfs, Job, orders


def members(archive: bytes) -> dict[str, bytes]:
    """Names and contents, read by the format's own description."""
    found, at = {}, 0
    while True:
        assert archive[at : at + 6] == b"070701"
        fields = [int(archive[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(13)]
        name_at = at + 110
        name = archive[name_at : name_at + fields[11] - 1].decode()
        data_at = name_at + fields[11] + -(110 + fields[11]) % 4
        if name == "TRAILER!!!":
            return found
        found[name] = archive[data_at : data_at + fields[6]]
        at = data_at + fields[6] + -fields[6] % 4


def test_members_are_as_written() -> None:
    """Files, folders and links come back with names and contents; parents are made."""
    archive = Archive()
    archive.file("/lab/job", b"mode boot\n")
    archive.symlink("/bin/sh", "busybox")
    archive.char_device("/dev/console", 5, 1)
    found = members(archive.packed())
    assert found["lab/job"] == b"mode boot\n"
    assert found["bin/sh"] == b"busybox"
    assert list(found) == ["lab", "lab/job", "bin", "bin/sh", "dev", "dev/console"]


def test_same_content_same_bytes() -> None:
    """An archive is bit-reproducible, and padded so that another may follow."""

    def build() -> bytes:
        archive = Archive()
        archive.file("/a/b", b"12345", 0o755)
        return archive.packed()

    assert build() == build()
    assert len(build()) % 512 == 0


def test_no_file_twice() -> None:
    """Two files of one name are a mistake of the lab, not a silent winner."""
    archive = Archive()
    archive.file("/x", b"1")
    with pytest.raises(ValueError, match="x is in the archive already"):
        archive.file("/x", b"2")


def test_orders_are_lines() -> None:
    """Modules keep their order, arguments their spaces, and files for root alone their mode."""
    job = Job("job", Path("/w"), ("--size", "8M", "a b"), {"LAB_CLOCK": "virtual"}, files={"/lab/key": b"k"})
    found = members(orders(job, ["/lab/modules/00-drm.ko", "/lab/modules/01-ttm.ko page_pool_size=1"]))
    lines = found["lab/job"].decode().splitlines()
    assert lines[0] == "mode job"
    assert lines[1:3] == ["module /lab/modules/00-drm.ko", "module /lab/modules/01-ttm.ko page_pool_size=1"]
    assert "arg a b" in lines
    assert "env LAB_CLOCK=virtual" in lines
    assert found["lab/key"] == b"k"


def test_an_order_holds_no_newline() -> None:
    """What would become a second order is refused."""
    with pytest.raises(ValueError, match="newline"):
        orders(Job("job", Path("/w"), ("x\nmode ssh",)), [])


def test_parts_are_joined_in_memory(tmp_path: Path) -> None:
    """The initramfs is an anonymous file with the cached parts first, in order."""
    for name, data in (("a", b"A" * 512), ("b", b"B" * 512)):
        (tmp_path / name).write_bytes(data)
    handle = Initramfs((tmp_path / "a", tmp_path / "b"), b"C").joined()
    try:
        assert os.pread(handle, 4096, 0) == b"A" * 512 + b"B" * 512 + b"C"
        assert "memfd" in str(Path(f"/proc/self/fd/{handle}").readlink())
    finally:
        os.close(handle)
