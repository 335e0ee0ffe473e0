# SPDX-License-Identifier: GPL-2.0-or-later
"""What `lab answer` refuses before it boots anything, and what it leaves unwritten."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from lab.cli.main import run_command_line
from lab.results.runfolder import RunFolder
from lab.workflow.answer import Answers, TopicResult, writable


def result(*, open_: tuple[str, ...] = ()) -> TopicResult:
    return TopicResult("t", 1.0, 2, {"CRASH": 2}, "### T\n", open_, None)


def test_crashes_are_an_answer_and_holes_are_none() -> None:
    """The exit code is about the lab, not about the kernels."""
    run = RunFolder(Path("r"))
    assert Answers(run, (result(), result())).exit_code == 0
    assert Answers(run, (result(), result(open_=("not run",)))).exit_code == 125


def test_installed_tree_is_left_as_it_is(tmp_path: Path) -> None:
    """Whoever may write there: what a wheel has installed is not a checkout."""
    for folder, expected in (("checkout/testcases/t", True), ("lab/_shipped/testcases/t", False)):
        readme = tmp_path / folder / "README.md"
        readme.parent.mkdir(parents=True)
        readme.touch()
        assert writable(readme) is expected
    assert not writable(tmp_path / "gone/README.md")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "no topic was named"),
        (["nothing-of-the-sort"], "there is no topic nothing-of-the-sort with an answer.yaml"),
        (["prefault", "--all"], "TOPICs, --all and --resume exclude each other"),
        (["--all", "--resume", "latest"], "TOPICs, --all and --resume exclude each other"),
        (["--resume", "latest"], "there is no run latest"),
    ],
)
def test_wrong_use_is_told(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    """Usage errors end with 2 and say what to do."""
    monkeypatch.setattr(sys, "argv", ["lab", "answer", *words])
    assert run_command_line() == 2
    assert message in capfd.readouterr().err
