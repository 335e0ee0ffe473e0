# SPDX-License-Identifier: GPL-2.0-or-later
"""Source trees from what a user has; what he has is never touched."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.errors import InfraError, UserError
from lab.kernel import unpack
from lab.kernel.sources import parse_source
from lab.kernel.trees import Buildable, checked_out
from lab.kernel.work_copy import SourceTree

MAKEFILE = "VERSION = 6\nPATCHLEVEL = 12\nSUBLEVEL = {}\nEXTRAVERSION =\n"
TTM = "drivers/gpu/drm/ttm/ttm_bo_vm.c"


def git(where: Path, *arguments: str) -> str:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
        **{
            f"GIT_{who}_{what}": "a@example.org"
            for who in ("AUTHOR", "COMMITTER")
            for what in ("NAME", "EMAIL")
        },
        "GIT_OPTIONAL_LOCKS": "0",
    }
    done = subprocess.run(
        ["git", "-C", str(where), *arguments], check=True, capture_output=True, text=True, env=environment
    )
    return done.stdout


def write_kernel(top: Path, sublevel: int = 1) -> None:
    for name, text in {
        "Makefile": MAKEFILE.format(sublevel),
        "Kbuild": "obj-y += mm/\n",
        "MAINTAINERS": "\n",
        ".gitignore": "*.o\n",
        TTM: "int prefault = 16;\n",
        "mm/memory.c": "int memory;\n",
    }.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(text)
    (top / "scripts").mkdir(exist_ok=True)
    script = top / "scripts/run.sh"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    if not (top / "scripts/link").is_symlink():
        (top / "scripts/link").symlink_to("../mm/memory.c")


@pytest.fixture
def linux(tmp_path: Path) -> Path:
    """A repository with two commits (v6.12.1, v6.12.2) and a branch."""
    top = tmp_path / "linux"
    write_kernel(top)
    git(tmp_path, "init", "-q", "-b", "master", str(top))
    git(top, "add", "-A")
    git(top, "commit", "-q", "-m", "one")
    git(top, "tag", "v6.12.1")
    write_kernel(top, sublevel=2)
    git(top, "commit", "-q", "-a", "-m", "two")
    git(top, "tag", "-a", "-m", "tagged", "v6.12.2")
    git(top, "branch", "drm/next", "v6.12.1")
    return top


def state(top: Path) -> dict[str, tuple[str, int, int]]:
    """Every file below a folder, .git and all: digest, time, inode."""
    found = {}
    for folder, _, names in os.walk(top):
        for name in names:
            path = Path(folder, name)
            about = path.lstat()
            data = path.readlink().as_posix().encode() if path.is_symlink() else path.read_bytes()
            found[str(path)] = (hashlib.sha256(data).hexdigest(), about.st_mtime_ns, about.st_ino)
    return found


def tree_of(text: str) -> SourceTree:
    source = parse_source(text)
    assert isinstance(source, Buildable)
    with checked_out(source) as tree:
        return tree


def test_tree_as_it_is(linux: Path) -> None:
    """A clean tree is copied whole, with modes and links, and says at which commit it was."""
    tree = tree_of(f"tree:{linux}")
    assert tree.version == "6.12.2"
    assert tree.commit == git(linux, "rev-parse", "HEAD").strip()
    assert tree.identity == git(linux, "rev-parse", "HEAD^{tree}").strip()
    assert (tree.path / TTM).read_text() == "int prefault = 16;\n"
    assert (tree.path / "scripts/run.sh").stat().st_mode & 0o111
    assert (tree.path / "scripts/link").readlink() == Path("../mm/memory.c")
    assert not (tree.path / ".git").exists()


def test_uncommitted_changes(linux: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They are used as they are (changed, new, staged, removed; not ignored), and said."""
    (linux / TTM).write_text("int prefault = 512;\n")
    (linux / "mm/new.c").write_text("int added;\n")
    (linux / "mm/memory.c").unlink()
    (linux / "mm/staged.c").write_text("int staged;\n")
    git(linux, "add", "mm/staged.c")
    (linux / "mm/built.o").write_text("object")
    before = state(linux)
    tree = tree_of(f"tree:{linux}")
    assert (tree.path / TTM).read_text() == "int prefault = 512;\n"
    assert sorted(path.name for path in (tree.path / "mm").iterdir()) == ["new.c", "staged.c"]
    assert tree.commit is None
    assert "4 uncommitted files" in tree.origin
    assert "4 uncommitted files" in capsys.readouterr().err
    assert state(linux) == before


def test_edit_right_behind_a_commit(linux: Path) -> None:
    """In place, at the same length and within the second in which git wrote its index: it tells that by the
    index' own time, which a copy must keep."""
    changed, index = linux / TTM, linux / ".git/index"

    def within_a_second() -> bool:
        times = []
        for text in ("int prefault = 16;\n", "int prefault = 61;\n"):
            changed.write_text(text)
            times.append(changed.stat().st_mtime)
            if len(times) == 1:
                git(linux, "add", TTM)
        return len({int(when) for when in (*times, index.stat().st_mtime)}) == 1

    while not within_a_second():
        pass
    time.sleep(1.1)
    assert (tree_of(f"tree:{linux}").path / TTM).read_text() == "int prefault = 61;\n"


@pytest.mark.parametrize("flag", ["--assume-unchanged", "--skip-worktree"])
def test_what_git_is_told_not_to_look_at(linux: Path, flag: str) -> None:
    """The edited file is built, in a tree that says so; nothing of it is changed for that."""
    git(linux, "update-index", flag, TTM, "mm/memory.c")
    (linux / TTM).write_text("int prefault = 512;\n")
    before = state(linux)
    tree = tree_of(f"tree:{linux}")
    assert (tree.path / TTM).read_text() == "int prefault = 512;\n"
    assert (tree.path / "mm/memory.c").read_text() == "int memory;\n"
    assert tree.commit is None
    assert f"1 uncommitted file: {TTM}" in tree.origin
    assert state(linux) == before


def test_sparse_checkout(linux: Path) -> None:
    """What it left out is in the kernel nevertheless, but for a file that lies there after all."""
    git(linux, "sparse-checkout", "set", "--cone", "scripts")
    assert not (linux / TTM).exists()
    tree = tree_of(f"tree:{linux}")
    assert (tree.path / TTM).read_text() == "int prefault = 16;\n"
    assert tree.commit == git(linux, "rev-parse", "HEAD").strip()
    (linux / "mm").mkdir()
    (linux / "mm/memory.c").write_text("int sparse;\n")
    tree = tree_of(f"tree:{linux}")
    assert (tree.path / "mm/memory.c").read_text() == "int sparse;\n"
    assert (tree.path / TTM).read_text() == "int prefault = 16;\n"


def test_sparse_index(linux: Path) -> None:
    """Its folders would be missing in the copy; the hint's command mends it."""
    git(linux, "sparse-checkout", "set", "--cone", "--sparse-index", "scripts")
    with pytest.raises(UserError, match="sparse index") as raised:
        tree_of(f"tree:{linux}")
    assert raised.value.hint == f"git -C {linux} sparse-checkout reapply --no-sparse-index"
    git(linux, *raised.value.hint.split()[3:])
    assert (tree_of(f"tree:{linux}").path / TTM).is_file()


@pytest.mark.parametrize("outer", [True, False])
def test_a_repository_inside_of_the_tree(linux: Path, outer: bool) -> None:
    """git would take along a note of it, and none of its files; without files there is nothing to miss."""
    inner = linux / "drivers/mine"
    git(linux, "init", "-q", str(inner))
    (inner / "mine.c").write_text("int mine;\n")
    git(inner, "add", ".")
    git(inner, "commit", "-q", "-m", "mine")
    if not outer:
        (linux / ".git").rename(linux.parent / "elsewhere")
    with pytest.raises(UserError, match="drivers/mine is a git repository of its own"):
        tree_of(f"tree:{linux}")
    if outer:
        (linux / ".git/info/exclude").write_text("/drivers/mine\n")
        assert tree_of(f"tree:{linux}").commit == git(linux, "rev-parse", "HEAD").strip()
        (linux / ".git/info/exclude").unlink()
    (inner / ".git").rename(linux.parent / "inner")
    assert (tree_of(f"tree:{linux}").path / "drivers/mine/mine.c").is_file()


def test_a_submodule_that_is_not_checked_out(linux: Path) -> None:
    """An empty folder."""
    commit = git(linux, "rev-parse", "HEAD").strip()
    git(linux, "update-index", "--add", "--cacheinfo", f"160000,{commit},drivers/theirs")
    (linux / "drivers/theirs").mkdir()
    assert tree_of(f"tree:{linux}").version == "6.12.2"


def test_user_repository_is_untouched(linux: Path) -> None:
    """Neither work tree nor branch, index, refs or objects change, whatever revision is built."""
    git(linux, "checkout", "-q", "drm/next")
    (linux / "mm/memory.c").write_text("int changed;\n")
    os.utime(linux / "Kbuild", ns=(1, 1))  # git status would now like to refresh its index
    before, status = state(linux), git(linux, "status", "--porcelain", "--branch")
    for text in (
        f"tree:{linux}",
        f"tree:{linux}@v6.12.2",
        f"git:{linux}@master",
        f"git:file://{linux}@v6.12.1",
    ):
        tree_of(text)
    assert state(linux) == before
    assert git(linux, "status", "--porcelain", "--branch") == status


def test_revisions(linux: Path) -> None:
    """A tag, a branch with a slash and a short commit are found; what is not committed is not in them."""
    (linux / TTM).write_text("int prefault = 512;\n")
    first = git(linux, "rev-parse", "v6.12.1").strip()
    for revision in ("v6.12.1", "drm/next", first[:10], "master~1"):
        tree = tree_of(f"tree:{linux}@{revision}")
        assert (tree.version, tree.commit) == ("6.12.1", first)
        assert (tree.path / TTM).read_text() == "int prefault = 16;\n"
    assert tree_of(f"tree:{linux}@v6.12.2").version == "6.12.2"


def test_only_what_differs_is_written(linux: Path) -> None:
    """Another revision leaves the files alone that it does not change, so that make does as well."""
    tree = tree_of(f"tree:{linux}@v6.12.1")
    before = {path: path.stat().st_mtime_ns for path in tree.path.rglob("*") if path.is_file()}
    again = tree_of(f"tree:{linux}")
    assert again.path == tree.path
    assert again.differing(tree.identity) == ("Makefile",)
    assert again.differing("0" * 40) is None
    changed = {path.name for path, when in before.items() if path.stat().st_mtime_ns != when}
    assert changed == {"Makefile"}


@pytest.mark.parametrize("kind", ["tree:{}@v6.13", "git:{}@v6.13", "git:file://{}@v6.13"])
def test_missing_revision(linux: Path, kind: str) -> None:
    """A revision that does not exist is the user's error; a repository at hand is searched for near names."""
    with pytest.raises(UserError, match=r"no revision v6\.13") as caught:
        tree_of(kind.format(linux))
    assert "://" in kind or "v6.12.1" in caught.value.hint


def test_remote_that_is_gone(linux: Path) -> None:
    """What was fetched once is still there when the server is not; a server never seen is an error."""
    url = f"git:file://{linux}@master"
    tree = tree_of(url)
    linux.rename(linux.with_name("away"))
    assert tree_of(url).identity == tree.identity
    with pytest.raises(InfraError, match="cannot fetch"):
        tree_of(f"git:file://{linux}@drm/next")


def test_git_in_another_language(linux: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What git says is understood on a desktop that speaks German, and a hook's variables are not ours."""
    monkeypatch.setenv("LANGUAGE", "de")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "another"))
    with pytest.raises(UserError, match=r"no revision v6\.13"):
        tree_of(f"git:file://{linux}@v6.13")
    write_kernel(tmp_path / "plain")
    assert "in no git" in tree_of(f"tree:{tmp_path}/plain").origin


def test_not_a_kernel(linux: Path, tmp_path: Path) -> None:
    """Another project, a part of a kernel and an old commit without one are refused by name."""
    other = tmp_path / "other"
    other.mkdir()
    (other / "Makefile").write_text("all:\n")
    with pytest.raises(UserError, match="is not a kernel"):
        tree_of(f"tree:{other}")
    with pytest.raises(UserError, match="is not a kernel") as caught:
        tree_of(f"tree:{linux}/drivers")
    assert str(linux) in caught.value.hint
    git(linux, "rm", "-q", "Kbuild")
    git(linux, "commit", "-q", "-m", "no kernel any more")
    with pytest.raises(UserError, match="is not a kernel"):
        tree_of(f"tree:{linux}@HEAD")
    with pytest.raises(UserError, match="no folder"):
        tree_of(f"tree:{tmp_path}/nowhere")
    with pytest.raises(UserError, match="no git repository"):
        tree_of(f"git:{other}@master")
    assert not [path for path in (Path(os.environ["LAB_CACHE"]) / "trees").iterdir() if path.is_dir()]


def test_folder_without_git(tmp_path: Path) -> None:
    """A tree that no git knows is used as it is, again after a change, but has no revisions."""
    top = tmp_path / "unpacked"
    write_kernel(top)
    (top / ".gitignore").write_text("/*\n")  # as in Debian's source packages
    (top / "mm/memory.o").touch()
    first = tree_of(f"tree:{top}")
    assert sorted(path.name for path in (first.path / "mm").iterdir()) == ["memory.c"]
    (top / TTM).write_text("int prefault = 64;\n")
    (top / "mm/memory.c").rename(top / "mm/other.c")
    second = tree_of(f"tree:{top}")
    assert sorted(path.name for path in (second.path / "mm").iterdir()) == ["other.c"]
    assert first.identity != second.identity
    assert (second.path / TTM).read_text() == "int prefault = 64;\n"
    assert "in no git" in second.origin
    with pytest.raises(UserError, match="not the top of a git work tree"):
        tree_of(f"tree:{top}@v6.12")


def test_repository_that_git_refuses(linux: Path) -> None:
    """A damaged or another user's repository is told with git's own words, not taken for a folder."""
    (linux / ".git/HEAD").write_text("nonsense")
    with pytest.raises(UserError, match="git cannot read"):
        tree_of(f"tree:{linux}")


def test_killed_while_copying(linux: Path) -> None:
    """Locks and half-written files that a killed lab left in its own folder do no harm."""
    tree = tree_of(f"tree:{linux}")
    (tree.path.parent / "git/work.index.lock").touch()
    (tree.path / TTM).write_text("int pre")
    assert (tree_of(f"tree:{linux}").path / TTM).read_text() == "int prefault = 16;\n"


def test_linked_work_tree(linux: Path, tmp_path: Path) -> None:
    """A `git worktree` shares objects with its main repository and has an index of its own."""
    linked = tmp_path / "linked"
    git(linux, "worktree", "add", "-q", str(linked), "v6.12.1")
    (linked / TTM).write_text("int prefault = 512;\n")
    tree = tree_of(f"tree:{linked}")
    assert tree.version == "6.12.1"
    assert "1 uncommitted file:" in tree.origin


def pack(path: Path, mode: str, fill: Callable[[tarfile.TarFile], None]) -> Path:
    with tarfile.open(path, mode) as tar:
        fill(tar)
    return path


def member(
    tar: tarfile.TarFile, name: str, kind: bytes = tarfile.REGTYPE, link: str = "", data: bytes = b"x"
) -> None:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    info.size = len(data) if kind == tarfile.REGTYPE else 0
    tar.addfile(info, io.BytesIO(data))


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz", "w:bz2"])
def test_tarball(linux: Path, tmp_path: Path, mode: str) -> None:
    """A packed tree of any packing is unpacked once, without what a build or git left in it."""
    (linux / ".config").touch()
    (linux / "include/generated").mkdir(parents=True)
    (linux / "include/generated/utsrelease.h").touch()
    path = pack(tmp_path / "linux.tar", mode, lambda tar: tar.add(linux, "linux-6.12.2"))
    tree = tree_of(f"tarball:{path}")
    assert tree.version == "6.12.2"
    assert tree.identity == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (tree.path / "scripts/run.sh").stat().st_mode & 0o111
    assert (tree.path / "scripts/link").readlink() == Path("../mm/memory.c")
    assert not any((tree.path / name).exists() for name in (".git", ".config", "include/generated"))
    (tree.path / "kept").touch()
    assert (tree_of(f"tarball:{path}").path / "kept").exists()


HOSTILE: dict[str, Callable[[tarfile.TarFile], None]] = {
    "outside": lambda tar: member(tar, "linux/../../escaped"),
    "absolute": lambda tar: member(tar, "/tmp/escaped"),
    "link up": lambda tar: member(tar, "linux/up", tarfile.SYMTYPE, "../../escaped"),
    "link out of the top": lambda tar: member(tar, "linux/up", tarfile.SYMTYPE, "../escaped"),
    "absolute link": lambda tar: member(tar, "linux/etc", tarfile.SYMTYPE, "/etc"),
    "behind a link": lambda tar: (
        member(tar, "linux/d", tarfile.SYMTYPE, "/etc"),
        member(tar, "linux/d/escaped"),
    )[0],
    "through two links": lambda tar: (
        member(tar, "linux/d", tarfile.SYMTYPE, "."),
        member(tar, "linux/e", tarfile.SYMTYPE, "d/../../escaped"),
    )[0],
    "circle": lambda tar: (
        member(tar, "linux/a", tarfile.SYMTYPE, "b"),
        member(tar, "linux/b", tarfile.SYMTYPE, "a"),
    )[0],
    "device": lambda tar: member(tar, "linux/sda", tarfile.BLKTYPE),
    "fifo": lambda tar: member(tar, "linux/pipe", tarfile.FIFOTYPE),
    "hard link": lambda tar: member(tar, "linux/hard", tarfile.LNKTYPE, "/etc/passwd"),
    "file over link": lambda tar: (
        member(tar, "linux/f", tarfile.SYMTYPE, "mm/memory.c"),
        member(tar, "linux/f"),
    )[0],
}


@pytest.mark.parametrize("trick", HOSTILE)
def test_hostile_tarball(linux: Path, tmp_path: Path, trick: str) -> None:
    """An archive that reaches outside of its folder is refused whole, and has written nothing."""

    def fill(tar: tarfile.TarFile) -> None:
        for name in ("Makefile", "Kbuild", "MAINTAINERS", "mm/memory.c"):
            tar.add(linux / name, f"linux/{name}")
        HOSTILE[trick](tar)

    path = pack(tmp_path / "evil.tar", "w", fill)
    before = set(tmp_path.rglob("*"))
    with pytest.raises(UserError, match=r"evil\.tar"):
        tree_of(f"tarball:{path}")
    cache = Path(os.environ["LAB_CACHE"])
    assert not list(cache.rglob("src"))
    assert not list(cache.rglob("escaped"))
    assert set(tmp_path.rglob("*")) == before


def test_bad_tarballs(linux: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No archive, half an archive, another project's and a bomb are each told in a sentence."""
    whole = pack(tmp_path / "w.tar.gz", "w:gz", lambda tar: tar.add(linux, "linux"))
    (tmp_path / "text.tar").write_text("hello\n" * 1000)
    (tmp_path / "half.tar.gz").write_bytes(whole.read_bytes()[:2000])
    pack(tmp_path / "other.tar", "w", lambda tar: member(tar, "project/Makefile"))
    for name, said in {
        "text.tar": "cannot be unpacked",
        "half.tar.gz": "cannot be unpacked|is damaged",
        "other.tar": "is not a kernel",
        "nowhere.tar": "cannot read",
    }.items():
        with pytest.raises(UserError, match=said):
            tree_of(f"tarball:{tmp_path / name}")
    monkeypatch.setattr(unpack, "MAX_BYTES", 4096)
    with pytest.raises(UserError, match="unpacks to more than"):
        tree_of(f"tarball:{whole}")
    monkeypatch.undo()
    monkeypatch.setattr(unpack, "MAX_READ", 30)
    with pytest.raises(UserError, match="is larger than"):
        tree_of(f"tarball:{pack(tmp_path / 'big.tar', 'w', lambda tar: tar.add(linux, 'linux'))}")
