# SPDX-License-Identifier: GPL-2.0-or-later
"""Which QEMU this host has."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from lab import proc
from lab.errors import InfraError

OLDEST = (7, 0)
"""Older ones lack the deterministic `-icount sleep=off` boots or `query-stats` that results rest on."""

PACKAGE = "qemu-system-x86"


@dataclass(frozen=True)
class Qemu:
    """One QEMU program."""

    path: str
    version: tuple[int, ...]
    banner: str  # the first line of --version

    def devices(self) -> frozenset[str]:
        """Names that `-device` accepts."""
        text = proc.run([self.path, "-device", "help"], timeout=30).text
        return frozenset(re.findall(r'^name "([^"]+)"', text, re.MULTILINE))

    def properties(self, device: str) -> frozenset[str]:
        """Names of the properties that `-device DEVICE` accepts; none if there is no such device."""
        done = proc.run([self.path, "-device", f"{device},help"], timeout=30, check=False)
        return frozenset(re.findall(r"^  ([A-Za-z0-9_-]+)=", done.text, re.MULTILINE))

    def displays(self) -> frozenset[str]:
        """Types that `-display` accepts."""
        text = proc.run([self.path, "-display", "help"], timeout=30, check=False).text
        return frozenset(re.findall(r"^([a-z][a-z-]*)$", text, re.MULTILINE))


def find_qemu() -> Qemu:
    """The QEMU to use: $QEMU, else qemu-system-x86_64. InfraError when missing or too old."""
    wanted = os.environ.get("QEMU", "qemu-system-x86_64")
    path = proc.find(wanted)
    if path is None:
        raise InfraError(
            f"QEMU is missing: there is no program {wanted}",
            hint=f"apt-get install {PACKAGE}, or set QEMU=/path",
        )
    banner = proc.run([path, "--version"], timeout=30, check=False).text.partition("\n")[0].strip()
    found = re.search(r"version (\d+)\.(\d+)(?:\.(\d+))?", banner)
    if not found:
        raise InfraError(f"{path} does not say its version: {banner[:200]!r}", hint="is it QEMU?")
    version = tuple(int(part) for part in found.groups() if part is not None)
    if version < OLDEST:
        need = ".".join(map(str, OLDEST))
        raise InfraError(
            f"QEMU is too old: {banner} ({path}); {need} is needed", hint="set QEMU to a newer one"
        )
    return Qemu(path, version, banner)
