# SPDX-License-Identifier: GPL-2.0-or-later
"""What the user may write where a kernel is named (`--kernel`, `--base`, YAML): one class per kind of source.

Reading the text touches no network and builds nothing; `str()` of a source is a text that means the same in
any folder, for the record of a run.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lab import files
from lab.errors import UserError, did_you_mean

KERNEL_FILES = ("Makefile", "Kbuild", "MAINTAINERS")
"""What lies at the top of every kernel tree, and together at the top of nothing else."""

VERSION = re.compile(r"[0-9]+\.[0-9][0-9A-Za-z.+~-]*")
SCP_LIKE = re.compile(r"[\w.-]+@?[\w.-]*:(?!/?/)\S+|[\w.-]+@[\w.-]+:\S+")


@dataclass(frozen=True)
class Packaged:
    """A kernel of Debian's archive; `wanted` is a series or a version, "" for the distribution's choice."""

    wanted: str = ""

    def __str__(self) -> str:
        return f"debian:{self.wanted}" if self.wanted else "stock"


@dataclass(frozen=True)
class SourcePackage:
    """The kernel source of Debian's archive, to be built."""

    wanted: str

    def __str__(self) -> str:
        return f"source:{self.wanted}"


@dataclass(frozen=True)
class Tree:
    """A kernel tree of the user's: as it is, with what is not committed, or at one revision of its git."""

    path: Path
    revision: str = ""

    def __str__(self) -> str:
        return f"tree:{self.path}{f'@{self.revision}' if self.revision else ''}"


@dataclass(frozen=True)
class Git:
    """One revision of a git repository, which is a folder or an URL that git understands."""

    where: str
    revision: str

    @property
    def remote(self) -> bool:
        return "://" in self.where or SCP_LIKE.fullmatch(self.where) is not None

    def __str__(self) -> str:
        return f"git:{self.where}@{self.revision}"


@dataclass(frozen=True)
class Tarball:
    """A packed kernel tree."""

    path: Path

    def __str__(self) -> str:
        return f"tarball:{self.path}"


@dataclass(frozen=True)
class Image:
    """A kernel that somebody has built already."""

    path: Path
    modules: Path | None = None  # the folder that holds lib/modules/RELEASE, or is it
    config: Path | None = None

    def __str__(self) -> str:
        return (
            f"image:{self.path}"
            + (f",modules={self.modules}" if self.modules else "")
            + (f",config={self.config}" if self.config else "")
        )


Source = Packaged | SourcePackage | Tree | Git | Tarball | Image
Buildable = SourcePackage | Tree | Git | Tarball

SYNTAX = {
    "stock": "the distribution's own choice",
    "debian:6.12": "newest package of a series; or debian:6.12.43, or a full package version",
    "source:6.12": "the source package, built",
    "tree:PATH[@REV]": "a kernel tree as it is, or a revision of it",
    "git:PATH-OR-URL@REV": "a revision of a repository",
    "tarball:PATH": "a packed kernel tree",
    "image:BZIMAGE[,modules=DIR][,config=FILE]": "a kernel that is built",
}
HINT = "write " + ", ".join(SYNTAX)


def parse_source(text: str) -> Source:
    """Understand a kernel source; UserError says what can be written. Relative paths are taken from here."""
    if text == "stock":
        return Packaged()
    kind, colon, rest = text.partition(":")
    if not colon or kind not in _PARSERS:
        near = did_you_mean(kind, ["stock", *_PARSERS]) if kind else ""
        raise UserError(f"unknown kernel source {text or '(empty)'}", hint=f"{near} {HINT}".strip())
    if not rest or not rest.isprintable():
        raise UserError(f"{kind}: needs to say more (in {text!r})", hint=HINT)
    return _PARSERS[kind](rest)


def default_source(folder: Path) -> str:
    """What is meant when no kernel is named in `folder`: the kernel tree around it, else the stock kernel."""
    top = enclosing_tree(folder)
    return str(Tree(top)) if top is not None else str(Packaged())


def enclosing_tree(folder: Path) -> Path | None:
    """The top of the kernel tree that `folder` is, or lies in; None outside of one."""
    here = folder.absolute()
    return next((top for top in (here, *here.parents) if is_kernel_tree(top)), None)


def is_kernel_tree(folder: Path) -> bool:
    """Does a kernel's source lie here?"""
    if not all((folder / name).is_file() for name in KERNEL_FILES):
        return False
    try:
        return version_of((folder / "Makefile").read_text(errors="replace")) is not None
    except OSError:
        return False


def version_of(makefile: str) -> str | None:
    """`6.12.117` or `7.3.0-rc7` from the text of a kernel's top Makefile; None if it is another's."""
    fields: dict[str, str] = dict(
        re.findall(
            r"(?m)^(VERSION|PATCHLEVEL|SUBLEVEL|EXTRAVERSION)[ \t]*=[ \t]*([\w.+~-]{0,40})[ \t]*$",
            makefile[:4096],
        )
    )
    numbers = [fields.get(name, "") for name in ("VERSION", "PATCHLEVEL", "SUBLEVEL")]
    if not all(number.isdecimal() for number in numbers):
        return None
    return ".".join(numbers) + fields.get("EXTRAVERSION", "")


def _packaged(rest: str) -> Packaged:
    return Packaged(_version(rest, "debian"))


def _source_package(rest: str) -> SourcePackage:
    return SourcePackage(_version(rest, "source"))


def _version(text: str, kind: str) -> str:
    if not VERSION.fullmatch(text):
        raise UserError(f"{text} is no kernel version (in {kind}:{text})", hint=HINT)
    return text


def _tree(rest: str) -> Tree:
    if _path(rest).is_dir():  # a folder may have an @ in its name
        return Tree(_path(rest))
    path, revision = _revision(rest)
    return Tree(_path(path), revision)


def _git(rest: str) -> Git:
    where, revision = _revision(rest)
    if not revision:
        raise UserError(f"git:{rest} names no revision", hint="git:PATH-OR-URL@REV, for example @v6.12")
    found = Git(where, revision)
    if where.startswith("-"):
        raise UserError(f"{where} is neither a folder nor an URL", hint=HINT)
    return found if found.remote else Git(str(_path(where)), revision)


def _revision(text: str) -> tuple[str, str]:
    """What stands before and after the last @ that does not belong to @{...}."""
    match = re.fullmatch(r"(.+?)@((?:[^@]|@\{)+)", text)
    if match is None:
        return text, ""
    if match[2].startswith("-"):
        raise UserError(f"{match[2]} is no revision (in {text})", hint="a tag, a branch or a commit")
    return match[1], match[2]


def _tarball(rest: str) -> Tarball:
    return Tarball(_path(rest))


def _image(rest: str) -> Image:
    path, *options = rest.split(",")
    known: dict[str, Path] = {}
    for option in options:
        name, equals, value = option.partition("=")
        if name not in ("modules", "config") or not equals or not value or name in known:
            raise UserError(f"{option!r} is no option of image: (in image:{rest})", hint=HINT)
        known[name] = _path(value)
    return Image(_path(path), known.get("modules"), known.get("config"))


def _path(text: str) -> Path:
    return files.expanded(text).absolute()


_PARSERS: dict[str, Callable[[str], Source]] = {
    "debian": _packaged,
    "source": _source_package,
    "tree": _tree,
    "git": _git,
    "tarball": _tarball,
    "image": _image,
}
