# SPDX-License-Identifier: GPL-2.0-or-later
"""Packages and kernels from the text that apt prints, and the care taken with files."""

from __future__ import annotations

import hashlib
import itertools
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.errors import InfraError, UserError
from lab.kernel import sources
from lab.kernel.debversion import version_key
from lab.kernel.packages import Package, PackageRoot, extract, parse_packages
from lab.kernel.sources import KernelSource, index_kernels, parse_source


def stanza(name: str, version: str, depends: str = "") -> str:
    return (
        f"Package: {name}\nVersion: {version}\nArchitecture: amd64\nDepends: {depends}\n"
        f"Description: a kernel\n more text\nFilename: pool/{name}.deb\nSize: 1000\n"
        f"SHA256: {hashlib.sha256(f'{name} {version}'.encode()).hexdigest()}\n\n"
    )


def kernel(abi: str, version: str, series: str, *, kbuild: str = "") -> str:
    kbuild_name = kbuild or f"linux-kbuild-{abi}"
    return (
        stanza(f"linux-image-{abi}-amd64", version, "kmod, initramfs-tools")
        + stanza(
            f"linux-headers-{abi}-amd64", version, f"linux-headers-{abi}-common (= {version}), {kbuild_name}"
        )
        + stanza(f"linux-headers-{abi}-common", version)
        + stanza(f"linux-source-{series}", version)
    )


INDEX = (
    stanza("linux-image-amd64", "6.1.192-2", "linux-image-6.1.0-56-amd64 (= 6.1.192-2)")
    + stanza("linux-image-amd64", "6.1.176-1", "linux-image-6.1.0-50-amd64 (= 6.1.176-1)")
    + stanza("linux-image-6.12-amd64", "6.12.117-1~deb12u1", "linux-image-6.12.117+deb12-amd64 (= x)")
    + kernel("6.1.0-56", "6.1.192-2", "6.1", kbuild="linux-kbuild-6.1 (>= 6.1.192-2)")
    + kernel("6.1.0-54", "6.1.190-1", "6.1", kbuild="linux-kbuild-6.1 (>= 6.1.190-1)")
    + kernel("6.12.117+deb12", "6.12.117-1~deb12u1", "6.12")
    + kernel("6.12.99+deb12", "6.12.99-1~deb12u1", "6.12")
    + stanza("linux-kbuild-6.1", "6.1.192-2")
    + stanza("linux-kbuild-6.1", "6.1.176-1")
    + stanza("linux-kbuild-6.12.117+deb12", "6.12.117-1~deb12u1")
    + stanza("linux-image-6.1.0-56-cloud-amd64", "6.1.192-2", "kmod")
    + stanza("linux-image-6.1.0-56-rt-amd64", "6.1.192-2", "kmod")
    + stanza("linux-image-6.1.0-56-amd64-dbg", "6.1.192-2")
    + stanza("linux-image-6.1.0-40-amd64-unsigned", "6.1.150-1")
)


def select(text: str) -> sources.KernelPackages:
    return sources._select(parse_source(text), index_kernels(parse_packages(INDEX), {}))


def test_stanzas() -> None:
    """Fields are read; a stanza without a digest cannot be verified and is left out."""
    found = parse_packages(stanza("a", "1") + "Package: b\nVersion: 1\nFilename: x\n\n" + stanza("a", "1"))
    assert [(p.name, p.version, p.size, p.filename) for p in found] == [("a", "1", 1000, "pool/a.deb")]
    assert parse_packages("") == ()


@pytest.mark.parametrize(
    ("text", "release"),
    [
        ("stock", "6.1.0-56-amd64"),
        ("debian:6.12", "6.12.117+deb12-amd64"),
        ("debian:6.12.99", "6.12.99+deb12-amd64"),
        ("debian:6.12.117-1~deb12u1", "6.12.117+deb12-amd64"),
        ("debian:6.1", "6.1.0-56-amd64"),
        ("debian:6.1.190", "6.1.0-54-amd64"),
    ],
)
def test_selection(text: str, release: str) -> None:
    """A series means its newest version by Debian's order; `debian:6.1` does not mean 6.12."""
    assert select(text).release == release


def test_flavours_and_metapackages_are_no_kernels() -> None:
    """cloud, rt, -dbg, -unsigned and metapackages are not offered."""
    releases = [k.release for k in index_kernels(parse_packages(INDEX), {}).kernels]
    assert releases == ["6.12.117+deb12-amd64", "6.12.99+deb12-amd64", "6.1.0-56-amd64", "6.1.0-54-amd64"]


def test_completeness() -> None:
    """All parts must be of the image's version; only kbuild may be what the headers accept."""
    assert select("stock").missing == ()
    older = select("debian:6.1.190")
    assert older.missing == ()
    assert older.kbuild is not None
    assert older.kbuild.version == "6.1.192-2"
    assert select("debian:6.12.99").missing == ("kbuild tools",)


@pytest.mark.parametrize(
    "text", ["", "stok", "debian:", "debian:latest", "git:6.1", "debian:6", "debian:6.1/../x"]
)
def test_bad_source(text: str) -> None:
    """What is no kernel source is refused with what can be written."""
    with pytest.raises(UserError, match=r"debian:6\.12"):
        parse_source(text)


def test_unknown_version_names_the_nearest() -> None:
    """A version that no suite has is answered with those that one has."""
    with pytest.raises(UserError, match=r"6\.12\.117"):
        select("debian:6.12.118")
    assert str(KernelSource("debian", "6.1")) == "debian:6.1"


def test_no_metapackage() -> None:
    """`stock` without the distribution's metapackage is the machine's problem."""
    index = index_kernels(parse_packages(kernel("6.1.0-56", "6.1.192-2", "6.1")), {})
    with pytest.raises(InfraError, match="linux-image-amd64"):
        sources._select(parse_source("stock"), index)


VERSIONS = [
    "1.0",
    "1.0~rc1",
    "1.0~",
    "1.0-1",
    "1.0-1+b1",
    "1.0-1~deb12u1",
    "1:0.1",
    "1.10",
    "1.9",
    "1.0a",
    "1.0+x",
]


def test_version_order_is_dpkgs() -> None:
    """The order of versions is that of dpkg --compare-versions, for all pairs of tricky ones."""
    if shutil.which("dpkg") is None:
        pytest.skip("dpkg is not installed")
    for a, b in itertools.combinations(VERSIONS, 2):
        less = subprocess.run(["dpkg", "--compare-versions", a, "lt", b], check=False).returncode == 0
        assert (version_key(a) < version_key(b)) == less, (a, b)


@settings(max_examples=200)
@given(st.lists(st.text("0129.~+-:ab", max_size=8), min_size=2, max_size=2))
def test_any_version_can_be_ordered(pair: list[str]) -> None:
    """No text of an index makes sorting fail."""
    a, b = map(version_key, pair)
    assert (a < b) + (b < a) <= 1


def test_corrupt_file_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cached file is checked on every use; one whose digest differs is removed."""
    monkeypatch.setenv("LAB_CACHE", str(tmp_path))
    content = b"a package"
    package = Package(
        name="p",
        version="1",
        architecture="all",
        sha256=hashlib.sha256(content).hexdigest(),
        size=9,
        filename="x",
    )
    path = tmp_path / "packages" / f"{package.sha256}.deb"
    root = PackageRoot()
    path.write_bytes(content)
    assert root.fetch(package) == path
    path.write_bytes(b"another")
    assert not root._intact(package)
    assert not path.exists()


def test_extract_drops_set_id_bits(tmp_path: Path) -> None:
    """Files of a package belong to the caller, without set-id bits."""
    if shutil.which("dpkg-deb") is None:
        pytest.skip("dpkg-deb is not installed")
    tree, into = tmp_path / "tree", tmp_path / "into"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN/control").write_text(
        "Package: x\nVersion: 1\nArchitecture: all\nMaintainer: a <a@example.org>\nDescription: x\n"
    )
    (tree / "su").write_text("#!/bin/sh\n")
    (tree / "su").chmod(0o4755)
    subprocess.run(["dpkg-deb", "-b", str(tree), str(tmp_path / "x.deb")], check=True, capture_output=True)
    into.mkdir()
    extract([tmp_path / "x.deb"], into)
    assert (into / "su").stat().st_mode & 0o7777 == 0o755
    (tmp_path / "bad.deb").write_bytes(b"no package")
    with pytest.raises(InfraError):
        extract([tmp_path / "bad.deb"], into)
