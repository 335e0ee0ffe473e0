# SPDX-License-Identifier: GPL-2.0-or-later
"""The ELF kernel inside a bzImage.

QEMU enters an ELF with a PVH note directly. Under emulation that is 2 s faster than the bzImage, whose own
decompressor would run as guest code. And it is another boot: a bzImage finds another memory map and switches
to page tables of five levels, so that figures of one kernel differ by 3 %. Hence a program that is missing is
an error, and no reason to enter the bzImage.
"""

from __future__ import annotations

import gzip
import lzma
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from lab import proc

MAX_VMLINUX = 512 << 20
"""Bytes: no sane kernel is larger."""

# Documentation/arch/x86/boot.rst: offsets in the setup header, which payload_* joined with protocol 2.08.
SETUP_SECTS, MAGIC, PROTOCOL, KERNEL_VERSION = 0x1F1, 0x202, 0x206, 0x20E
PAYLOAD_OFFSET, PAYLOAD_LENGTH = 0x248, 0x24C
PACKERS = {b"\x28\xb5\x2f\xfd": "zstd", b"\x02\x21\x4c\x18": "lz4"}
"""Programs, which are also the names of their packages, by how what they pack begins."""

PT_NOTE = 4
XEN_ELFNOTE_PHYS32_ENTRY = 18


def release_of(bzimage: Path) -> str | None:
    """What `uname -r` will say, from the setup header; None if this is no bzImage."""
    with bzimage.open("rb") as handle:
        head = handle.read(1 << 16)
    if len(head) < PAYLOAD_LENGTH + 4 or head[MAGIC : MAGIC + 4] != b"HdrS":
        return None
    # Counted from the second sector, which holds the rest of the header.
    start = 0x200 + int(struct.unpack_from("<H", head, KERNEL_VERSION)[0])
    release = head[start : start + 256].partition(b"\0")[0].decode(errors="replace").partition(" ")[0]
    return release if start > 0x200 and re.fullmatch(r"[0-9]+\.[\w.+~-]+", release) else None


def extract_vmlinux(bzimage: Path, into: Path) -> Path | None:
    """Write the ELF of `bzimage` to `into`; None if QEMU could not enter it, or its packing is unknown.

    InfraError if the program that unpacks it is not installed.
    """
    packed = _payload(bzimage.read_bytes())
    if packed is None or not _unpack(packed, into) or not has_pvh_note(into):
        into.unlink(missing_ok=True)
        return None
    return into


def _payload(image: bytes) -> bytes | None:
    """The compressed kernel, found through the setup header."""
    if len(image) < PAYLOAD_LENGTH + 4 or image[MAGIC : MAGIC + 4] != b"HdrS":
        return None
    if struct.unpack_from("<H", image, PROTOCOL)[0] < 0x0208:
        return None
    offset, length = struct.unpack_from("<II", image, PAYLOAD_OFFSET)
    # A setup_sects of 0 means 4, for historical reasons.
    start = ((image[SETUP_SECTS] or 4) + 1) * 512 + offset
    payload = image[start : start + length]
    return payload if len(payload) == length > 4 else None


def _unpack(packed: bytes, into: Path) -> bool:
    # All but gzip, which has it already, are followed by 4 bytes with the unpacked size.
    body = packed[:-4]
    try:
        if packed.startswith(b"\xfd7zXZ\0"):
            unxz = lzma.LZMADecompressor(lzma.FORMAT_XZ)
            data = unxz.decompress(body, MAX_VMLINUX)
            if not unxz.eof:
                return False
        elif packed.startswith(b"\x1f\x8b"):
            data = gzip.decompress(packed)
        elif program := _packer(packed):
            return _unpack_with(program, body, into)
        else:
            return False
    except (lzma.LZMAError, OSError, EOFError, zlib.error):
        return False
    into.write_bytes(data)
    return True


def packer(bzimage: Path) -> str:
    """The program that unpacks it; "" if Python does, or nobody can. InfraError if it is not installed."""
    program = _packer(_payload(bzimage.read_bytes()) or b"")
    if program:
        _needed(program)
    return program


def _needed(program: str) -> str:
    return proc.needed(program, package=program, why="the image of this kernel is packed with it")


def _packer(packed: bytes) -> str:
    found = [program for magic, program in PACKERS.items() if packed.startswith(magic)]
    return found[0] if found else ""


def _unpack_with(program: str, packed: bytes, into: Path) -> bool:
    done = proc.run([_needed(program), "-d", "-c"], timeout=120, check=False, data=packed, stdout_to=into)
    return done.code == 0


def has_pvh_note(elf: Path) -> bool:
    """Does the ELF file have the Xen note that names a 32-bit physical entry point?"""
    with elf.open("rb") as handle:
        header = handle.read(64)
        if len(header) < 64 or header[:6] != b"\x7fELF\x02\x01":
            return False
        table, entry_size, count = struct.unpack_from("<32xQ14xHH", header)
        for number in range(count):
            handle.seek(table + number * entry_size)
            entry = handle.read(56)
            if len(entry) < 56:
                return False
            kind, offset, size = struct.unpack_from("<I4xQ16xQ", entry)
            if kind == PT_NOTE:
                handle.seek(offset)
                if (b"Xen\0", XEN_ELFNOTE_PHYS32_ENTRY) in _notes(handle.read(min(size, 1 << 20))):
                    return True
    return False


def _notes(data: bytes) -> Iterator[tuple[bytes, int]]:
    position = 0
    while position + 12 <= len(data):
        name_size, desc_size, kind = struct.unpack_from("<III", data, position)
        name_end = position + 12 + name_size
        yield data[position + 12 : name_end], kind
        position = name_end + (-name_size % 4)
        position += desc_size + (-desc_size % 4)
