# SPDX-License-Identifier: GPL-2.0-or-later
"""What Debian's changelog of the kernel says between two versions.

Point releases list the subject of each commit that came in. The file is in the documentation of some of a
kernel's packages; the one that is cheapest to get is taken.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from lab import files, proc
from lab.errors import InfraError
from lab.kernel.debversion import version_key
from lab.kernel.kernel_packages import KernelPackages
from lab.kernel.packages import Package, PackageRoot

MAX_PACKED = 32 << 20
MAX_BYTES = 64 << 20
"""Bytes of a changelog that are read; that of 6.12.117 has four million."""

MAX_ENTRIES = 200_000
HEAD = re.compile(r"(linux\S*) \(([^()\s]+)\) [^;]*;")
ITEM = re.compile(r" {2,8}[-+*] (\S.*)")
MORE = re.compile(r" {4,12}(\S.*)")
REBUILD = re.compile(r"~(?:deb|bpo)[0-9]+[+u.0-9]*$")
MEMBER = "./usr/share/doc/*/changelog*.gz"


@dataclass(frozen=True)
class Changes:
    """The entries between two versions, newest first, and where they were read."""

    entries: tuple[str, ...]
    source: str


def changes_between(older: KernelPackages, newer: KernelPackages) -> Changes:
    """What came in after the older and up to the newer version. InfraError if no package has the file."""
    root = PackageRoot()
    candidates = [newer.image, *newer.parts]
    small = sorted(filter(None, (newer.kbuild, newer.headers)), key=lambda package: package.size)
    for package in sorted([*candidates, *small], key=lambda package: not root.cached(package)):
        text = _changelog(root, package)
        if text:
            return Changes(
                tuple(entries_between(text, older.version, newer.version)), f"changelog of {package}"
            )
    raise InfraError(f"no package of Linux {newer.version} that is at hand has its changelog")


def _changelog(root: PackageRoot, package: Package) -> str:
    """The longest changelog in a package; "" if it has none."""
    deb = root.fetch(package)
    bash = proc.needed("bash", package="bash", why="packages are unpacked with it")
    tie = proc.quoted(proc.tied())
    script = (
        f'set -o pipefail; {tie} dpkg-deb --fsys-tarfile "$1"'
        f' | {tie} tar --extract --to-stdout --wildcards "$2"'
    )
    with files.scratch(files.cache_dir("packages") / "changelog") as folder:
        packed = folder / "changelog.gz"
        done = proc.run(
            [bash, "-c", script, "changelog", str(deb), MEMBER], timeout=300, check=False, stdout_to=packed
        )
        if done.code != 0 and "Not found in archive" not in done.errors:
            done.check_room()
        return _unpacked(packed.read_bytes()[:MAX_PACKED])


def _unpacked(packed: bytes) -> str:
    """The first gzip member's text, as much of it as is read."""
    stream = zlib.decompressobj(wbits=31)
    try:
        return stream.decompress(packed, MAX_BYTES).decode(errors="replace")
    except zlib.error:
        return ""


def entries_between(text: str, older: str, newer: str) -> Iterator[str]:
    """Each entry of the versions after `older` up to `newer`, as one line.

    A rebuild for another suite (6.12.117-1~deb12u1) has what the version that it was made of has.
    """
    first, last = (version_key(REBUILD.sub("", version)) for version in (older, newer))
    inside, entry, count = False, "", 0
    for line in text.splitlines():
        if head := HEAD.match(line):
            if entry:
                yield entry
            entry = ""
            key = version_key(REBUILD.sub("", head[2].replace("+1~", "-1~")))
            inside = first < key <= last and not head[1].startswith("linux-signed")
            continue
        if not inside or count >= MAX_ENTRIES:
            continue
        if item := ITEM.fullmatch(line):
            if entry:
                yield entry
            entry, count = item[1].strip()[:400], count + 1
        elif entry and (more := MORE.fullmatch(line)):
            entry = f"{entry} {more[1].strip()}"[:400]
        elif not line.strip() and entry:
            yield entry
            entry = ""
    if entry:
        yield entry
