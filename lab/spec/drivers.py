# SPDX-License-Identifier: GPL-2.0-or-later
"""The lab's own kernel modules: `testcases/driver/NAME/` with a Kbuild file and C files.

They are built for whatever kernel is under test. Lines of the Kbuild file say for which kernels there is such
a module at all: `# faultlab: kernels >=6.1`, and `# faultlab: config HMM_MIRROR` for options that it needs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from lab import files
from lab.errors import SpecError
from lab.spec.loader import shown
from lab.spec.versions import KernelRange

_FOLDER = re.compile(r"[a-z][a-z0-9_]{0,47}")
_PRAGMA = re.compile(r"#\s*faultlab:\s*(.*?)\s*")
_OPTIONS = re.compile(r"(?!CONFIG_)[A-Z0-9_]+(?: (?!CONFIG_)[A-Z0-9_]+)*")
_SOURCES = re.compile(r"Kbuild|.*\.[ch]")


@dataclass(frozen=True)
class Driver:
    """One module: its folder's name is the module's."""

    folder: Path
    include: Path  # headers that it shares with workloads
    kernels: KernelRange | None = None  # None: every kernel
    config: tuple[str, ...] = ()  # options, without CONFIG_, that must be y or m

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def sources(self) -> tuple[Path, ...]:
        """What it is built from, without the headers that it shares."""
        return tuple(path for path in sorted(self.folder.iterdir()) if _SOURCES.fullmatch(path.name))

    @property
    def headers(self) -> tuple[Path, ...]:
        """The shared headers that its sources name, or a header that they name does."""
        unseen = sorted(self.include.glob("*.h"))
        text = "\n".join(path.read_text(errors="replace") for path in self.sources)
        found: list[Path] = []
        while new := [path for path in unseen if path.name in text]:
            found += new
            unseen = [path for path in unseen if path not in new]
            text = "\n".join(path.read_text(errors="replace") for path in new)
        return tuple(sorted(found))

    @property
    def digest(self) -> str:
        """SHA-256 over all that it is built from."""
        parts: list[str | bytes] = []
        for path in (*self.sources, *self.headers):
            parts += [path.name, path.read_bytes()]
        return files.sha256_text(*parts)


def load_driver(folder: Path, include: Path) -> Driver:
    """The module of a folder. Raises SpecError, as `file:line:column: text`, if it says what cannot be."""
    kbuild = folder / "Kbuild"
    try:
        lines = kbuild.read_text(errors="replace").splitlines()
    except OSError as error:
        raise SpecError([f"{shown(kbuild)}:1:1: cannot be read: {error.strerror}"]) from error
    if not _FOLDER.fullmatch(folder.name):
        raise SpecError([f"{shown(kbuild)}:1:1: `{folder.name}` can be no module's name"])
    driver = Driver(folder, include)
    for number, line in enumerate(lines, 1):
        if match := _PRAGMA.fullmatch(line):
            try:
                driver = _with(driver, match[1])
            except ValueError as error:
                raise SpecError([f"{shown(kbuild)}:{number}:1: {error}"]) from error
    return driver


def _with(driver: Driver, text: str) -> Driver:
    word, _, value = text.partition(" ")
    if word == "kernels":
        return replace(driver, kernels=KernelRange.parse(value.strip()))
    if word != "config":
        raise ValueError(f"unknown word `{word}`; known: kernels, config")
    if not _OPTIONS.fullmatch(value):
        raise ValueError(f"`{value}` is no list of options, without CONFIG_, such as HMM_MIRROR KVM")
    return replace(driver, config=(*driver.config, *value.split()))
