# SPDX-License-Identifier: GPL-2.0-or-later
"""The key `files`: data that a case hands to its workload."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.campaign.trial import guest_files
from lab.errors import SpecError, UserError
from lab.spec.catalog import MAX_FILE, Catalog

CASE = """title: t
question: q
machines: [qxl]
workload: w.c
files: {trace: data/a.trace, b: b.bin}
"""


@pytest.fixture
def case_path(tmp_path: Path) -> Path:
    """A local case with two files."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.trace").write_text("A")
    (tmp_path / "b.bin").write_bytes(b"\0B")
    (tmp_path / "w.c").write_text("int main(void) { return 0; }\n")
    path = tmp_path / "c.yaml"
    path.write_text(CASE)
    return path


def test_files_reach_the_guest(case_path: Path) -> None:
    """Each file is in the guest's orders, under its name and whole."""
    case = Catalog.load().case(str(case_path))
    assert guest_files(case) == {"/lab/files/trace": b"A", "/lab/files/b": b"\0B"}


def test_files_decide_what_a_case_measures(case_path: Path) -> None:
    """Another content, or another header beside the workload, is another digest."""
    before = Catalog.load().case(str(case_path)).digest
    (case_path.parent / "b.bin").write_bytes(b"C")
    other = Catalog.load().case(str(case_path)).digest
    (case_path.parent / "own.h").write_text("")
    assert len({before, other, Catalog.load().case(str(case_path)).digest}) == 3


def test_missing_and_huge_files_are_told_at_their_place(case_path: Path) -> None:
    """What is not there, and what no initramfs should carry, is a problem of the YAML."""
    (case_path.parent / "b.bin").unlink()
    with (case_path.parent / "data" / "a.trace").open("wb") as file:
        file.truncate(MAX_FILE + 1)
    with pytest.raises(SpecError) as caught:
        Catalog.load().case(str(case_path))
    assert len(caught.value.problems) == 2
    assert all(":5:" in problem for problem in caught.value.problems)


def test_file_that_vanished_is_told(case_path: Path) -> None:
    """A file that goes between reading the case and booting is a UserError."""
    case = Catalog.load().case(str(case_path))
    (case_path.parent / "b.bin").unlink()
    with pytest.raises(UserError, match="cannot read"):
        guest_files(case)


@pytest.mark.parametrize("line", ["files: {../x: b.bin}", "files: {a: 1}", "files: [a]"])
def test_wrong_names_are_refused(case_path: Path, line: str) -> None:
    """A name is a plain word, and a path is text."""
    case_path.write_text(CASE.replace("files: {trace: data/a.trace, b: b.bin}", line))
    with pytest.raises(SpecError):
        Catalog.load().case(str(case_path))


def test_files_need_a_workload(case_path: Path) -> None:
    """Who would read them?"""
    case_path.write_text(CASE.replace("workload: w.c\n", ""))
    with pytest.raises(SpecError, match="'files' without a workload"):
        Catalog.load().case(str(case_path))
