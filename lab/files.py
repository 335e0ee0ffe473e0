# SPDX-License-Identifier: GPL-2.0-or-later
"""Where things live on disk, and how they are written: whole or not at all, under a lock, by digest."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import hashlib
import os
import pwd
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from lab import log
from lab.errors import InfraError, UserError
from lab.waiting import Deadline, check_stop


def shipped(kind: str) -> Path:
    """The folder `kind` ("testcases", "images", "kconfigs", "ci") that ships with the lab.

    In a wheel it lies inside the package, in a checkout beside it.
    """
    packaged = Path(__file__).parent / "_shipped" / kind
    return packaged if packaged.is_dir() else Path(__file__).parent.parent / kind


def expanded(path: Path | str) -> Path:
    """With `~` and `~NAME` as homes. Of somebody whom this machine does not know it stays as written and
    names no file, where Path.expanduser() raises RuntimeError."""
    try:
        return Path(os.path.expanduser(path))  # noqa: PTH111
    except ValueError:  # a null byte in the name
        return Path(path)


def _base(override: str, xdg: str, fallback: str) -> Path:
    """An empty variable counts as not set, as the XDG base directory specification has it."""
    if chosen := os.environ.get(override):
        return expanded(chosen).absolute()
    if root := os.environ.get(xdg):
        return Path(root).absolute() / "faultlab"
    home = os.environ.get("HOME") or _account_home()
    if not home:
        hint = f"set {override}=/a/folder"
        raise UserError(f"this user has no home folder, and {override} is not set", hint=hint)
    return Path(home).absolute() / fallback / "faultlab"


def _account_home() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:  # a user that only a container's command line knows
        return ""


def cache_dir(kind: str) -> Path:
    """`$XDG_CACHE_HOME/faultlab/KIND` (LAB_CACHE overrides the part before KIND), made if missing."""
    return _made(_base("LAB_CACHE", "XDG_CACHE_HOME", ".cache") / kind)


def state_dir(kind: str) -> Path:
    """`$XDG_STATE_HOME/faultlab/KIND` (LAB_STATE overrides the part before KIND), made if missing."""
    return _made(_base("LAB_STATE", "XDG_STATE_HOME", ".local/state") / kind)


def _made(path: Path) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk_error(path, error) from error
    return path


def disk_error(path: Path, error: OSError) -> InfraError:
    """The InfraError for a failed write below `path`: says which disk and how to get room."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return InfraError(
            f"no space left on the disk of {path}",
            hint="`lab gc` frees what no run needs; LAB_CACHE and LAB_STATE move the folders to another disk",
        )
    return InfraError(f"cannot write {path}: {error.strerror or error}", hint="check owner and permissions")


DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}


@contextlib.contextmanager
def named_disk_errors(path: Path) -> Iterator[None]:
    """Turn what a full, read-only or failing disk makes of the block into an InfraError that names the file,
    or `path` if the system does not say which."""
    try:
        yield
    except shutil.Error as error:  # of copying a tree: (from, to, message) of each file
        raise InfraError(f"cannot copy to {path}: {error.args[0][0][2]}", hint="is the disk full?") from error
    except OSError as error:
        if error.errno in DISK_ERRORS:
            raise disk_error(Path(error.filename or path), error) from error
        raise


def _unfinished(path: Path) -> str:
    """The beginning of a temporary name; it holds our process id, so that others see whether we live."""
    return f".{path.name}.{os.getpid()}."


UNFINISHED = re.compile(r"\..+\.(\d+)\.[^.]*")


def leftovers() -> list[Path]:
    """Half-made files and folders of labs that are no longer alive, below cache and state."""
    found: list[Path] = []
    for root in (cache_dir("."), state_dir(".")):
        for pattern in (".*", "*/.*", "*/*/.*", "*/*/*/.*"):
            # Path.glob() looks into other labs' half-made folders, and fails when one of them goes.
            found += filter(_left, map(root.joinpath, glob.glob(pattern, root_dir=root)))  # noqa: PTH207
    return found


def leftovers_beside(path: Path) -> list[Path]:
    """What such labs left of making `path`, which may lie anywhere."""
    mine = glob.glob(f".{glob.escape(path.name)}.*", root_dir=path.parent)  # noqa: PTH207
    return [left for left in map(path.parent.joinpath, mine) if _left(left)]


def _left(path: Path) -> bool:
    match = UNFINISHED.fullmatch(path.name)
    return match is not None and not Path(f"/proc/{match[1]}").exists() and not _held(path)


def _held(path: Path) -> bool:
    """Does a lab hold it whose process we cannot see, as in another container that shares the folder?"""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False


def sweep() -> None:
    """Remove what labs that were killed left half made; called before new work begins."""
    for path in leftovers():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def scratch(near: Path) -> Iterator[Path]:
    """An empty folder beside `near`, removed at the end: by us or, if we are killed, by the next `sweep`."""
    _made(near.parent)
    try:
        folder = Path(tempfile.mkdtemp(dir=near.parent, prefix=_unfinished(near)))
    except OSError as error:
        raise disk_error(near, error) from error
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)  # see _held; it lasts as long as we live
        folder.chmod(0o755)
        yield folder
    finally:
        os.close(handle)
        shutil.rmtree(folder, ignore_errors=True)


def write_whole(path: Path, data: bytes | str) -> None:
    """Write `path` under a temporary name and rename it: a reader sees the old or the new, never half."""
    raw = data.encode() if isinstance(data, str) else data
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=_unfinished(path))
        try:
            with os.fdopen(handle, "wb") as out:
                fcntl.flock(handle, fcntl.LOCK_EX)  # see _held
                out.write(raw)
            Path(name).chmod(0o644)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise disk_error(path, error) from error


def write_sealed(path: Path, data: bytes) -> None:
    """Write `path` whole, with its digest beside it for `intact`."""
    write_whole(_seal(path), hashlib.sha256(data).hexdigest())
    write_whole(path, data)


def intact(path: Path) -> bool:
    """Is a file of `write_sealed` there, and still what was written? If it is not, it must be made again."""
    if not path.is_file():
        return False
    try:
        if _seal(path).read_text() == sha256_file(path):
            return True
    except OSError:
        pass
    log.info(f"{path} is damaged: it is made again")
    return False


def _seal(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


@contextlib.contextmanager
def made_whole(final: Path) -> Iterator[Path]:
    """Yield an empty folder to fill; on success it becomes `final`, on failure nothing is left.

    If someone else finished the same `final` in the meantime, theirs is kept.
    """
    with named_disk_errors(final), scratch(final) as building:
        yield building
        try:
            building.rename(final)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file's content."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def sha256_text(*parts: str | bytes) -> str:
    """Hex SHA-256 over the parts, each prefixed by its length so that no two lists collide."""
    digest = hashlib.sha256()
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        digest.update(len(raw).to_bytes(8, "big") + raw)
    return digest.hexdigest()


def sha256_tree(root: Path) -> str:
    """Hex SHA-256 over names and contents of all regular files below `root`."""
    parts: list[str | bytes] = []
    for path in sorted(root.rglob("*")):
        if path.is_file() and not path.is_symlink():
            parts += [str(path.relative_to(root)), path.read_bytes()]
    return sha256_text(*parts)


def stamp_tree(root: Path) -> str:
    """Hex SHA-256 over name, size and time of all regular files below `root`.

    For trees too large to read at each use: it tells that a file was cut, replaced, written to or lost.
    """
    parts: list[str] = []
    for folder, names, found in os.walk(root):
        names.sort()
        for name in sorted(found):
            about = os.lstat(f"{folder}/{name}")
            if stat.S_ISREG(about.st_mode):
                parts.append(f"{os.path.relpath(folder, root)}/{name} {about.st_size} {about.st_mtime_ns}")
    return sha256_text(*parts)


@contextlib.contextmanager
def locked(path: Path, *, what: str, seconds: float = 600) -> Iterator[None]:
    """Hold an exclusive lock on `path`; the kernel drops it if this process dies.

    Raises InfraError after `seconds` of waiting for another lab.
    """
    _made(path.parent)
    with path.open("a") as handle:
        deadline = Deadline(f"lock on {what}", seconds)
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                check_stop()
                if deadline.expired:
                    raise InfraError(
                        f"another lab has held the lock on {what} for {seconds:.0f} s ({path})",
                        hint="wait for it, or stop it",
                    ) from None
                time.sleep(deadline.slice())
        yield
