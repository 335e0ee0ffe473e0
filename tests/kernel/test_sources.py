# SPDX-License-Identifier: GPL-2.0-or-later
"""What can be written where a kernel is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lab.errors import UserError
from lab.kernel.sources import (
    Git,
    Image,
    Packaged,
    SourcePackage,
    Tarball,
    Tree,
    default_source,
    enclosing_tree,
    parse_source,
    version_of,
)

MAKEFILE = "# SPDX\nVERSION = 6\nPATCHLEVEL = 12\nSUBLEVEL = 117\nEXTRAVERSION =\nNAME = Baby Opossum Posse\n"


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("stock", Packaged()),
        ("debian:6.12", Packaged("6.12")),
        ("debian:6.12.117-1~deb12u1", Packaged("6.12.117-1~deb12u1")),
        ("source:6.12", SourcePackage("6.12")),
        ("tree:/src/linux", Tree(Path("/src/linux"))),
        ("tree:/src/linux@v6.12", Tree(Path("/src/linux"), "v6.12")),
        ("tree:/src/linux@HEAD@{1}", Tree(Path("/src/linux"), "HEAD@{1}")),
        ("tree:/src/linux@drm/next~2^{tree}", Tree(Path("/src/linux"), "drm/next~2^{tree}")),
        ("git:/src/linux@master", Git("/src/linux", "master")),
        ("git:https://host.example/linux.git@v6.12", Git("https://host.example/linux.git", "v6.12")),
        ("git:me@host.example:linux.git@v6.12", Git("me@host.example:linux.git", "v6.12")),
        ("tarball:/x/linux-6.12.tar.xz", Tarball(Path("/x/linux-6.12.tar.xz"))),
        ("image:/x/bzImage", Image(Path("/x/bzImage"))),
        ("image:/x/b,modules=/m,config=/c", Image(Path("/x/b"), Path("/m"), Path("/c"))),
    ],
)
def test_syntax(text: str, source: object) -> None:
    """Each kind is understood, and what is written for the record means the same again."""
    found = parse_source(text)
    assert found == source
    assert parse_source(str(found)) == source


@pytest.mark.parametrize(
    "text",
    [
        "",
        "stok",
        "6.12",
        "debian:",
        "debian:latest",
        "debian:6",
        "debian:6.1/../x",
        "source:next",
        "tree:",
        "tree:/x@-rf",
        "git:/src/linux",
        "git:/src/linux@--upload-pack=x",
        "git:--upload-pack=x@v1",
        "image:/x,module=/m",
        "image:/x,modules=",
        "image:/x,config=/a,config=/b",
        "tarball:a\nb",
    ],
)
def test_bad_source(text: str) -> None:
    """What is no kernel source is refused with what can be written, or what is wrong with it."""
    with pytest.raises(UserError) as caught:
        parse_source(text)
    assert caught.value.hint


def test_mistyped_kind() -> None:
    """The nearest kind is named."""
    with pytest.raises(UserError, match="did you mean debian"):
        parse_source("debain:6.12")


def test_relative_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record made in one folder means the same in another; a folder with an @ in its name is a folder."""
    (tmp_path / "me@work").mkdir()
    monkeypatch.chdir(tmp_path)
    assert str(parse_source("tree:linux@v6.1")) == f"tree:{tmp_path}/linux@v6.1"
    assert parse_source("tree:me@work") == Tree(tmp_path / "me@work")
    assert str(parse_source("git:linux@v6.1")) == f"git:{tmp_path}/linux@v6.1"


@given(st.text(max_size=60))
@example("~0")
@example("~\0")
def test_any_text(text: str) -> None:
    """Any text is a source or a UserError."""
    for kind in ("", "debian:", "tree:", "git:", "image:", "tarball:"):
        try:
            parse_source(kind + text)
        except UserError:
            continue


def test_standing_in_a_tree(tmp_path: Path) -> None:
    """Anywhere inside of a kernel tree that tree is meant, elsewhere the stock kernel."""
    top = tmp_path / "linux"
    (top / "drivers/gpu").mkdir(parents=True)
    assert default_source(top) == "stock"
    (top / "Makefile").write_text(MAKEFILE)
    (top / "Kbuild").touch()
    assert enclosing_tree(top) is None
    (top / "MAINTAINERS").touch()
    assert default_source(top / "drivers/gpu") == f"tree:{top}"
    (top / "Makefile").write_text("all:\n\ttrue\n")
    assert default_source(top) == "stock"


@pytest.mark.parametrize(
    ("text", "version"),
    [
        (MAKEFILE, "6.12.117"),
        (MAKEFILE.replace("EXTRAVERSION =", "EXTRAVERSION = -rc3"), "6.12.117-rc3"),
        (MAKEFILE.replace("PATCHLEVEL = 12", "PATCHLEVEL = x"), None),
        ("VERSION = 6\n", None),
        ("", None),
    ],
)
def test_version(text: str, version: str | None) -> None:
    """The version is read from a kernel's Makefile, and another project's is no kernel's."""
    assert version_of(text) == version
