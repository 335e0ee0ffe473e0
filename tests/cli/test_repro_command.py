# SPDX-License-Identifier: GPL-2.0-or-later
"""`lab repro` and `lab list regressions` as far as they boot nothing: names, mistakes, skeletons."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from commandline import CommandLine

from lab import files, proc
from lab.spec.catalog import Catalog
from lab.spec.regression_file import load_regression


def test_list_regressions(lab: CommandLine) -> None:
    """Each with its first good and bad kernel."""
    rows = {row["regression"]: row for row in lab("list", "regressions", "--json").json}
    assert len(rows) >= 11
    assert (rows["ttm-madvise"]["good"], rows["ttm-madvise"]["bad"]) == ("5.10", "6.1")
    assert "kvm-ttm-bo" in lab("list", "regressions").stdout


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("repro",), ("no regression was named", "kvm-ttm-bo")),
        (("repro", "kvm-ttm"), ("there is no regression kvm-ttm", "did you mean kvm-ttm-bo")),
        (("repro", "kvm-ttm-bo", "--all"), ("exclude each other",)),
        (("repro", "./nothing.yaml"), ("cannot read nothing.yaml",)),
        (("repro", "--resume", "nothing"), ("there is no run nothing",)),
        (("repro", "new", "Bad Name"), ("is no name for a regression",)),
        (("repro", "new", "new"), ("is no name for a regression",)),
        (("repro", "new", "kvm-ttm-bo"), ("the catalogue has a regression kvm-ttm-bo",)),
        (("repro", "new", "x", "--machine", "qxxl"), ("there is no machine qxxl", "did you mean qxl")),
        (("repro", "new", "x", "--good", "debain:6.1"), ("unknown kernel source debain:6.1",)),
        (("repro", "new", "x", "--good", "stock", "--bad", "stock"), ("stock cannot be good and bad",)),
        (("repro", "new", "x", "--report", "not a link"), ("not a link is no link",)),
    ],
)
def test_mistakes(
    lab: CommandLine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    told: tuple[str, ...],
) -> None:
    """A sentence on stderr, exit code 2, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    lab(*words).check_refusal(2, *told)
    assert list(tmp_path.iterdir()) == []


def test_every_problem_of_every_file_is_told(lab: CommandLine, tmp_path: Path) -> None:
    """Not only that of the first one."""
    for name in ("one", "two"):
        (tmp_path / f"{name}.yaml").write_text("title: 5\n")
    said = lab("repro", str(tmp_path / "one.yaml"), str(tmp_path / "two.yaml"))
    said.check_refusal(2, "one.yaml:1:8: title: expected text", "two.yaml:1:1: missing key 'good'")


def test_skeleton_is_right_and_is_not_overwritten(lab: CommandLine, tmp_path: Path) -> None:
    """Four files that others can read; they load, the program builds without a warning, TODOs are left."""
    link = "https://lore.kernel.org/all/20241010182427.1434605-1-seanjc@google.com/"
    words = ("repro", "new", "my-one", "--good", "debian:5.10", "--bad", "stock", "--report", link)
    said = lab(*words, "--in", str(tmp_path))
    assert said.code == 0, said.stderr
    folder = tmp_path / "my-one"
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        "my-one-case.yaml",
        "my-one.yaml",
        "my_one.c",
    ]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755
    loaded = load_regression(folder / "my-one.yaml", Catalog.load())
    assert (loaded.regression.report.kind, loaded.regression.report.links) == ("reported", (link,))
    assert (loaded.regression.good[0].kernel, loaded.regression.bad[0].kernel) == ("debian:5.10", "stock")
    assert loaded.case.name == "local/my-one-case"
    flags = [
        "-O2",
        "-std=gnu11",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-I",
        str(files.shipped("testcases") / "include"),
    ]
    proc.run(["gcc", *flags, "-o", str(tmp_path / "program"), str(folder / "my_one.c")], timeout=60)
    assert all("TODO" in path.read_text() for path in folder.iterdir())
    assert not any("@" in path.read_text().replace(link, "") for path in folder.iterdir())

    (folder / "README.md").write_text("mine")
    again = lab(*words, "--in", str(tmp_path))
    again.check_refusal(2, "is there already")
    assert (folder / "README.md").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir() if path.name != "program"] == ["my-one"]
