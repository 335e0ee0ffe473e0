# SPDX-License-Identifier: GPL-2.0-or-later
"""A git repository of the lab's own beside a work copy: it reads the user's objects and writes only its own.

The user's repository is only asked questions: its work tree, index, branches and objects stay as they are.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab import log, proc
from lab.errors import InfraError, UserError, did_you_mean
from lab.kernel.git import ALONE, ASK_SECONDS, QUIET, ask, asked, inherited, program

COPY_SECONDS = 3600
"""Reading a whole kernel tree in or writing it out, or fetching one."""

FETCHING = {"GIT_TERMINAL_PROMPT": "0", "GIT_ALLOW_PROTOCOL": "file:git:http:https:ssh"}
COMMANDS = ("init", "add", "ls-files", "update-index", "write-tree", "diff-tree", "read-tree", "rev-parse")
BUILT = (
    *("*.o", "*.ko", "*.mod", "*.mod.c", "*.cmd", "modules.order", "Module.symvers", ".config*", ".tmp_*"),
    *("/vmlinux", "/System.map", "/include/config/", "/include/generated/", "/arch/*/include/generated/"),
)
"""What a build leaves inside a tree, as git's ignore patterns."""


@dataclass(frozen=True)
class Theirs:
    """A git repository of the user's."""

    path: Path  # where git is asked
    top: Path | None  # of the work tree; None for a bare one
    objects: Path
    index: Path
    excludes: Path  # ignore rules beside those in the tree
    object_format: str

    def commit(self, revision: str) -> str:
        """The full name of a commit; UserError if there is none of that name."""
        found = ask(self.path, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
        if found is None:
            names = (ask(self.path, "for-each-ref", "--format=%(refname:short)") or "").split()
            raise UserError(
                f"{self.path} has no revision {revision}", hint=did_you_mean(revision, names) if names else ""
            )
        return found.strip()

    @property
    def head(self) -> str | None:
        """The commit that is checked out; None in a repository without one."""
        found = ask(self.path, "rev-parse", "--verify", "--quiet", "HEAD^{commit}")
        return found.strip() if found else None

    @property
    def has_sparse_index(self) -> bool:
        """Whether the index may hold whole folders instead of their files."""
        names = ("core.sparseCheckout", "index.sparse")
        return all((ask(self.path, "config", "--type=bool", name) or "").strip() == "true" for name in names)


PLACES = ("--git-path", "objects", "--git-path", "index", "--git-path", "info/exclude")


def repository_at(path: Path) -> Theirs | None:
    """The repository that `path` lies in; None if it lies in none.

    Raises UserError if git refuses to read it, as it does with other users' repositories.
    """
    done = asked(path, ("rev-parse", "--show-object-format", "--is-bare-repository", *PLACES))
    if done.code != 0:
        said = done.errors.strip().splitlines() or ["git did not say why"]
        if "not a git repository" in said[0] and not (path / ".git").exists():
            return None
        hint = f"it must be yours, or: git config --global --add safe.directory {path}"
        raise UserError(f"git cannot read {path}: {said[0]}", hint=hint)
    object_format, bare, *places = done.text.splitlines()
    objects, index, excludes = ((path / place).resolve() for place in places)
    top = None if bare == "true" else ask(path, "rev-parse", "--show-toplevel")
    return Theirs(path, Path(top.rstrip("\n")) if top else None, objects, index, excludes, object_format)


class GitStore:
    """The lab's repository in `folder`, and the work copy that it keeps. The caller holds a lock on both.

    Objects of `theirs` are read as well, but only where none is written: git gives an object that it was to
    write and finds elsewhere a new time, and nothing of the user's is to be changed.
    """

    def __init__(self, folder: Path, theirs: Theirs | None = None) -> None:
        self.folder = folder
        self._theirs = theirs
        self._make()

    def _make(self) -> None:
        for stale in self.folder.glob("*.lock"):  # of a lab that was killed; we hold the lock that counts
            stale.unlink()
        if not (self.folder / "HEAD").exists():
            shutil.rmtree(self.folder, ignore_errors=True)
            object_format = self._theirs.object_format if self._theirs else "sha1"
            self._run("init", "--quiet", "--bare", f"--object-format={object_format}", str(self.folder))

    @property
    def _reading(self) -> dict[str, str]:
        """Environment of commands that write no object."""
        if self._theirs is None:
            return {}
        quoted = str(self._theirs.objects).replace("\\", "\\\\").replace('"', '\\"')
        return {"GIT_ALTERNATE_OBJECT_DIRECTORIES": f'"{quoted}"'}

    def fetch(self, url: str, revision: str) -> str:
        """Fetch one revision without its history; returns the commit.

        Where the server cannot be reached, the commit that was fetched for this revision last is taken.
        """
        kept = f"refs/lab/{revision.encode().hex()[:200]}"
        known = self._ask("rev-parse", "--verify", "--quiet", f"{kept}^{{commit}}")
        if known and re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", revision) and known.strip() == revision:
            return revision
        argv = ["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--depth=1", "--", url]
        with log.step(f"fetching {revision} of {url}"):
            # With the user's configuration: proxies, credentials and insteadOf are in it.
            done = self._call([*argv, f"+{revision}:{kept}"], COPY_SECONDS, {**inherited(), **FETCHING})
        if done.code != 0:
            said = done.errors.strip().splitlines() or ["git did not say why"]
            if "couldn't find remote ref" in done.errors or "not our ref" in done.errors:
                hint = "name a branch, a tag or a whole commit id"
                raise UserError(f"{url} has no revision {revision}", hint=hint)
            if not known:
                hint = "check the network and the URL"
                raise InfraError(f"cannot fetch {revision} of {url}: {said[-1]}", hint=hint)
            log.info(f"cannot fetch {revision} of {url} ({said[-1]}); going on with {known.strip()[:12]}")
        return self._said("rev-parse", "--verify", f"{kept}^{{commit}}")

    def tree_of(self, commit: str) -> str:
        """The tree of a commit."""
        return self._said("rev-parse", "--verify", f"{commit}^{{tree}}")

    def capture(self, work_tree: Path) -> str:
        """The tree that a work tree is now, with all that is neither committed nor ignored.

        The user's index tells which files are unchanged since git last looked; we work on a copy of it.
        """
        index, theirs = self.folder / "capture.index", self._theirs
        env = {"GIT_INDEX_FILE": str(index), "GIT_WORK_TREE": str(work_tree)}
        if theirs is None:
            self._add_plain(work_tree, env)
            return self._run("write-tree", env=env).text.strip()
        if theirs.has_sparse_index:  # without their objects git takes what it cannot expand for removed
            hint = f"git -C {work_tree} sparse-checkout reapply --no-sparse-index"
            raise UserError(f"{work_tree} has a sparse index, which the lab cannot read", hint=hint)
        try:
            # With its time: what was written no earlier, git does not believe to be unchanged.
            shutil.copy2(theirs.index, index)
            for shared in theirs.index.parent.glob("sharedindex.*"):
                shutil.copyfile(shared, self.folder / shared.name)
        except FileNotFoundError:
            index.unlink(missing_ok=True)
        self._look_everywhere(work_tree, env)
        options = ("-c", f"core.excludesFile={theirs.excludes}", "-C", str(work_tree))
        self._run(*options, "add", "--all", "--", ".", env=env)
        self._refuse_links(work_tree, env)
        # What is unchanged is in their repository only.
        return self._run("write-tree", "--missing-ok", env=env).text.strip()

    def _look_everywhere(self, work_tree: Path, env: Mapping[str, str]) -> None:
        """Take off the copied index what the user has told git not to look at: it is built as it is.

        What a sparse checkout has left out stays: the kernel has it nevertheless.
        """
        listed = self._run("-C", str(work_tree), "ls-files", "-v", "-z", env=env)
        rows = [(row[:1], row[2:]) for row in listed.stdout.split(b"\0") if row]
        assumed = [name for tag, name in rows if tag.islower()]
        skipped = [
            name for tag, name in rows if tag in b"Ss" and os.path.lexists(work_tree / os.fsdecode(name))
        ]
        for option, names in (("--no-assume-unchanged", assumed), ("--no-skip-worktree", skipped)):
            if names:
                argv = ("-C", str(work_tree), "update-index", option, "-z", "--stdin")
                self._run(*argv, env=env, data=b"".join(name + b"\0" for name in names))

    def _refuse_links(self, work_tree: Path, env: Mapping[str, str]) -> None:
        """UserError for folders of which git has taken along only at what commit they are."""
        listed = self._run("-C", str(work_tree), "ls-files", "-s", "-z", env=env).stdout
        links = [row.partition(b"\t")[2] for row in listed.split(b"\0") if row.startswith(b"160000 ")]
        for folder in (work_tree / os.fsdecode(name) for name in links):
            if folder.is_dir() and any(folder.iterdir()):
                raise _inner(folder)

    def _add_plain(self, work_tree: Path, env: Mapping[str, str]) -> None:
        """A folder that no git knows: all of it but what a build leaves there.

        Its own ignore rules do not count: those of Debian's source packages ignore everything.
        """
        excludes = [f"--exclude={pattern}" for pattern in BUILT]
        listed = self._run("-C", str(work_tree), "ls-files", "-z", "--cached", "--others", *excludes, env=env)
        for name in listed.stdout.split(b"\0"):
            if name.endswith(b"/"):
                raise _inner(work_tree / os.fsdecode(name))
        argv = ("-C", str(work_tree), "update-index", "--add", "--remove", "-z", "--stdin")
        self._run(*argv, env=env, data=listed.stdout)

    def changed(self, commit: str, tree: str) -> tuple[str, ...]:
        """Paths in which a tree differs from a commit."""
        argv = ("diff-tree", "-r", "-z", "--name-only", "--no-renames", commit, tree)
        return tuple(name for name in self._run(*argv, env=self._reading).text.split("\0") if name)

    def differing(self, tree: str, other: str) -> tuple[str, ...] | None:
        """Paths in which two trees differ; None if one of them is gone."""
        said = self._ask("diff-tree", "-r", "-z", "--name-only", "--no-renames", other, tree)
        return None if said is None else tuple(name for name in said.split("\0") if name)

    def read(self, tree: str, path: str) -> str | None:
        """The text of a file in a tree; None if there is none."""
        return self._ask("cat-file", "blob", f"{tree}:{path}")

    def check_out(self, tree: str, into: Path) -> None:
        """Make `into` that tree; only files whose content differs are written."""
        into.mkdir(exist_ok=True)
        place = {"GIT_INDEX_FILE": str(self.folder / "work.index"), "GIT_WORK_TREE": str(into)}
        self._run("read-tree", "--reset", "-u", tree, env={**self._reading, **place})

    def _said(self, *arguments: str) -> str:
        return self._run(*arguments, env=self._reading).text.strip()

    def _ask(self, *arguments: str) -> str | None:
        done = self._call(arguments, ASK_SECONDS, {**ALONE, **self._reading})
        return done.text if done.code == 0 else None

    def _run(
        self, *arguments: str, env: Mapping[str, str] | None = None, data: bytes | None = None
    ) -> proc.Finished:
        done = self._call(arguments, COPY_SECONDS, {**ALONE, **(env or {})}, data)
        if done.code != 0:
            command = next(word for word in arguments if word in COMMANDS)
            raise InfraError(
                f"git {command} failed in {self.folder}: {done.errors.strip()[-500:] or done.code}",
                hint=f"is the disk full? If not, remove {self.folder.parent}; the lab makes it again",
            )
        return done

    def _call(
        self, arguments: Sequence[str], seconds: float, env: Mapping[str, str], data: bytes | None = None
    ) -> proc.Finished:
        argv = [program(), *QUIET, *arguments]
        env = {"GIT_DIR": str(self.folder), **env}
        return proc.run(argv, timeout=seconds, check=False, env=env, data=data)


def _inner(folder: Path) -> UserError:
    return UserError(
        f"{folder} is a git repository of its own: its files would not be in the lab's copy of the tree",
        hint="if the kernel needs them, rename its .git; else move it, or add it to the tree's info/exclude",
    )
