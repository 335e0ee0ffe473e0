# SPDX-License-Identifier: GPL-2.0-or-later
"""Fragments of kernel configuration, composed by name: `lean+drm+debug`. Pure, but for reading them.

A fragment is what kbuild reads, with one addition: `# from 5.17`, `# to 6.1` or `# from 5.17 to 6.1` behind
an option limits it to the versions of Linux that have it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lab import files
from lab.errors import SpecError, UserError, did_you_mean

OPTION = re.compile(
    r'(?:(CONFIG_\w+)=(y|m|n|-?[0-9]+|0x[0-9a-fA-F]+|"(?:[^"\\]|\\.)*")|# (CONFIG_\w+) is not set)'
    r"(?: +#(?: from ([0-9]+\.[0-9]+))?(?: to ([0-9]+\.[0-9]+))?)?"
)
MAX_BYTES = 1 << 20
"""Of one fragment; the largest configuration of a distribution has some 300 KiB."""

DEBUG_OPTIONS = (
    *("KASAN", "KMSAN", "KCSAN", "UBSAN", "KCOV", "GCOV_KERNEL"),
    *(
        "PROVE_LOCKING",
        "LOCK_STAT",
        "DEBUG_LOCK_ALLOC",
        "DEBUG_SPINLOCK",
        "DEBUG_MUTEXES",
        "DEBUG_WW_MUTEX_SLOWPATH",
    ),
    *("DEBUG_ATOMIC_SLEEP", "DEBUG_PREEMPT", "DEBUG_OBJECTS", "DEBUG_KMEMLEAK", "DEBUG_LIST", "DEBUG_SG"),
    *("DEBUG_VM", "DEBUG_PAGEALLOC_ENABLE_DEFAULT", "PAGE_TABLE_CHECK_ENFORCED", "SLUB_DEBUG_ON"),
    *("DMA_API_DEBUG", "FAIL_PAGE_ALLOC", "FAILSLAB"),
)
"""Options that put instructions on the paths that are measured."""


@dataclass(frozen=True)
class Request:
    """One option that a fragment asks for; the value "n" also stands for "is not set"."""

    symbol: str  # with CONFIG_
    value: str
    fragment: str
    line: int

    def __str__(self) -> str:
        return f"# {self.symbol} is not set" if self.value == "n" else f"{self.symbol}={self.value}"


@dataclass(frozen=True)
class Composed:
    """Fragments put together for one version of Linux: of two lines about one option the later one counts."""

    name: str
    requests: tuple[Request, ...]

    @property
    def text(self) -> str:
        """What kbuild is given."""
        return "".join(f"{request}\n" for request in self.requests)

    @property
    def digest(self) -> str:
        return files.sha256_text(self.text)


def known() -> dict[str, str]:
    """Fragments that ship with the lab: name -> what it is for, in the words of its first comment."""
    found = {}
    for path in sorted(files.shipped("kconfigs").glob("*.config")):
        match = re.search(rf"(?m)^# {re.escape(path.stem)}: (.*)$", path.read_text())
        found[path.stem] = match[1] if match else ""
    return found


def compose(name: str, version: str) -> Composed:
    """The fragments of `lean+drm` for Linux `version`; a part that ends in .config is a file of the user's.

    Raises UserError for a fragment that is not there, SpecError with each line that is not understood.
    """
    requests: dict[str, Request] = {}
    problems: list[str] = []
    for part in name.split("+"):
        for request in _read(_path(part, name), version, problems):
            requests.pop(request.symbol, None)
            requests[request.symbol] = request
    if problems:
        raise SpecError(problems)
    return Composed(name, tuple(requests.values()))


def _path(part: str, name: str) -> Path:
    if part.endswith(".config"):
        return files.expanded(part)
    path = files.shipped("kconfigs") / f"{part}.config"
    if not re.fullmatch(r"[\w-]+", part) or not path.is_file():
        raise UserError(
            f"there is no configuration {part or 'without a name'} (in --kconfig {name})",
            hint=did_you_mean(part, known()) + "; or name a file that ends in .config",
        )
    return path


def _read(path: Path, version: str, problems: list[str]) -> Iterable[Request]:
    try:
        with path.open("rb") as handle:
            data = handle.read(MAX_BYTES + 1)
    except OSError as error:
        raise UserError(
            f"cannot read {path}: {error.strerror}", hint="name a kernel configuration"
        ) from error
    if len(data) > MAX_BYTES:
        raise UserError(f"{path} is larger than {MAX_BYTES >> 20} MiB", hint="name a kernel configuration")
    at = version_tuple(version)
    for number, line in enumerate(data.decode(errors="replace").splitlines(), 1):
        match = OPTION.fullmatch(line.strip())
        if match is None:
            if line.strip() and (not line.startswith("#") or line.startswith("# CONFIG_")):
                problems.append(
                    f"{path}:{number}:1: {line.strip()[:80]} is no line of a kernel configuration"
                )
            continue
        symbol, value, unset, first, last = match.groups()
        if (first and at < version_tuple(first)) or (last and at > version_tuple(last)):
            continue
        yield Request(symbol or unset, value if symbol else "n", path.name, number)


def version_tuple(version: str) -> tuple[int, int]:
    """(6, 12) from 6.12.117 or 6.12-rc3."""
    match = re.match(r"([0-9]+)\.([0-9]+)", version)
    if match is None:
        raise UserError(f"{version} is no version of Linux", hint="versions look like 6.12 or 6.12.117")
    return int(match[1]), int(match[2])


def lost(composed: Composed, config: Mapping[str, str]) -> tuple[Request, ...]:
    """The requests that a final configuration does not meet."""
    return tuple(request for request in composed.requests if config.get(request.symbol, "n") != request.value)


def debug_options(config: Mapping[str, str]) -> tuple[str, ...]:
    """Options of this configuration that make times meaningless; () if times may be judged."""
    return tuple(name for name in DEBUG_OPTIONS if config.get(f"CONFIG_{name}", "n") in ("y", "m"))
