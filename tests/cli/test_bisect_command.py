# SPDX-License-Identifier: GPL-2.0-or-later
"""`lab bisect`: what cannot be asked is refused before anything is fetched, built or booted."""

from __future__ import annotations

from pathlib import Path

import pytest
from commandline import CommandLine

from lab import files, proc
from lab.results.runfolder import runs_dir

CASE = "prefault/first-touch"
SERIES = files.shipped("testcases") / "prefault/series/pmd-size.mbox"


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ([], ["no case was named", "lab bisect CASE --good"]),
        (["smoke/bot"], ["there is no case smoke/bot", "did you mean smoke/boot?"]),
        ([CASE], ["needs --good and --bad, or --series"]),
        ([CASE, "--good", "debian:6.1"], ["needs --good and --bad"]),
        ([CASE, "--good", "v6.1", "--bad", "v6.2"], ["unknown kernel source v6.1", "tree:PATH"]),
        ([CASE, "--good", "tree:x", "--bad", "debian:6.1"], ["tree:x is no packaged kernel", "--tree PATH"]),
        ([CASE, "--metric", "stall_mx"], [f"{CASE} has no metric stall_mx", "known: |did you mean"]),
        ([CASE, "--metric", "touch_maxx"], ["has no metric touch_maxx", "did you mean touch_max"]),
        ([CASE, "--metric", "touch_max", "--threshold", "high"], ["high is no number", "midway"]),
        ([CASE, "--metric", "touch_max", "--threshold", "nan"], ["nan is no number"]),
        ([CASE, "--threshold", "12"], ["--threshold needs a metric"]),
        ([CASE, "--metric", "touch_max", "--signature", "BUG"], ["exclude each other"]),
        ([CASE, "--machine", "qx"], ["there is no machine qx", "did you mean qxl?"]),
        ([CASE, "--machine", "qxl", "--machine", "bochs"], ["on one machine"]),
        ([CASE, "--error", "0"], ["--error"]),
        ([CASE, "--base", "debian:6.1"], ["--base is what a series is for"]),
        ([CASE, "--series", str(SERIES)], ["has one patch: there is nothing to search", "lab validate"]),
        ([CASE, "--series", str(SERIES), "--good", "debian:6.1"], ["the ends are its base and all of it"]),
        ([CASE, "--first-parent", "--good", "debian:6.1", "--bad", "debian:6.2"], ["are about commits"]),
        ([CASE, "--tree", "/none", "--good", "a", "--bad", "b"], ["/none is in no git repository"]),
        (["--resume", "nix"], ["there is no run nix"]),
        (["--replay", "nix"], ["there is no run nix"]),
        ([CASE, "--resume", "nix"], ["take what is asked from the run", "lab bisect --resume nix"]),
        (["--replay", "x", "--resume", "y"], ["take what is asked from the run"]),
    ],
    ids=lambda value: " ".join(Path(word).name for word in value)[:40],
)
def test_what_cannot_be_asked(lab: CommandLine, words: list[str], answer: list[str]) -> None:
    """Exit code 2, a sentence and a hint; no run is begun."""
    said = lab("bisect", *words)
    said.check_refusal(2)
    for text in answer:
        assert any(word in said.stderr for word in text.split("|")), said.stderr
    assert list(runs_dir().iterdir()) == []


def test_a_tree_without_the_revision(lab: CommandLine, tmp_path: Path) -> None:
    """The nearest branches and tags are named."""
    git = ["git", "-C", str(tmp_path), "-c", "user.name=t", "-c", "user.email=t@faultlab.example"]
    for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "x"], ["tag", "v6.12"]):
        proc.run([*git, *words], timeout=60)
    said = lab("bisect", CASE, "--tree", tmp_path, "--good", "v6.11", "--bad", "v6.12")
    said.check_refusal(2, "has no revision v6.11", "did you mean v6.12?")


def test_a_file_that_is_no_log(lab: CommandLine, tmp_path: Path) -> None:
    """Named with the line."""
    (tmp_path / "x.log").write_text("hello\n")
    lab("bisect", "--replay", tmp_path / "x.log").check_refusal(
        2, "x.log:1: this is no line of a bisection's log"
    )
    (tmp_path / "x.log").write_text("")
    lab("bisect", "--replay", tmp_path / "x.log").check_refusal(2, "does not begin as the log of a bisection")
