# SPDX-License-Identifier: GPL-2.0-or-later
"""The commits between two revisions of a repository that is only asked."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from lab.errors import UserError
from lab.kernel.git import ask
from lab.kernel.git_store import Theirs

MAX_COMMITS = 30_000
"""More are not searched at once: what each contains is kept, and the square of this many bits is 110 MB."""

NAME = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass(frozen=True)
class Commit:
    """One commit, and those of the list that it was made from."""

    name: str
    subject: str
    parents: tuple[str, ...]


def merge_base(theirs: Theirs, one: str, other: str) -> str | None:
    """The newest commit that both contain; None if they have no common history."""
    found = ask(theirs.path, "merge-base", one, other)
    return found.split()[0] if found else None


def first_parent(theirs: Theirs, commit: str) -> str | None:
    """The commit that a commit was made on top of; None for a root."""
    found = ask(theirs.path, "rev-parse", "--verify", "--quiet", f"{commit}^1^{{commit}}")
    return found.strip() if found else None


def subject_of(theirs: Theirs, commit: str) -> str:
    return (ask(theirs.path, "log", "-1", "--no-show-signature", "--format=%s", commit) or "").strip()[:200]


def commits_between(
    theirs: Theirs, old: str, new: str, *, first_parent: bool = False, paths: Sequence[str] = ()
) -> tuple[Commit, ...]:
    """The commits that `new` has and `old` has not, each after its parents; with `paths` only those that
    change one of them, joined as git's history simplification joins them.

    Raises UserError if there are too many.
    """
    options = ["--topo-order", "--reverse", "--parents", "--no-show-signature", f"-n{MAX_COMMITS + 1}"]
    options += ["--first-parent"] if first_parent else []
    ends = (new, f"^{old}", "--", *paths)
    said = ask(theirs.path, "log", *options, "--format=%x01%H%x00%P%x00%s", *ends)
    if said is None:
        raise UserError(f"git cannot list what is between {old[:12]} and {new[:12]} of {theirs.path}")
    commits = tuple(_commit(record) for record in said.split("\x01")[1:])
    if len(commits) > MAX_COMMITS:
        raise UserError(
            f"there are more than {MAX_COMMITS} commits between {old[:12]} and {new[:12]}",
            hint="narrow it down: --first-parent, --path drivers/gpu/drm, or nearer ends",
        )
    return commits


def _commit(record: str) -> Commit:
    name, parents, subject = (*record.split("\x00", 2), "", "")[:3]
    name = NAME.search(name)[0] if NAME.search(name) else name  # type: ignore[index]
    return Commit(name, subject.strip()[:200], tuple(NAME.findall(parents)))
