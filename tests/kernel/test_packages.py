# SPDX-License-Identifier: GPL-2.0-or-later
"""Packages from the text that apt prints, the order of versions, and the care taken with files."""

from __future__ import annotations

import hashlib
import itertools
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.errors import InfraError
from lab.kernel.debversion import version_key
from lab.kernel.packages import Package, PackageRoot, extract, extract_file, parse_packages


def stanza(name: str, version: str, depends: str = "") -> str:
    return (
        f"Package: {name}\nVersion: {version}\nArchitecture: amd64\nDepends: {depends}\n"
        f"Description: a kernel\n more text\nFilename: pool/{name}.deb\nSize: 1000\n"
        f"SHA256: {hashlib.sha256(f'{name} {version}'.encode()).hexdigest()}\n\n"
    )


def test_stanzas() -> None:
    """Fields are read; a stanza without a digest cannot be verified and is left out."""
    found = parse_packages(stanza("a", "1") + "Package: b\nVersion: 1\nFilename: x\n\n" + stanza("a", "1"))
    assert [(p.name, p.version, p.size, p.filename) for p in found] == [("a", "1", 1000, "pool/a.deb")]
    assert parse_packages("") == ()


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
    assert extract_file(tmp_path / "x.deb", "./su", into).read_text() == "#!/bin/sh\n"
    (tmp_path / "bad.deb").write_bytes(b"no package")
    with pytest.raises(InfraError):
        extract([tmp_path / "bad.deb"], into)
