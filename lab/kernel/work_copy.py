# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernel source in the cache, as those who patch, configure and build it see it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class SourceTree:
    """Pristine kernel source that the lab may rewrite file by file; never the user's own tree."""

    path: Path
    identity: str  # equal for equal sources: git's tree hash, or the digest of the archive
    version: str  # from its Makefile: 6.12.117
    origin: str  # one sentence
    commit: str | None = None
    differing: Callable[[str], tuple[str, ...] | None] = field(default=lambda _: None, compare=False)
    """Paths in which it differs from the source of another identity; None where nobody knows."""
