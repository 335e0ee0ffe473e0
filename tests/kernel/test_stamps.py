# SPDX-License-Identifier: GPL-2.0-or-later
"""Files that change back and forth have the times that make should see."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lab.kernel.objects import remove_half_written
from lab.kernel.stamps import as_last_built


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "src/a.c"
    path.parent.mkdir()
    write(path, "one", 100)
    return path


def write(path: Path, text: str, when: int) -> None:
    path.write_text(text)
    os.utime(path, (when, when))


def built_at(file: Path, memory: Path) -> float:
    """The time that make sees."""
    with as_last_built(file.parent, memory, ["a.c"]):
        return file.stat().st_mtime


def test_content_that_was_built_keeps_its_time(file: Path, tmp_path: Path) -> None:
    """Only content other than that last built is new to make; outside, the true times are seen."""
    memory = tmp_path / "stamps.json"
    assert built_at(file, memory) == 100
    write(file, "one", 200)
    assert built_at(file, memory) == 100
    assert file.stat().st_mtime == 200
    write(file, "two", 300)
    assert built_at(file, memory) == 300
    write(file, "one", 400)
    assert built_at(file, memory) == 400


def test_paths_of_an_earlier_series_are_remembered(file: Path, tmp_path: Path) -> None:
    """A file that another series touched is looked at, though this one does not touch it."""
    memory = tmp_path / "stamps.json"
    built_at(file, memory)
    write(file, "one", 200)
    with as_last_built(file.parent, memory, []):
        assert file.stat().st_mtime == 100


def test_killed_in_between(file: Path, tmp_path: Path) -> None:
    """Another object tree of the same source sees true times, also after a lab was killed with others set."""
    memory, other = tmp_path / "stamps.json", tmp_path / "other.json"
    built_at(file, memory)
    write(file, "one", 200)
    killed = as_last_built(file.parent, memory, ["a.c"])
    killed.__enter__()
    assert file.stat().st_mtime == 100
    assert built_at(file, other) == 200


def test_half_written_objects_are_removed(tmp_path: Path) -> None:
    """After a kill, objects of the last moments go, older ones and generated headers stay."""
    for name, when in (("old.o", 100), ("late.o", 1000), ("late.h", 1000), ("sub/late.ko", 995)):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        write(path, "x", when)
    (tmp_path / "tool").write_bytes(b"\x7fELF half")
    os.utime(tmp_path / "tool", (999, 999))
    remove_half_written(tmp_path)
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == ["late.h", "old.o"]
