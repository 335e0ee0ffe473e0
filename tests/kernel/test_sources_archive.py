# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernels from the packages of an index: which there are, whether they are whole, and which one is meant."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from lab import files
from lab.errors import InfraError, UserError
from lab.kernel import kernel_packages
from lab.kernel.archive import available, newest, resolve, source_package
from lab.kernel.kernel_packages import Index, KernelPackages, index_kernels
from lab.kernel.packages import parse_packages
from lab.kernel.sources import Packaged


def stanza(name: str, version: str, depends: str = "") -> str:
    return (
        f"Package: {name}\nVersion: {version}\nArchitecture: amd64\nDepends: {depends}\n"
        f"Filename: pool/{name}.deb\nSize: 1000\n"
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


def split_image(abi: str, version: str, *parts: str) -> str:
    """An image of 6.19 or later, of which the archive has only some parts."""
    depends = ", ".join(f"linux-{part}-{abi}-amd64 (= {version})" for part in ("base", "binary", "modules"))
    return stanza(f"linux-image-{abi}-amd64", version, depends) + "".join(
        stanza(f"linux-{part}-{abi}-amd64", version) for part in parts
    )


CONFIGURED = (
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
    + stanza("linux-image-6.1.0-56-amd64-unsigned", "6.1.192-2")
)
OTHERS = (
    kernel("5.10.0-46", "5.10.262-1", "5.10")
    + kernel("6.1.0-0.deb11.52", "6.1.180-1~deb11u1", "6.1")
    + kernel("6.12.117+deb13", "6.12.117-1", "6.12")
    + split_image("7.2.13+deb14", "7.2.13-1", "base", "binary", "modules")
    + split_image("7.1.8+deb13", "7.1.8-1~bpo13+1", "binary")
    + split_image("7.3", "7.3~rc7-1~exp1", "base", "binary", "modules")
    + "".join(stanza(f"linux-{part}-7.3.4+deb13-amd64", "7.3.4-1~bpo13+1") for part in ("base", "modules"))
    + stanza("linux-binary-unsigned-7.3.4+deb13-amd64", "7.3.4-1~bpo13+1", "linux-base-7.3.4+deb13-amd64")
    + stanza("linux-binary-unsigned-7.2.13+deb14-amd64", "7.2.13-1", "linux-base-7.2.13+deb14-amd64")
)
EVERY = CONFIGURED + OTHERS


def index(text: str) -> Index:
    return index_kernels(parse_packages(text), {})


def select(text: str, wanted: str) -> KernelPackages | None:
    return newest(index(text).kernels, wanted)


@pytest.fixture
def indices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache in which both indices have just been refreshed, so that nothing is asked of apt."""
    monkeypatch.setenv("LAB_CACHE", str(tmp_path))
    monkeypatch.setattr("lab.kernel.aptroot.SOURCES", ())
    for folder, text in (("apt", CONFIGURED), ("apt-every-suite", EVERY)):
        stamp = tmp_path / folder / "updated"
        stamp.parent.mkdir()
        stamp.touch()
        made = index_kernels(
            parse_packages(text),
            {},
            stamp=stamp.stat().st_mtime,
            made_by=files.sha256_file(Path(kernel_packages.__file__)),
        )
        (tmp_path / folder / "kernels.json").write_text(made.model_dump_json())


@pytest.mark.parametrize(
    ("wanted", "release"),
    [
        ("6.12", "6.12.117+deb12-amd64"),
        ("6.12.99", "6.12.99+deb12-amd64"),
        ("6.12.117-1~deb12u1", "6.12.117+deb12-amd64"),
        ("6.1", "6.1.0-56-amd64"),
        ("6.1.190", "6.1.0-54-amd64"),
        ("6.1.17", None),
    ],
)
def test_selection(wanted: str, release: str | None) -> None:
    """A series means its newest version by Debian's order; 6.1 does not mean 6.12, nor 6.1.17 6.1.176."""
    found = select(CONFIGURED, wanted)
    assert (found.release if found else None) == release


def test_flavours_and_metapackages_are_no_kernels() -> None:
    """cloud, rt, -dbg and metapackages are not offered, and a kernel not twice for being unsigned as well."""
    assert [k.release for k in index(CONFIGURED).kernels] == [
        "6.12.117+deb12-amd64",
        "6.12.99+deb12-amd64",
        "6.1.0-56-amd64",
        "6.1.0-54-amd64",
    ]


def test_completeness() -> None:
    """All parts must be of the image's version; only kbuild may be what the headers accept."""
    stock, older, broken = (select(CONFIGURED, wanted) for wanted in ("6.1.192", "6.1.190", "6.12.99"))
    assert stock is not None
    assert stock.missing == ()
    assert older is not None
    assert older.missing == ()
    assert older.kbuild is not None
    assert older.kbuild.version == "6.1.192-2"
    assert broken is not None
    assert broken.missing == ("kbuild tools",)
    assert broken.row()["headers"] == "incomplete"
    assert broken.row()["missing"] == "kbuild tools"


def test_split_images() -> None:
    """From 6.19 on a kernel is unpacked from several packages, and unusable when one of them is gone."""
    whole = select(OTHERS, "7.2")
    assert whole is not None
    assert [p.name for p in whole.boot] == [
        f"linux-{part}-7.2.13+deb14-amd64" for part in ("image", "base", "binary", "modules")
    ]
    assert select(OTHERS, "7.1") is None
    lost = next(k for k in index(OTHERS).kernels if k.upstream == "7.1.8")
    assert lost.lost == ("linux-base-7.1.8+deb13-amd64", "linux-modules-7.1.8+deb13-amd64")
    assert lost.row()["image"] == "unusable"


def test_unsigned_only() -> None:
    """A kernel that the archive has only unsigned serves a guest as well; an rc belongs to its series."""
    found = select(OTHERS, "7.3")
    assert found is not None
    assert found.release == "7.3.4+deb13-amd64"
    assert {p.name.split("-")[1] for p in found.boot} == {"binary", "base", "modules"}
    candidate = select(OTHERS, "7.3~rc7")
    assert candidate is not None
    assert candidate.release == "7.3-amd64"


@pytest.mark.usefixtures("indices")
def test_configured_suites_come_first() -> None:
    """Another suite's newer package is not taken for a series that the configured suites have."""
    assert resolve(Packaged()).release == "6.1.0-56-amd64"
    assert resolve(Packaged("6.12")).release == "6.12.117+deb12-amd64"
    assert resolve(Packaged("6.12.117-1")).release == "6.12.117+deb13-amd64"
    assert resolve(Packaged("5.10")).release == "5.10.0-46-amd64"
    assert source_package("6.12").version == "6.12.117-1~deb12u1"
    assert source_package("5.10.262").version == "5.10.262-1"


@pytest.mark.usefixtures("indices")
def test_what_is_not_there() -> None:
    """An unusable version is told from an unknown one, each with versions that can be had."""
    with pytest.raises(
        UserError,
        match=r"7\.1\.8-1~bpo13\+1 cannot be booted.*linux-modules-7\.1\.8.*\n.*6\.12\.117 and 7\.2\.13",
    ):
        resolve(Packaged("7.1"))
    with pytest.raises(UserError, match=r"no suite .* has Linux 6\.12\.118\n.*6\.12\.117 and 7"):
        resolve(Packaged("6.12.118"))
    with pytest.raises(UserError, match=r"source package of Linux 4\.19"):
        source_package("4.19")


@pytest.mark.usefixtures("indices")
def test_lists() -> None:
    """`lab list kernels` has the configured suites' kernels, with --available all, unusable ones too."""
    assert len(available(everywhere=False)) == 4
    assert {k.upstream for k in available(everywhere=True)} > {"5.10.262", "7.1.8", "7.2.13", "7.3.4"}


@pytest.mark.usefixtures("indices")
def test_old_index_format_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What another version of the lab made of the index is not used."""
    path = tmp_path / "apt/kernels.json"
    path.write_text(path.read_text().replace('"made_by":"', '"made_by":"0'))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lab.kernel.archive._read", lambda _root: index(OTHERS))
        assert available(everywhere=False)[0].upstream == "7.3.4"


def test_no_metapackage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`stock` without the distribution's metapackage is the machine's problem."""
    monkeypatch.setenv("LAB_CACHE", str(tmp_path))
    monkeypatch.setattr("lab.kernel.archive.load_index", lambda _root: index(OTHERS))
    with pytest.raises(InfraError, match="linux-image-amd64"):
        resolve(Packaged())
