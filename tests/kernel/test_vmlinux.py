# SPDX-License-Identifier: GPL-2.0-or-later
"""Taking the ELF kernel out of a bzImage that is made here."""

from __future__ import annotations

import gzip
import lzma
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from lab.errors import InfraError
from lab.kernel.vmlinux import extract_vmlinux, has_pvh_note, packer


def elf(note_kind: int = 18, name: bytes = b"Xen\0") -> bytes:
    """A 64-bit ELF file with one PT_NOTE segment; type 18 of Xen is the PVH entry."""
    note = struct.pack("<III", len(name), 4, note_kind) + name + b"\0" * (-len(name) % 4) + b"\0\0\0\1"
    other = struct.pack("<III", 4, 3, 1) + b"GNU\0" + b"abc\0"
    data = other + note
    header = (
        b"\x7fELF\x02\x01\x01"
        + bytes(9)
        + struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, 0, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    )
    segment = struct.pack("<IIQQQQQQ", 4, 0, 120, 0, 0, len(data), len(data), 4)
    return header + segment + data + b"kernel" * 1000


def bzimage(payload: bytes, *, protocol: int = 0x20F, magic: bytes = b"HdrS", sects: int = 2) -> bytes:
    start = bytearray((sects + 1) * 512)
    start[0x1F1] = sects
    start[0x202:0x206] = magic
    struct.pack_into("<H", start, 0x206, protocol)
    struct.pack_into("<II", start, 0x248, 16, len(payload))
    return bytes(start) + bytes(16) + payload + b"tail"


def sized(packed: bytes) -> bytes:
    return packed + struct.pack("<I", len(elf()))


def packed_with(program: str) -> bytes:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    options = ["-l"] if program == "lz4" else []
    return sized(
        subprocess.run([program, *options, "-c"], input=elf(), capture_output=True, check=True).stdout
    )


@pytest.mark.parametrize("kind", ["xz", "gzip", "zstd", "lz4"])
def test_every_packing(tmp_path: Path, kind: str) -> None:
    """The ELF comes out byte for byte, whichever way it was packed."""
    simple = {"xz": sized(lzma.compress(elf(), check=lzma.CHECK_CRC32)), "gzip": gzip.compress(elf())}
    image = tmp_path / "vmlinuz"
    image.write_bytes(bzimage(simple[kind] if kind in simple else packed_with(kind)))
    found = extract_vmlinux(image, tmp_path / "vmlinux")
    assert found is not None
    assert found.read_bytes() == elf()


@pytest.mark.parametrize(
    ("magic", "program"), [(b"\x28\xb5\x2f\xfd", "zstd"), (b"\x02\x21\x4c\x18", "lz4"), (b"\x1f\x8b", "")]
)
def test_a_missing_program_is_an_error(
    tmp_path: Path, magic: bytes, program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not a reason to enter the bzImage, whose figures are others: the package is named."""
    image = tmp_path / "vmlinuz"
    image.write_bytes(bzimage(magic + bytes(100)))
    assert packer(image) == program
    monkeypatch.setattr("lab.proc.find", lambda _: None)
    if program:
        with pytest.raises(InfraError, match=f"{program} is not installed") as raised:
            extract_vmlinux(image, tmp_path / "vmlinux")
        with pytest.raises(InfraError, match=f"{program} is not installed"):
            packer(image)  # before anything that is in the cache is removed
        assert raised.value.hint == f"apt-get install {program}"
    else:
        assert extract_vmlinux(image, tmp_path / "vmlinux") is None
    assert not (tmp_path / "vmlinux").exists()


@pytest.mark.parametrize(
    "image",
    [
        bzimage(gzip.compress(elf(note_kind=17))),
        bzimage(gzip.compress(elf(name=b"GNU\0"))),
        bzimage(gzip.compress(b"no ELF file at all" * 10)),
        bzimage(b"unknown packing"),
        bzimage(gzip.compress(elf())[:-20]),
        bzimage(sized(lzma.compress(elf() + bytes(range(256)) * 99)[:-40])),
        bzimage(gzip.compress(elf()), magic=b"none"),
        bzimage(gzip.compress(elf()), protocol=0x207),
        bzimage(gzip.compress(elf()))[:1600],
        b"",
    ],
)
def test_boot_the_bzimage_instead(tmp_path: Path, image: bytes) -> None:
    """Without PVH note, or when it cannot be unpacked, there is no ELF and no file is left."""
    (tmp_path / "vmlinuz").write_bytes(image)
    assert extract_vmlinux(tmp_path / "vmlinuz", tmp_path / "vmlinux") is None
    assert not (tmp_path / "vmlinux").exists()


def test_truncated_elf(tmp_path: Path) -> None:
    """A program header that points past the end is no note."""
    path = tmp_path / "vmlinux"
    for length in (0, 10, 64, 100, 130):
        path.write_bytes(elf()[:length])
        assert not has_pvh_note(path)
