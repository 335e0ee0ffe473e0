# SPDX-License-Identifier: GPL-2.0-or-later
"""Which kernel a series is to be compared with, when nobody said so.

In the order of certainty: the base that was given; the series' own `base-commit:`, if the tree we stand in
has it; that tree, with a word on whether the blobs that the patches were made from are in it; the stock one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from lab.kernel.git import ask
from lab.kernel.series import Series

BLOBS = re.compile(rb"^diff --git a/(\S+) b/\S+\n(?:[^\n]*\n){0,4}?index ([0-9a-f]{7,64})\.\.", re.MULTILINE)
NEW_FILE = re.compile(rb"0+")


@dataclass(frozen=True)
class Base:
    """A kernel as `--base` would name it, and the sentence of the report that says why it was taken."""

    source: str
    why: str


def choose_base(series: Series, given: str | None, tree: Path | None) -> Base:
    """`tree` is the kernel tree that the user stands in, None outside of one."""
    if given is not None:
        return Base(given, "given with --base")
    commit = series.base_commit
    if tree is None:
        named = (
            f"; the series names base-commit {commit[:12]}, but there is no git tree here to take it from"
            if commit
            else ""
        )
        return Base("stock", f"no base was given: the distribution's stock kernel{named}")
    if commit and _has_commit(tree, commit):
        return Base(f"tree:{tree}@{commit}", f"base-commit {commit[:12]} of the series, found in {tree}")
    missing = f"; its base-commit {commit[:12]} is not in this tree" if commit else ""
    wanted = preimages(series)
    if not wanted:
        return Base(f"tree:{tree}", f"the tree we stand in{missing}")
    strange = [path for path, blob in wanted.items() if not _blob(tree, path).startswith(blob)]
    if not strange:
        return Base(
            f"tree:{tree}", f"the tree we stand in has the very blobs that the series was made from{missing}"
        )
    told = ", ".join(strange[:3])
    return Base(
        f"tree:{tree}",
        f"the tree we stand in, though {told} differ from what the series was made from{missing}",
    )


def preimages(series: Series) -> dict[str, str]:
    """Path -> abbreviated blob id that the first patch touching it was made from; new files left out."""
    found: dict[str, str] = {}
    for patch in series.patches:
        for path, blob in BLOBS.findall(patch.diff):
            name = path.decode(errors="replace")
            if name not in found:
                found[name] = "" if NEW_FILE.fullmatch(blob) else blob.decode()
    return {path: blob for path, blob in found.items() if blob}


def _has_commit(tree: Path, commit: str) -> bool:
    if not re.fullmatch(r"[0-9a-f]{7,64}", commit):
        return False
    return ask(tree, "cat-file", "-e", f"{commit}^{{commit}}") is not None


def _blob(tree: Path, path: str) -> str:
    return (ask(tree, "rev-parse", "--verify", "--quiet", f"HEAD:{path}") or "").strip()
