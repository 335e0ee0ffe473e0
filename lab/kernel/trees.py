# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernel source in the cache, made from what the user named; the user's own files are only read.

Each origin (a repository, a tarball, a package) has one folder:

    trees/<key>/src        the work copy, all that others see
    trees/<key>/git        the lab's own repository, if the origin has one or is a plain folder
    trees/<key>/originals  what an overlay has changed, until it is taken off
    trees/<key>/version    of an archive, to be read by who does not hold the tree

Another revision of the same origin rewrites only the files that differ, so that make rebuilds only those.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from lab import files, log
from lab.errors import InfraError, UserError
from lab.kernel.git_store import GitStore, Theirs, repository_at
from lab.kernel.overlay import take_off
from lab.kernel.packages import PackageRoot, extract_file
from lab.kernel.sources import (
    KERNEL_FILES,
    Buildable,
    Git,
    SourcePackage,
    Tarball,
    Tree,
    enclosing_tree,
    is_kernel_tree,
    version_of,
)
from lab.kernel.unpack import unpack_kernel
from lab.kernel.work_copy import SourceTree

LOCK_SECONDS = 4 * 3600
"""How long another lab may build from the same origin."""

VERSION = "version"
"""Beside the tree of an archive: its version, which a patch of the Makefile does not change."""


@contextlib.contextmanager
def checked_out(source: Buildable) -> Iterator[SourceTree]:
    """The source as a tree in the cache, for this lab alone while inside.

    There is one lock for all that is built from an origin, also for two configurations: make reads the work
    copy until it ends, and series and revisions are written into that same copy.

    Raises UserError if it is not there, is no kernel or tries to reach out of its folder, InfraError if the
    disk or the network fails, or if another lab holds it for hours.
    """
    key, make = _origin(source)
    folder = files.cache_dir("trees") / files.sha256_text(key)[:16]
    with files.locked(folder.with_name(f"{folder.name}.lock"), what=str(source), seconds=LOCK_SECONDS):
        folder.mkdir(exist_ok=True)
        if (folder / "src").is_dir():
            take_off(folder / "src")
        try:
            tree = make(folder)
        except OSError as error:
            raise files.disk_error(folder, error) from error
        finally:
            if not (folder / "src").is_dir():  # it came to nothing
                shutil.rmtree(folder, ignore_errors=True)
        yield tree


def unpacked(source: Buildable) -> SourceTree | None:
    """The tree of an archive, without waiting for a lab that builds from it: to look up what was built of it.

    Its files may be patched at this moment, so nothing else may be read there. None for what has to be
    checked out: an archive that is not unpacked yet, and trees and repositories, whose state is read then.
    """
    if not isinstance(source, Tarball | SourcePackage):
        return None
    key, make = _origin(source)
    folder = files.cache_dir("trees") / files.sha256_text(key)[:16]
    return make(folder) if (folder / "src").is_dir() and (folder / VERSION).is_file() else None


def _origin(source: Buildable) -> tuple[str, Callable[[Path], SourceTree]]:
    """What tells one origin from another, and how its tree is made in a folder."""
    match source:
        case Tree():
            return f"folder {source.path.resolve()}", lambda folder: _from_folder(source, folder)
        case Git() if source.remote:
            return f"url {source.where}", lambda folder: _from_url(source, folder)
        case Git():
            path = Path(source.where).resolve()
            return f"repository {path}", lambda folder: _from_repository(source, path, folder)
        case Tarball():
            digest = _digest(source.path)
            return f"archive {digest}", lambda folder: _from_tarball(source, digest, folder)
        case SourcePackage():
            return _from_package(source)


def _from_folder(source: Tree, folder: Path) -> SourceTree:
    """A tree as it is now, or one of its revisions."""
    if not source.path.is_dir():
        raise UserError(f"{source.path} is no folder", hint="tree:PATH[@REV] names a kernel tree")
    theirs = repository_at(source.path)
    if theirs is not None and theirs.top != source.path.resolve():
        theirs = None  # a kernel that lies inside of another project's repository
    if source.revision:
        if theirs is None:
            raise UserError(
                f"{source.path} is not the top of a git work tree: it has no revision {source.revision}",
                hint="name the top of the tree, or the tree without a revision",
            )
        return _at_revision(theirs, source.revision, folder, "tree", str(source.path))
    if not is_kernel_tree(source.path):
        around = enclosing_tree(source.path)
        hint = f"did you mean tree:{around}?" if around else "its top has Makefile, Kbuild and MAINTAINERS"
        raise UserError(f"{source.path} is not a kernel", hint=hint)
    store = GitStore(folder / "git", theirs)
    with contextlib.nullcontext() if (folder / "src").exists() else log.step(f"reading {source.path}"):
        tree = store.capture(source.path)
    head = theirs.head if theirs is not None else None
    changes = store.changed(head, tree) if head is not None else ()
    origin = f"tree {source.path}" + (f" at {head[:12]}" if head else ", which is in no git")
    if changes:
        told = ", ".join(changes[:3]) + (", ..." if len(changes) > 3 else "")
        many = f"{len(changes)} uncommitted file{'s' if len(changes) > 1 else ''}"
        log.info(f"{source.path} has {many}, used as they are: {told}")
        origin += f" with {many}: {told}"
    return _checked_out(store, tree, folder, origin, None if changes else head)


def _from_repository(source: Git, path: Path, folder: Path) -> SourceTree:
    theirs = repository_at(path) if path.is_dir() else None
    if theirs is None:
        raise UserError(f"{path} is no git repository", hint="git:PATH-OR-URL@REV")
    return _at_revision(theirs, source.revision, folder, "repository", str(path))


def _from_url(source: Git, folder: Path) -> SourceTree:
    store = GitStore(folder / "git")
    commit = store.fetch(source.where, source.revision)
    return _at_commit(store, commit, source.revision, folder, f"repository {source.where}")


def _at_revision(theirs: Theirs, revision: str, folder: Path, kind: str, place: str) -> SourceTree:
    commit = theirs.commit(revision)
    store = GitStore(folder / "git", theirs)
    return _at_commit(store, commit, revision, folder, f"{kind} {place}")


def _at_commit(store: GitStore, commit: str, revision: str, folder: Path, origin: str) -> SourceTree:
    said = f"{origin} at {commit[:12]}" + ("" if commit.startswith(revision) else f" ({revision})")
    return _checked_out(store, store.tree_of(commit), folder, said, commit)


def _checked_out(store: GitStore, tree: str, folder: Path, origin: str, commit: str | None) -> SourceTree:
    texts = {name: store.read(tree, name) for name in KERNEL_FILES}
    version = version_of(texts["Makefile"] or "")
    if version is None or None in texts.values():
        raise UserError(f"{origin} is not a kernel", hint="its top has Makefile, Kbuild and MAINTAINERS")
    source = folder / "src"
    fresh = not source.exists()
    with log.step(f"copying {origin}") if fresh else contextlib.nullcontext():
        store.check_out(tree, source)
    return SourceTree(source, tree, version, origin, commit, partial(store.differing, tree))


def _digest(archive: Path) -> str:
    try:
        return files.sha256_file(archive)
    except OSError as error:
        raise UserError(
            f"cannot read {archive}: {error.strerror}", hint="tarball:PATH names a packed kernel tree"
        ) from error


def _from_tarball(source: Tarball, digest: str, folder: Path) -> SourceTree:
    return _unpacked(
        folder,
        digest,
        f"tarball {source.path}, sha256 {digest}",
        lambda into: unpack_kernel(source.path, into),
    )


def _from_package(source: SourcePackage) -> tuple[str, Callable[[Path], SourceTree]]:
    from lab.kernel.archive import source_package

    package = source_package(source.wanted)

    def unpack(into: Path) -> None:
        deb = PackageRoot().fetch(package)
        with files.scratch(into) as scratch:
            archive = extract_file(deb, f"./usr/src/{package.name}.tar.xz", scratch)
            unpack_kernel(archive, into)

    def make(folder: Path) -> SourceTree:
        return _unpacked(folder, package.sha256, f"package {package}, sha256 {package.sha256}", unpack)

    return f"package {package.sha256}", make


def _unpacked(folder: Path, digest: str, origin: str, unpack: Callable[[Path], None]) -> SourceTree:
    """The content of an archive, which is unpacked only once."""
    source = folder / "src"
    if not source.is_dir():
        with log.step(f"unpacking {origin.partition(', sha256')[0]}"), files.made_whole(source) as building:
            unpack(building)
    kept = folder / VERSION
    if not kept.is_file():
        version = version_of((source / "Makefile").read_text(errors="replace"))
        if version is None:
            shutil.rmtree(source, ignore_errors=True)
            raise InfraError(f"{source} was damaged and is removed", hint="run the same command again")
        files.write_whole(kept, version)
    return SourceTree(source, digest, kept.read_text(), origin)
