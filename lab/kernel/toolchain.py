# SPDX-License-Identifier: GPL-2.0-or-later
"""The compiler and the programs that a whole kernel is built with: the host's, or those of a build root."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lab import proc
from lab.errors import InfraError
from lab.kernel.sandbox import HOST, Sandbox

# Program -> Debian package. What a kernel needs beside them (libelf, OpenSSL) is asked for by its own build.
NEEDED = {
    "make": "make",
    "gcc": "gcc",
    "ld": "binutils",
    "flex": "flex",
    "bison": "bison",
    "bc": "bc",
    "perl": "perl",
    "depmod": "kmod",
}
LIBRARIES = {"libelf.h": "libelf-dev", "openssl/opensslv.h": "libssl-dev"}
CCACHE_GIGABYTES = 5


@dataclass(frozen=True)
class Toolchain:
    """Where the programs are, and which they are: `version` is part of what a build is told apart by."""

    root: Path
    version: str  # "gcc (Debian 12.2.0-14) 12.2.0, GNU ld ... 2.40"
    ccache: bool

    @property
    def make_flags(self) -> tuple[str, ...]:
        return ("CC=ccache gcc",) if self.ccache else ()


@cache
def toolchain(root: Path = HOST) -> Toolchain:
    """What is installed below `root`; InfraError names what is missing."""
    missing = [package for name, package in NEEDED.items() if not _has(root, name)]
    missing += [package for header, package in LIBRARIES.items() if not _has_header(root, header)]
    if missing:
        raise InfraError(
            f"building whole kernels needs what is not installed: {', '.join(missing)}",
            hint=f"apt-get install {' '.join(missing)}",
        )
    lines = [_said(root, [program, "--version"]).splitlines()[0] for program in ("gcc", "ld")]
    return Toolchain(root, ", ".join(lines), _has(root, "ccache"))


def _has(root: Path, program: str) -> bool:
    return any((root / folder / program).exists() for folder in ("usr/bin", "usr/sbin", "bin", "sbin"))


def _has_header(root: Path, header: str) -> bool:
    folder = root / "usr/include"
    return (folder / header).exists() or (folder / "x86_64-linux-gnu" / header).exists()


def _said(root: Path, command: Sequence[str]) -> str:
    return proc.run(Sandbox({}, {}, chdir="/", root=root).argv(command), timeout=20).text
