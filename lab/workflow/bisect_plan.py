# SPDX-License-Identifier: GPL-2.0-or-later
"""The histories that can be searched: packaged kernels, commits of a tree, patches of a series."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from lab.campaign.plan import word
from lab.errors import UserError
from lab.kernel.archive import available, resolve
from lab.kernel.debversion import Key, version_key
from lab.kernel.git_history import commits_between, merge_base, subject_of
from lab.kernel.git_store import Theirs, repository_at
from lab.kernel.kernel_packages import KernelPackages
from lab.kernel.obtain import KCONFIG
from lab.kernel.series import Series
from lab.kernel.sources import Git, Packaged, Tree, parse_source
from lab.results.bisect import Node
from lab.results.models import Subject

REBUILD = re.compile(r"~(deb|bpo)(?P<release>[0-9]+)[+u.0-9]*$")
"""What a version ends in that was built again for an older release."""

DIRECTION = "without --find-fix the good kernel is the older one, with it the bad one: {what} is looked for"


def version_nodes(good: str, bad: str, *, find_fix: bool) -> tuple[Node, ...]:
    """The packaged kernels from one end to the other, in the order of their versions.

    Of several builds of one source (for Debian 12 and for 13) the one that is most like the ends is taken.
    Raises UserError for ends that are none, or between which there is nothing.
    """
    ends = {name: resolve(_packaged(name)) for name in (good, bad)}
    old, new = (bad, good) if find_fix else (good, bad)
    first, last = ends[old], ends[new]
    if first.version == last.version:
        raise UserError(
            f"{good} and {bad} are both Linux {first.version}", hint="name two versions: lab list kernels"
        )
    if _source(first) > _source(last):
        found = f"{old} ({first.version}) is newer than {new} ({last.version})"
        what = "the version that mended it" if find_fix else "the version that broke it"
        hint = DIRECTION.format(what=what)
        raise UserError(f"{found}: are --good and --bad swapped?", hint=f"{hint}; see --find-fix")
    between = [
        kernel for kernel in available(everywhere=True) if _source(first) < _source(kernel) < _source(last)
    ]
    if not between:
        raise UserError(
            f"the archive has no kernel between {first.version} and {last.version}",
            hint="they are neighbours already; between them: lab bisect --tree PATH --good REV --bad REV",
        )
    return (
        _version(first, ()),
        *_deduplicated(between, (last, first)),
        _version(last, (len(_sources(between)),)),
    )


def _packaged(text: str) -> Packaged:
    source = parse_source(text)
    if not isinstance(source, Packaged):
        raise UserError(
            f"{text} is no packaged kernel",
            hint="versions are debian:6.12.43; revisions need --tree PATH, patches --series and --base",
        )
    return source


def _source(kernel: KernelPackages) -> Key:
    """Orders by the version of the source, whatever release a package was built for."""
    return version_key(REBUILD.sub("", kernel.version))


def _sources(kernels: Iterable[KernelPackages]) -> list[str]:
    return sorted({REBUILD.sub("", kernel.version) for kernel in kernels}, key=version_key)


def _deduplicated(kernels: Sequence[KernelPackages], ends: Sequence[KernelPackages]) -> Iterable[Node]:
    wanted = [_built_for(end) for end in ends]
    for number, source in enumerate(_sources(kernels)):
        builds = [kernel for kernel in kernels if REBUILD.sub("", kernel.version) == source]

        def likeness(kernel: KernelPackages) -> tuple[bool, int]:
            own = _built_for(kernel)
            return bool(kernel.lost), wanted.index(own) if own in wanted else len(wanted)

        chosen, *others = sorted(builds, key=likeness)
        yield _version(chosen, (number,), [kernel.version for kernel in others])


def _built_for(kernel: KernelPackages) -> str:
    """`12` for what was built for Debian 12; "" for what was built for the release that it belongs to."""
    found = re.search(r"\+deb([0-9]+)", kernel.release) or REBUILD.search(kernel.version)
    return (found["release"] if "release" in found.groupdict() else found[1]) if found else ""


def _version(kernel: KernelPackages, parents: tuple[int, ...], others: Sequence[str] = ()) -> Node:
    lost = f"the archive no longer has {', '.join(kernel.lost)}" if kernel.lost else ""
    return Node(
        role=word(kernel.version),
        name=kernel.version,
        subject=Subject(kernel=f"debian:{kernel.version}"),
        parents=parents,
        lost=lost,
        others=tuple(others),
    )


def tree_at(path: Path) -> Theirs:
    """The repository of `--tree`. UserError if there is none."""
    theirs = repository_at(path) if path.is_dir() else None
    if theirs is None:
        raise UserError(f"{path} is in no git repository", hint="--tree PATH names a kernel tree of git's")
    return theirs


def commit_nodes(
    theirs: Theirs,
    good: str,
    bad: str,
    *,
    find_fix: bool = False,
    first_parent: bool = False,
    paths: Sequence[str] = (),
    kconfig: str = KCONFIG,
) -> tuple[Node, ...]:
    """The commits between two revisions, each after its parents; the ends are the first and the last.

    Where the older end is not contained in the newer one, their merge base takes its place, as in git.
    """
    names = {end: theirs.commit(end) for end in (good, bad)}
    old, new = (bad, good) if find_fix else (good, bad)
    first, last = names[old], names[new]
    if first == last:
        raise UserError(f"{good} and {bad} are the same commit {first[:12]}", hint="name two revisions")
    base = merge_base(theirs, first, last)
    if base is None:
        raise UserError(f"{good} and {bad} have no common history")
    if base == last:
        what = "the commit that mended it" if find_fix else "the commit that broke it"
        hint = DIRECTION.format(what=what)
        raise UserError(
            f"{new} is contained in {old}: are --good and --bad swapped?", hint=f"{hint}; see --find-fix"
        )
    commits = commits_between(theirs, base, last, first_parent=first_parent, paths=paths)
    if not commits:
        raise UserError(
            f"no commit between {good} and {bad} changes {', '.join(paths)}", hint="leave out --path"
        )
    make = _Commits(theirs, kconfig)
    numbers: Mapping[str, int] = {commit.name: number for number, commit in enumerate(commits, 1)}
    nodes = [make.node(base, subject_of(theirs, base))]
    for commit in commits:
        inside = tuple(numbers[parent] for parent in commit.parents if parent in numbers)
        nodes.append(make.node(commit.name, commit.subject, inside or (0,)))
    if last not in numbers:  # it changes none of the paths
        known = {parent for node in nodes for parent in node.parents}
        heads = tuple(number for number in range(1, len(nodes)) if number not in known)
        nodes.append(make.node(last, subject_of(theirs, last), heads, suspect=False))
    return tuple(nodes)


class _Commits:
    """Makes nodes of a repository's commits."""

    def __init__(self, theirs: Theirs, kconfig: str) -> None:
        self._theirs, self._kconfig = theirs, kconfig

    def node(self, commit: str, title: str, parents: tuple[int, ...] = (), *, suspect: bool = True) -> Node:
        return Node(
            role=commit[:12],
            name=commit[:12],
            subject=commit_subject(self._theirs, commit, self._kconfig),
            title=title,
            commit=commit,
            parents=parents,
            suspect=suspect,
        )


def commit_subject(theirs: Theirs, commit: str, kconfig: str) -> Subject:
    """How the kernel of a commit is obtained."""
    source = Git(str(theirs.path), commit) if theirs.top is None else Tree(theirs.top, commit)
    return Subject(kernel=str(source), kconfig=kconfig)


def series_nodes(series: Series, base: str, kconfig: str) -> tuple[Node, ...]:
    """The base, then the kernel after each patch."""
    nodes = [Node(role="patch-0", name="base", subject=Subject(kernel=base, kconfig=kconfig))]
    for patch in series.patches:
        begun = series.first(patch.number)
        subject = Subject(
            kernel=base, kconfig=kconfig, series=begun.name, mboxes=(f"series/first-{patch.number}.mbox",)
        )
        nodes.append(
            Node(
                role=f"patch-{patch.number}",
                name=f"patch {patch.number}",
                title=patch.subject,
                subject=subject,
                parents=(patch.number - 1,),
            )
        )
    return tuple(nodes)


def mbox_of(series: Series) -> bytes:
    """A series, or the beginning of one, as an mbox."""
    mails = []
    for patch in series.patches:
        head = f"From {0:040x} Mon Sep 17 00:00:00 2001\nFrom: {patch.author}\n"
        mails.append(
            f"{head}Subject: [PATCH] {patch.subject}\n".encode()
            + b"\n---\n"
            + patch.diff.rstrip(b"\n")
            + b"\n\n"
        )
    return b"".join(mails)
