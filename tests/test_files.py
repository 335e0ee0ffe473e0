# SPDX-License-Identifier: GPL-2.0-or-later
"""Files on disk: whole or not at all, locked, checked, and swept when their maker is dead."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from lab import files, waiting
from lab.errors import InfraError, Interrupted, UserError


def _dead_process() -> int:
    """An id that was a process and is none."""
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    return done.pid


def _full_disk(path: Path) -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


# ---- folders ------------------------------------------------------------------------------------


def test_variables_choose_the_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """LAB_CACHE beats XDG_CACHE_HOME, which beats the home folder."""
    monkeypatch.setenv("LAB_CACHE", str(tmp_path / "own"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert files.cache_dir("kernels") == tmp_path / "own/kernels"
    monkeypatch.delenv("LAB_CACHE")
    assert files.cache_dir("kernels") == tmp_path / "xdg/faultlab/kernels"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert files.cache_dir("kernels") == tmp_path / "home/.cache/faultlab/kernels"


def test_an_empty_variable_is_as_good_as_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """LAB_STATE= does not put the runs into the working folder."""
    monkeypatch.setenv("LAB_STATE", "")
    monkeypatch.setenv("XDG_STATE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert files.state_dir("runs") == tmp_path / ".local/state/faultlab/runs"


def test_without_a_home_the_user_is_asked_for_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user without home folder (a container's, say) is told which variable to set."""
    monkeypatch.delenv("LAB_CACHE")
    monkeypatch.setenv("HOME", "")
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000_000)  # no account has it
    with pytest.raises(UserError, match="no home folder") as caught:
        files.cache_dir("kernels")
    assert "LAB_CACHE" in caught.value.hint


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file in the way of a folder is an InfraError with its path."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LAB_CACHE", str(tmp_path / "file"))
    with pytest.raises(InfraError, match="file/kernels"):
        files.cache_dir("kernels")


# ---- whole or not at all ------------------------------------------------------------------------


def test_write_whole_replaces_and_leaves_nothing_else(tmp_path: Path) -> None:
    """The new content is there, readable by all, and no temporary file is."""
    path = tmp_path / "deep/file"
    files.write_whole(path, "old")
    files.write_whole(path, b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o644
    assert [one.name for one in path.parent.iterdir()] == ["file"]


def test_write_whole_on_a_full_disk_keeps_the_old(tmp_path: Path) -> None:
    """/dev/full stands for the disk: its ENOSPC becomes an InfraError that tells how to get room."""
    path = tmp_path / "file"
    files.write_whole(path, "old")
    with pytest.raises(InfraError, match="no space left") as caught, files.named_disk_errors(path):
        Path("/dev/full").write_bytes(b"x" * 4096)
    assert "lab gc" in caught.value.hint
    assert path.read_text() == "old"


def test_other_errors_are_not_called_disk_errors(tmp_path: Path) -> None:
    """A bug in the lab stays visible as what it is."""
    with pytest.raises(FileNotFoundError), files.named_disk_errors(tmp_path):
        (tmp_path / "none").read_text()


def test_a_failed_copy_of_a_tree_is_named(tmp_path: Path) -> None:
    """shutil.copytree gathers its errors in a list; the first one is told."""
    (tmp_path / "from").mkdir()
    (tmp_path / "from/file").write_text("x")

    def fail(source: str, target: str) -> None:
        raise _full_disk(Path(target))

    with pytest.raises(InfraError, match="No space left"), files.named_disk_errors(tmp_path / "to"):
        shutil.copytree(tmp_path / "from", tmp_path / "to", copy_function=fail)


def test_made_whole_appears_only_when_finished(tmp_path: Path) -> None:
    """While it is filled it has another name; an exception leaves nothing."""
    final = tmp_path / "kernels/abc"
    with files.made_whole(final) as building:
        (building / "vmlinuz").write_text("x")
        assert not final.exists()
    assert (final / "vmlinuz").read_text() == "x"
    other = tmp_path / "kernels/def"
    with pytest.raises(ValueError, match="half-way"), files.made_whole(other) as building:
        (building / "vmlinuz").write_text("x")
        raise ValueError("half-way")
    assert sorted(one.name for one in final.parent.iterdir()) == ["abc"]


def test_made_whole_keeps_what_another_lab_finished_first(tmp_path: Path) -> None:
    """Two labs may build the same thing; the first one's stays and the second's effort is dropped."""
    final = tmp_path / "abc"
    with files.made_whole(final) as building:
        (building / "by").write_text("us")
        final.mkdir()
        (final / "by").write_text("them")
    assert (final / "by").read_text() == "them"
    assert [one.name for one in tmp_path.iterdir()] == ["abc"]


def test_made_whole_does_not_hide_errors_of_its_block(tmp_path: Path) -> None:
    """Only the rename may find that it exists already; a FileExistsError from inside is a failure."""
    with pytest.raises(FileExistsError), files.made_whole(tmp_path / "abc") as building:
        (building / "x").mkdir()
        (building / "x").mkdir()


# ---- checked ------------------------------------------------------------------------------------


def test_a_sealed_file_is_intact_until_one_byte_differs(tmp_path: Path) -> None:
    """Missing, cut, changed, and without its seal: each is noticed."""
    path = tmp_path / "a.cpio"
    assert not files.intact(path)
    files.write_sealed(path, b"archive")
    assert files.intact(path)
    path.write_bytes(b"archivf")
    assert not files.intact(path)
    path.write_bytes(b"arch")
    assert not files.intact(path)
    files.write_sealed(path, b"archive")
    (tmp_path / "a.cpio.sha256").unlink()
    assert not files.intact(path)


@pytest.mark.parametrize("harm", ["cut", "touched", "lost", "added", "renamed"])
def test_stamp_tree_notices(tmp_path: Path, harm: str) -> None:
    """Each way in which a file of a tree can be harmed without reading it changes the stamp."""
    (tmp_path / "sub").mkdir()
    one = tmp_path / "sub/one.ko"
    one.write_bytes(b"x" * 100)
    before = files.stamp_tree(tmp_path)
    assert files.stamp_tree(tmp_path) == before
    if harm == "cut":
        about = one.stat()
        os.truncate(one, 50)
        os.utime(one, ns=(about.st_atime_ns, about.st_mtime_ns))
    elif harm == "touched":
        os.utime(one, (1, 1))
    elif harm == "lost":
        one.unlink()
    elif harm == "added":
        (tmp_path / "two.ko").write_bytes(b"")
    else:
        one.rename(tmp_path / "sub/other.ko")
    assert files.stamp_tree(tmp_path) != before


def test_sha256_text_tells_lists_apart() -> None:
    """Where one part ends and the next begins matters."""
    assert files.sha256_text("ab", "c") != files.sha256_text("a", "bc")


# ---- swept --------------------------------------------------------------------------------------


def test_sweep_removes_what_a_dead_lab_left_half_made() -> None:
    """Files, folders and links of a process that is no more go; everything else stays."""
    dead = _dead_process()
    cache, state = files.cache_dir("kernels"), files.state_dir("runs")
    left = [
        cache / f".abc.{dead}.x1y2",
        state / f"run/trials/.0001-a.b-qxl-base.{dead}.zz",
        state / f".latest.{dead}.tmp",
    ]
    for path in left[:2]:
        path.mkdir(parents=True)
        (path / "half").write_text("x")
    left[2].symlink_to("nowhere")
    stay = [
        cache / "abc",
        cache / f".abc.{os.getpid()}.x1y2",
        cache / ".lock",
        state / "run/trials/0001-a.b-qxl-base",
    ]
    for path in stay:
        path.mkdir(parents=True)
    assert sorted(files.leftovers()) == sorted(left)
    files.sweep()
    assert not any(os.path.lexists(path) for path in left)
    assert all(path.exists() for path in stay)
    assert files.leftovers() == []


def test_sweep_spares_what_a_lab_in_another_container_holds() -> None:
    """Its process is invisible from here, but its lock is not."""
    path = files.cache_dir("kernels") / f".abc.{_dead_process()}.x1y2"
    path.mkdir()
    handle = os.open(path, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        files.sweep()
        assert path.exists()
    finally:
        os.close(handle)
    files.sweep()
    assert not path.exists()


def test_a_killed_lab_s_scratch_folder_is_swept() -> None:
    """The name and the lock that `scratch` really uses are those that `sweep` knows."""
    code = (
        "import os, signal\n"
        "from lab import files\n"
        "with files.scratch(files.cache_dir('builds') / 'abc') as folder:\n"
        "    (folder / 'half.o').write_text('x')\n"
        "    print(folder, flush=True)\n"
        "    input()\n"
    )
    argv = [sys.executable, "-c", code]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        folder = Path(child.stdout.readline().strip())
        files.sweep()
        assert folder.is_dir()  # its lab lives
        child.kill()
    files.sweep()
    assert not folder.exists()


# ---- locked -------------------------------------------------------------------------------------


def test_a_lock_is_waited_for_and_dies_with_its_holder(tmp_path: Path) -> None:
    """Held: an InfraError after the patience, naming what is locked; free again once the holder is killed."""
    lock = tmp_path / "x.lock"
    code = (
        "from lab import files\n"
        "from pathlib import Path\n"
        f"with files.locked(Path({str(lock)!r}), what='x'):\n"
        "    print('held', flush=True)\n"
        "    input()\n"
    )
    argv = [sys.executable, "-c", code]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        child.stdout.readline()
        with (
            pytest.raises(InfraError, match="lock on the thing"),
            files.locked(lock, what="the thing", seconds=0.1),
        ):
            pass
        child.kill()
    with files.locked(lock, what="the thing", seconds=5):
        pass


def test_waiting_for_a_lock_ends_when_the_user_wants_to_stop(tmp_path: Path) -> None:
    """^C is heard while another lab holds the lock."""
    lock = tmp_path / "x.lock"
    stopper = threading.Timer(0.2, waiting.stop_requested.set)
    try:
        with files.locked(lock, what="x"):
            stopper.start()
            with pytest.raises(Interrupted), files.locked(lock, what="x", seconds=60):
                pass
    finally:
        stopper.join()
        waiting.stop_requested.clear()
