# SPDX-License-Identifier: GPL-2.0-or-later
"""Patches on a source tree for the time of a build."""

from __future__ import annotations

import difflib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from lab.errors import InfraError, SeriesError
from lab.kernel.overlay import apply_series, take_off
from lab.kernel.patch import touched_paths
from lab.kernel.series import Patch
from lab.kernel.work_copy import SourceTree

TTM = "drivers/ttm.c"
LINES = [f"line {number}\n" for number in range(1, 30)]


def change(number: int, path: str, before: list[str], after: list[str]) -> Patch:
    """A patch as git would write it; an empty side means that the file does not exist there."""
    names = (f"a/{path}" if before else "/dev/null", f"b/{path}" if after else "/dev/null")
    head = f"diff --git a/{path} b/{path}\n"
    head += "" if before else "new file mode 100644\n"
    head += "" if after else "deleted file mode 100644\n"
    diff = (head + "".join(difflib.unified_diff(before, after, *names))).encode()
    return Patch(number, f"patch {number}", "", "", diff, touched_paths(diff), "")


def replaced(at: int, text: str, lines: list[str] = LINES) -> list[str]:
    return [*lines[: at - 1], text + "\n", *lines[at:]]


@pytest.fixture
def tree(tmp_path: Path) -> SourceTree:
    source = tmp_path / "src"
    (source / "drivers").mkdir(parents=True)
    (source / TTM).write_text("".join(LINES))
    (source / "script.sh").write_text("echo\n")
    (source / "script.sh").chmod(0o755)
    (source / "link.c").symlink_to(TTM)
    (source / "linked").symlink_to("drivers")
    return SourceTree(source, "one", "6.12.1", "tree /x")


def content(tree: SourceTree) -> dict[str, tuple[str, int]]:
    return {
        str(path.relative_to(tree.path)): (path.read_text() if path.is_file() else "", path.lstat().st_mode)
        for path in tree.path.rglob("*")
    }


def series() -> list[Patch]:
    once = replaced(3, "three")
    return [
        change(1, TTM, LINES, once),
        change(2, TTM, once, replaced(5, "five", once)),
        change(3, "new/deep/file.c", [], ["int x;\n"]),
        change(4, "script.sh", ["echo\n"], []),
    ]


def test_on_and_off(tree: SourceTree) -> None:
    """Patches are applied in order; afterwards all is as before, with modes and without new folders."""
    before = content(tree)
    with apply_series(tree, series()):
        text = (tree.path / TTM).read_text()
        assert "three\n" in text
        assert "five\n" in text
        assert (tree.path / "new/deep/file.c").read_text() == "int x;\n"
        assert not (tree.path / "script.sh").exists()
    assert content(tree) == before
    assert [path.name for path in tree.path.parent.iterdir()] == ["src"]


def test_what_a_patch_leaves_alone_keeps_its_time(tree: SourceTree) -> None:
    """Only what was changed gets a new time, and it gets one: make must see that the content is another."""
    os.utime(tree.path / TTM, ns=(10**18, 10**18))
    os.utime(tree.path / "script.sh", ns=(10**18, 10**18))
    with apply_series(tree, [series()[0]]):
        pass
    assert (tree.path / TTM).stat().st_mtime_ns != 10**18
    assert (tree.path / "script.sh").stat().st_mtime_ns == 10**18


def test_killed_lab(tree: SourceTree) -> None:
    """What a killed lab left applied is taken off before the next use."""
    before = content(tree)
    overlay = apply_series(tree, series())
    overlay.__enter__()
    kept = tree.path.parent / "kept"
    shutil.copytree(tree.path.parent / "originals", kept)
    overlay.__exit__(None, None, None)
    with apply_series(tree, series()):
        shutil.copytree(tree.path, tree.path.parent / "dead", symlinks=True)
    shutil.rmtree(tree.path)
    (tree.path.parent / "dead").rename(tree.path)
    kept.rename(tree.path.parent / "originals")
    assert content(tree) != before
    with apply_series(tree, [series()[0]]):
        assert "five\n" not in (tree.path / TTM).read_text()
    assert content(tree) == before
    take_off(tree.path)


def test_killed_while_forgetting(tree: SourceTree, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lab that dies when the originals are back, and its memory of them is half removed, is no obstacle."""
    before = content(tree)

    def killed(folder: Path, **_: object) -> None:
        next(folder.rglob("0")).unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt), apply_series(tree, series()):
        patched.setattr(shutil, "rmtree", killed)
    with apply_series(tree, series()):
        pass
    assert content(tree) == before


def test_damaged_memory(tree: SourceTree) -> None:
    """Without knowing what the originals were the tree is not used."""
    (tree.path.parent / "originals").mkdir()
    (tree.path.parent / "originals/originals.json").write_text("{")
    with pytest.raises(InfraError, match="damaged"), apply_series(tree, series()):
        pass


def test_patch_that_does_not_apply(tree: SourceTree) -> None:
    """The error names patch, file and line; what the patches before it did is taken off again."""
    before = content(tree)
    patches = [series()[0], change(2, TTM, replaced(20, "other"), replaced(20, "twenty"))]
    words = r'2/2 "patch 2".*tree /x: drivers/ttm\.c:17'
    with pytest.raises(SeriesError, match=words) as caught, apply_series(tree, patches):
        pass
    assert caught.value.stage == "apply"
    assert content(tree) == before


def test_missing_file(tree: SourceTree) -> None:
    """A file that the tree does not have is named."""
    patch = change(1, "drivers/gone.c", LINES, replaced(3, "x"))
    with pytest.raises(SeriesError, match=r"drivers/gone\.c: No such file"), apply_series(tree, [patch]):
        pass


@pytest.mark.parametrize("path", ["link.c", "linked/ttm.c", "linked/new.c"])
def test_links_lead_nowhere(tree: SourceTree, path: str) -> None:
    """A patch cannot write through a symbolic link of the tree."""
    before = content(tree)
    patch = (
        change(1, path, [], ["x\n"]) if path.endswith("new.c") else change(1, path, LINES, replaced(3, "x"))
    )
    with pytest.raises(SeriesError, match="symbolic link"), apply_series(tree, [patch]):
        pass
    assert content(tree) == before


def test_repository_around_the_cache(tree: SourceTree, tmp_path: Path) -> None:
    """Settings of a repository that the cache happens to lie in are not read."""
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / ".git/config").write_text("[core\nbroken")
    with apply_series(tree, [series()[0]]):
        assert "three\n" in (tree.path / TTM).read_text()


def test_nothing_to_apply(tree: SourceTree) -> None:
    """Without patches nothing is written."""
    with apply_series(tree, []):
        assert [path.name for path in tree.path.parent.iterdir()] == ["src"]
