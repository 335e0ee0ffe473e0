# SPDX-License-Identifier: GPL-2.0-or-later
"""A series from files, folders, commit ranges and message-ids."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab import files
from lab.errors import UserError
from lab.kernel.base import choose_base
from lab.kernel.gather import gather_series
from lab.kernel.series import read_series
from tests.kernel.test_base import git, series_of, tree  # noqa: F401 - a fixture

SHIPPED = "prefault/series/pmd-size.mbox"


def test_file_is_used_where_it_lies(tmp_path: Path) -> None:
    """A file that exists is never copied or guessed about."""
    path = tmp_path / "a..b"
    path.write_text("x")
    assert gather_series(str(path), tmp_path, tmp_path) == path


def test_shipped_series_by_name(tmp_path: Path) -> None:
    """What ships with the lab is found from any folder."""
    assert gather_series(SHIPPED, tmp_path, tmp_path) == files.shipped("testcases") / SHIPPED


def test_folder_and_range_give_the_same_series(tree: Path, tmp_path: Path) -> None:  # noqa: F811
    """A commit range and the folder that `git format-patch` makes of it are one series."""
    series_of(tree)
    git(tree, "format-patch", "-q", "-o", str(tmp_path / "out"), "HEAD~1")
    by_range = read_series(gather_series("HEAD~1..", tmp_path / "kept", tree))
    by_folder = read_series(gather_series(str(tmp_path / "out"), tmp_path / "kept", tree))
    assert [p.patch_id for p in by_range.patches] == [p.patch_id for p in by_folder.patches]
    assert [patch.subject for patch in by_range.patches] == ["second"]


def test_range_is_compared_with_what_it_goes_on_top_of(tree: Path, tmp_path: Path) -> None:  # noqa: F811
    """The tree stands at the end of the range; its base is the commit before the first one."""
    series_of(tree)
    series = read_series(gather_series("HEAD~1..", tmp_path, tree))
    assert series.base_commit == git(tree, "rev-parse", "HEAD~1").strip()
    assert choose_base(series, None, tree).source == f"tree:{tree}@{series.base_commit}"


def test_a_long_range_is_not_cut(
    tree: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However much is kept of what a program says; what is too long for a series is refused."""
    series_of(tree)
    monkeypatch.setattr("lab.proc.MAX_OUTPUT", 400)
    mbox = gather_series("HEAD~1..", tmp_path, tree)
    whole = mbox.read_bytes()
    assert len(whole) > 400
    assert [patch.subject for patch in read_series(mbox).patches] == ["second"]
    monkeypatch.setattr("lab.kernel.gather.MAX_BYTES", len(whole) - 1)
    with pytest.raises(UserError, match=r"the patches of HEAD~1\.\. have more than"):
        gather_series("HEAD~1..", tmp_path, tree)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize(
    "config",
    [
        "diff.noprefix=true",
        "diff.mnemonicPrefix=true",
        "diff.relative=true",
        "diff.context=0",
        "format.attach=x",
    ],
)
def test_range_is_the_same_whatever_is_configured(tree: Path, tmp_path: Path, config: str) -> None:  # noqa: F811
    """How the user likes to read diffs is not how they are applied; a folder above is not left out."""
    lines = [f"int {letter};\n" for letter in "abcdefghi"]
    (tree / "drivers/a.c").write_text("".join(lines))
    (tree / "top.c").write_text("int top;\n")
    git(tree, "add", ".")
    git(tree, "commit", "-qm", "both")
    (tree / "drivers/a.c").write_text("".join(lines).replace("e", "E"))
    (tree / "top.c").write_text("int Top;\n")
    git(tree, "commit", "-qam", "change")
    usual = read_series(gather_series("HEAD~1..", tmp_path / "usual", tree)).patches
    git(tree, "config", *config.split("="))
    patches = read_series(gather_series("HEAD~1..", tmp_path / "kept", tree / "drivers")).patches
    assert [patch.diff for patch in patches] == [patch.diff for patch in usual]
    assert patches[0].touched == ("drivers/a.c", "top.c")


def test_range_with_a_merge(tree: Path, tmp_path: Path) -> None:  # noqa: F811
    """What a merge itself changes is in no patch: the kernel would be another one than the range ends at."""
    git(tree, "checkout", "-qb", "side")
    (tree / "side.c").write_text("int side;\n")
    git(tree, "add", ".")
    git(tree, "commit", "-qm", "side")
    git(tree, "checkout", "-q", "main")
    series_of(tree)
    git(tree, "merge", "-q", "--no-commit", "--no-ff", "side")
    (tree / "drivers/a.c").write_text("int fixup;\n")
    git(tree, "commit", "-qam", "merge")
    with pytest.raises(UserError, match=f"holds a merge .{git(tree, 'rev-parse', 'HEAD')[:12]}."):
        gather_series("HEAD~2..", tmp_path, tree)
    with pytest.raises(UserError, match="rebase"):
        gather_series("HEAD^..HEAD", tmp_path, tree)
    assert read_series(gather_series("HEAD~2..HEAD^", tmp_path, tree)).patches[0].subject == "second"


def test_empty_range_and_folder(tree: Path, tmp_path: Path) -> None:  # noqa: F811
    """A range without commits and a folder without patches say so."""
    with pytest.raises(UserError, match="holds no commit"):
        gather_series("HEAD..HEAD", tmp_path, tree)
    with pytest.raises(UserError, match=r"has no \*\.patch"):
        gather_series(str(tree), tmp_path, tree)


def test_unknown_revision(tree: Path, tmp_path: Path) -> None:  # noqa: F811
    """git's own reason is passed on."""
    with pytest.raises(UserError, match="git cannot make patches of nope"):
        gather_series("nope..HEAD", tmp_path, tree)


def test_message_id_needs_b4(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without b4, a message-id is refused with what to do."""
    monkeypatch.setattr("lab.proc.find", lambda program: None if program == "b4" else f"/usr/bin/{program}")
    with pytest.raises(UserError, match="b4 is not installed"):
        gather_series("20240902.1234@example.org", tmp_path, tmp_path)
