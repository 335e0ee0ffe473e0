# SPDX-License-Identifier: GPL-2.0-or-later
"""Which base a series is compared with, and the reason that the report gives."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from lab.kernel.base import choose_base, preimages
from lab.kernel.series import read_series


def git(tree: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=T", "-c", "user.email=t@example.org", "-c", "commit.gpgSign=false"]
    return subprocess.run(
        ["git", "-C", str(tree), *identity, *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    tree = tmp_path / "linux"
    (tree / "drivers").mkdir(parents=True)
    git(tree.parent, "init", "-q", "-b", "main", str(tree))
    (tree / "drivers/a.c").write_text("int a;\nint b;\n")
    git(tree, "add", ".")
    git(tree, "commit", "-qm", "first")
    return tree


def series_of(tree: Path, base: str = "HEAD~1") -> Path:
    (tree / "drivers/a.c").write_text("int a;\nint c;\n")
    git(tree, "commit", "-qam", "second")
    text = git(tree, "format-patch", "--stdout", f"--base={base}", base)
    path = tree.parent / "s.mbox"
    path.write_text(text + "\n")
    return path


def test_given_base_wins(tree: Path) -> None:
    """What the user says is not second-guessed."""
    series = read_series(series_of(tree))
    assert choose_base(series, "debian:6.12", tree).source == "debian:6.12"


def test_base_commit_is_taken_from_the_tree(tree: Path) -> None:
    """The series' own base-commit is used if the tree has it."""
    first = git(tree, "rev-parse", "HEAD")
    base = choose_base(read_series(series_of(tree)), None, tree)
    assert base.source == f"tree:{tree}@{first}"
    assert "base-commit" in base.why


def test_foreign_base_commit_is_said(tree: Path) -> None:
    """A base-commit that the tree lacks is named in the reason, and the tree is taken."""
    path = series_of(tree)
    path.write_text(path.read_text().replace(git(tree, "rev-parse", "HEAD~1"), "1234567890" * 4))
    git(tree, "reset", "-q", "--hard", "HEAD~1")
    base = choose_base(read_series(path), None, tree)
    assert base.source == f"tree:{tree}"
    assert "1234567890" in base.why
    assert "very blobs" in base.why


def test_differing_blobs_are_said(tree: Path) -> None:
    """A tree in which a touched file differs from the series' pre-image is taken, and the file is named."""
    path = series_of(tree)
    path.write_text(path.read_text().replace("base-commit:", "was:"))
    base = choose_base(read_series(path), None, tree)
    assert "drivers/a.c differ" in base.why


def test_stock_outside_a_tree(tree: Path) -> None:
    """Without a tree the stock kernel is the base, and an unusable base-commit is mentioned."""
    base = choose_base(read_series(series_of(tree)), None, None)
    assert base.source == "stock"
    assert "base-commit" in base.why


def test_preimages_leave_new_files_out(tree: Path) -> None:
    """A file that the series adds has no pre-image to look for."""
    (tree / "drivers/new.c").write_text("int n;\n")
    git(tree, "add", ".")
    assert list(preimages(read_series(series_of(tree)))) == ["drivers/a.c"]
