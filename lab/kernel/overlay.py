# SPDX-License-Identifier: GPL-2.0-or-later
"""Patches laid over a source tree for the time of one build, and taken off again, also after a kill."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from pydantic import ValidationError

from lab import files, proc
from lab.errors import InfraError, SeriesError
from lab.kernel import git
from lab.kernel.series import Patch
from lab.kernel.work_copy import SourceTree
from lab.results.models import Record


class Originals(Record):
    """What the touched files were: path -> mode; None if there was no such file."""

    modes: dict[str, int | None]


@contextlib.contextmanager
def apply_series(tree: SourceTree, patches: Sequence[Patch]) -> Iterator[None]:
    """The tree with `patches` applied in order while inside; the originals again when left.

    The caller holds the tree. Raises SeriesError naming the patch, file and line that does not apply.
    """
    take_off(tree.path)
    touched = sorted({path for patch in patches for path in patch.touched})
    if not touched:
        yield
        return
    _refuse_links(tree.path, patches)
    _remember(tree.path, touched)
    try:
        for patch in patches:
            _apply(tree, patch, len(patches))
        yield
    finally:
        take_off(tree.path)


def take_off(source: Path) -> None:
    """Restore what an overlay of this or of a killed lab has changed; an unchanged file is not written."""
    kept = _kept(source)
    if not kept.exists():
        return
    try:
        modes = Originals.model_validate_json((kept / "originals.json").read_bytes()).modes
    except (OSError, ValidationError) as error:
        raise InfraError(
            f"{kept} is damaged: {error}", hint=f"remove {source.parent}; the lab makes it again"
        ) from error
    for number, (name, mode) in enumerate(modes.items()):
        _restore(source / name, source, kept / str(number) if mode is not None else None, mode or 0)
    with files.scratch(kept) as gone:  # whole: what is half removed would be damaged for the next
        kept.rename(gone / kept.name)


def _kept(source: Path) -> Path:
    return source.parent / "originals"


def _refuse_links(source: Path, patches: Iterable[Patch]) -> None:
    """A link in the tree could lead a patch to a file outside of it."""
    for patch in patches:
        for name in patch.touched:
            path = source / name
            if any(part.is_symlink() for part in (path, *path.parents) if part.is_relative_to(source)):
                raise SeriesError(
                    f'patch {patch.number} "{patch.subject}" changes {name}, and there is a symbolic link',
                    stage="apply",
                    hint="name the file by its own path",
                )


def _remember(source: Path, touched: Sequence[str]) -> None:
    modes: dict[str, int | None] = {}
    with files.made_whole(_kept(source)) as kept:
        for number, name in enumerate(touched):
            path = source / name
            modes[name] = path.stat().st_mode & 0o777 if path.is_file() else None
            if path.is_file():
                shutil.copyfile(path, kept / str(number))
        files.write_whole(kept / "originals.json", Originals(modes=modes).model_dump_json())


def _restore(path: Path, source: Path, original: Path | None, mode: int) -> None:
    if original is None:
        path.unlink(missing_ok=True)
        _prune(path.parent, source)
        return
    data = original.read_bytes()
    if not path.is_file() or path.read_bytes() != data:
        files.write_whole(path, data)
    path.chmod(mode)


def _prune(folder: Path, source: Path) -> None:
    """Remove folders that a new file needed; git has no empty ones."""
    while folder != source:
        try:
            folder.rmdir()
        except FileNotFoundError:
            pass
        except OSError:
            return  # something else is in it
        folder = folder.parent


def _apply(tree: SourceTree, patch: Patch, total: int) -> None:
    argv = [git.program(), "apply", "-p1", "--whitespace=nowarn"]
    # The tree has no .git of its own, and the cache may lie inside some other repository.
    env = {**git.ALONE, "GIT_CEILING_DIRECTORIES": str(tree.path.parent)}
    done = proc.run(argv, timeout=120, check=False, data=patch.diff, cwd=tree.path, env=env)
    if done.code == 0:
        return
    raise SeriesError(
        f'patch {patch.number}/{total} "{patch.subject}" does not apply to {tree.origin}: '
        f"{first_complaint(done.errors)}",
        stage="apply",
        evidence=done.errors,
        hint="rebase the series, or name the kernel that it is for with --base",
    )


def first_complaint(said: str) -> str:
    """git's first complaint, with file and line where it names them."""
    if match := re.search(r"(?m)^error: patch failed: (\S+:[0-9]+)$", said):
        return f"{match[1]}: the lines that it changes are not there"
    if match := re.search(r"(?m)^error: (.*)$", said):
        return match[1]
    return said.strip()[:500] or "git did not say why"
