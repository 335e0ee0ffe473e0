# SPDX-License-Identifier: GPL-2.0-or-later
"""One diff: where it begins in a mail, which files it touches, and whether it is whole."""

from __future__ import annotations

import re
from collections.abc import Iterable

from lab import proc
from lab.kernel import git

HUNK = re.compile(rb"@@ -[0-9]+(?:,([0-9]+))? \+[0-9]+(?:,([0-9]+))? @@")
START = re.compile(rb"(?m)^(?:diff --git \S|--- \S[^\n]*\n\+\+\+ \S)")
NAMES = (b"--- ", b"+++ ", b"rename from ", b"rename to ", b"copy from ", b"copy to ")
SYMLINK = re.compile(rb"(?:new file|old|new|deleted file) mode 1[26]0000")


class BadDiff(ValueError):
    """The diff is cut off, names files outside the tree, or uses what no kernel patch needs."""


def find_diff(text: bytes) -> bytes:
    """The part of a mail's text from its first diff on; b"" if there is none."""
    match = START.search(text)
    return text[match.start() :] if match else b""


def touched_paths(diff: bytes) -> tuple[str, ...]:
    """Paths of all files that a diff changes, adds, renames or removes, sorted.

    Raises BadDiff.
    """
    paths: set[str] = set()
    current, old_left, new_left = "", 0, 0
    for line in diff.removesuffix(b"\n").split(b"\n"):  # for git a carriage return ends no line
        if old_left > 0 or new_left > 0:
            old, new = _counts(line, current)
            old_left, new_left = old_left - old, new_left - new
            continue
        if match := HUNK.match(line):
            old_left, new_left = (_lines(count) for count in match.groups())
            continue
        if SYMLINK.match(line):
            raise BadDiff(f"{current or 'a file'} is a symbolic link or a submodule")
        for path in _names(line):
            current = _inside(path)
            paths.add(current)
    if old_left > 0 or new_left > 0:
        raise BadDiff(f"it is cut off in the middle of a hunk of {current}")
    if not paths:
        raise BadDiff("its diff names no file")
    return tuple(sorted(paths))


def check_with_git(diff: bytes, touched: Iterable[str]) -> None:
    """Raises BadDiff if `git apply` would change a file that is not among `touched`: nobody would restore it.

    git reads names in more ways than a kernel patch needs: quoted, or with a date after blanks. It applies
    nothing of a diff that it cannot read.
    """
    seen = {path.encode() for path in touched}
    for direction in ((), ("--reverse",)):  # the new name of a renamed file, and the old one
        argv = [git.program(), "apply", "-p1", "--numstat", "-z", *direction]
        # Inside of some repository it would leave out what is not below the folder that we stand in.
        env = {**git.ALONE, "GIT_DIR": "/nonexistent"}
        done = proc.run(argv, timeout=60, check=False, data=diff, env=env)
        if len(done.stdout) >= proc.MAX_OUTPUT:
            raise BadDiff("the names of its files fill more than 16 MiB")
        rows = [row.split(b"\t", 2) for row in done.stdout.split(b"\0") if row]
        if unseen := sorted({row[-1] for row in rows} - seen):
            raise BadDiff(f"it writes {unseen[0].decode(errors='backslashreplace')!r} in a way of its own")


def _lines(count: bytes | None) -> int:
    if count is not None and len(count) > 7:
        raise BadDiff("a hunk claims to have more than ten million lines")
    return 1 if count is None else int(count)


def _counts(line: bytes, path: str) -> tuple[int, int]:
    """How many lines of the old and of the new file a line of a hunk stands for."""
    kind = line[:1]
    if kind in (b" ", b""):  # some mailers strip the blank of an empty context line
        return 1, 1
    if kind == b"-":
        return 1, 0
    if kind == b"+":
        return 0, 1
    if kind == b"\\":
        return 0, 0
    raise BadDiff(f"it is damaged in the middle of a hunk of {path} (a mailer may have wrapped its lines)")


def _names(line: bytes) -> list[bytes]:
    """Path names, as written, of one header line of a diff."""
    if line.startswith(b"diff --git "):
        rest = line.removeprefix(b"diff --git ").rstrip()
        # Both names are equal unless the file is renamed, which other lines then tell.
        half = len(rest) // 2
        same = (
            rest[half : half + 1] == b" "
            and rest[:half].partition(b"/")[2] == rest[half + 1 :].partition(b"/")[2]
        )
        return [rest[:half]] if same else []
    for prefix in NAMES:
        if line.startswith(prefix):
            name = line.removeprefix(prefix).partition(b"\t")[0].rstrip()
            if name == b"/dev/null":
                return []
            return [name] if prefix in NAMES[:2] else [b"x/" + name]
    return []


def _inside(name: bytes) -> str:
    """The path below the kernel tree, without git's first component; BadDiff if it leads elsewhere."""
    if name.startswith(b'"'):
        raise BadDiff(f"the file name {name.decode(errors='replace')} needs quoting; no kernel source does")
    shown = name.decode(errors="backslashreplace")
    parts = shown.split("/")[1:]
    if name.startswith(b"/") or not parts or any(part in ("", ".", "..", ".git") for part in parts):
        raise BadDiff(f"{shown} does not name a file inside the kernel tree")
    if not shown.isprintable():
        raise BadDiff(f"the file name {shown!r} has unprintable characters")
    return "/".join(parts)
