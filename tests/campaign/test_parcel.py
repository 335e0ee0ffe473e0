# SPDX-License-Identifier: GPL-2.0-or-later
"""A trial as bytes: what is packed comes out again, and bytes from a hostile guest write nothing."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
import stand_ins
from hypothesis import given
from hypothesis import strategies as st

from lab.campaign import parcel
from lab.campaign.parcel import MAGIC, ParcelError, pack, unpack
from lab.errors import InfraError
from lab.results.runfolder import write_record

TRIAL = stand_ins.trial()


@pytest.fixture
def packed(tmp_path: Path) -> bytes:
    """A trial with a console, a script and a sample."""
    folder = empty(tmp_path / "there")
    write_record(folder / "trial.json", TRIAL)
    (folder / "console.log").write_bytes(b"[    0.0] Linux\n\x00\xff")
    (folder / "qemu.cmd").write_text("#!/bin/sh\n")
    (folder / "samples/touches.txt").write_text("page insn\n")
    return pack(folder)


def empty(folder: Path) -> Path:
    (folder / "samples").mkdir(parents=True)
    return folder


def sealed(body: bytes) -> bytes:
    """With the right last line, so that only the body is wrong."""
    return body + f"end {hashlib.sha256(body).hexdigest()}\n".encode()


def record() -> bytes:
    data = TRIAL.model_dump_json().encode()
    return b"trial.json %d\n" % len(data) + data


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_comes_out_as_it_went_in(packed: bytes, tmp_path: Path) -> None:
    """Every file, byte for byte, and the trial."""
    folder = empty(tmp_path / "here")
    assert unpack(packed, folder, TRIAL.key) == TRIAL
    assert files_in(folder) == ["console.log", "qemu.cmd", "samples/touches.txt", "trial.json"]
    assert (folder / "console.log").read_bytes() == b"[    0.0] Linux\n\x00\xff"
    assert os.access(folder / "qemu.cmd", os.X_OK)
    assert not os.access(folder / "console.log", os.X_OK)


def refused(data: bytes, tmp_path: Path) -> str:
    """Why it was refused; nothing may have been written."""
    folder = empty(tmp_path / "here")
    with pytest.raises(ParcelError) as caught:
        unpack(data, folder, TRIAL.key)
    assert files_in(folder) == []
    return caught.value.message


@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "/etc/passwd",
        "samples/../x",
        ".hidden",
        "a/b",
        "samples/.x",
        "x" * 65,
        "samples/",
        "samples",
    ],
)
def test_names_that_lead_elsewhere(name: str, tmp_path: Path) -> None:
    """A name that is no trial's file is refused, whatever else is right."""
    body = MAGIC + record() + f"{name} 1\n".encode() + b"x"
    assert "cannot have the file" in refused(sealed(body), tmp_path)


def test_the_same_name_twice(tmp_path: Path) -> None:
    """The second one would replace the first."""
    assert "cannot have the file" in refused(sealed(MAGIC + record() + record()), tmp_path)


def test_too_many_files(tmp_path: Path) -> None:
    """The number of files has a limit."""
    many = b"".join(b"f%d 0\n" % number for number in range(parcel.MAX_FILES))
    assert "cannot have the file" in refused(sealed(MAGIC + record() + many), tmp_path)


def test_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All bytes together have a limit, on the way in and on the way out."""
    monkeypatch.setattr(parcel, "MAX_BYTES", 1000)
    assert "too large" in refused(sealed(MAGIC + record() + b"big 100000\n" + bytes(100_000)), tmp_path)
    (tmp_path / "large").mkdir()
    (tmp_path / "large/x").write_bytes(bytes(1001))
    with pytest.raises(InfraError, match="in all"):
        pack(tmp_path / "large")


def test_another_trial(packed: bytes, tmp_path: Path) -> None:
    """The result of another trial is none of this one."""
    folder = empty(tmp_path / "here")
    with pytest.raises(ParcelError, match="has trial"):
        unpack(packed, folder, "0002-other")
    assert files_in(folder) == []


def test_a_record_that_is_none(tmp_path: Path) -> None:
    """trial.json is a Trial, or nothing is believed."""
    assert "trial.json" in refused(sealed(MAGIC + b"trial.json 2\n{}"), tmp_path / "wrong")
    assert "no trial.json" in refused(sealed(MAGIC), tmp_path / "none")


@pytest.mark.parametrize("change", ["cut", "flip", "more"])
def test_damage(change: str, packed: bytes, tmp_path: Path) -> None:
    """A byte that is missing, changed or too much."""
    at = packed.index(b"Linux")
    flipped = packed[:at] + b"l" + packed[at + 1 :]
    refused({"cut": packed[:-1], "flip": flipped, "more": packed + b"x"}[change], tmp_path)


@given(st.binary(max_size=200))
def test_any_bytes(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    """Whatever comes, the answer is a ParcelError."""
    refused(MAGIC + data, tmp_path_factory.mktemp("any"))


def test_links_are_not_packed(tmp_path: Path) -> None:
    """A link in the folder could show a file of the host that packs."""
    (tmp_path / "console.log").symlink_to("/etc/passwd")
    with pytest.raises(InfraError, match="cannot hold"):
        pack(tmp_path)
