# SPDX-License-Identifier: GPL-2.0-or-later
"""What the lab's cache holds of a tree that only a test had."""

from __future__ import annotations

import shutil
from pathlib import Path

from lab import files
from lab.kernel.objects import ObjectTree
from lab.kernel.obtain import KCONFIG
from lab.kernel.toolchain import toolchain


def forget(folder: Path) -> None:
    """Remove the copy of the tree in `folder`, and its objects: not what another lab makes just now."""
    copied = files.cache_dir("trees") / files.sha256_text(f"folder {folder.resolve()}")[:16]
    assert (copied / "src").is_dir(), "the lab keeps its copies elsewhere"
    ObjectTree(copied / "src", KCONFIG, toolchain()).discard()
    shutil.rmtree(copied)
