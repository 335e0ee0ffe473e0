# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line, and a made-up run to show it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from commandline import CommandLine

from lab.results.runfolder import RunFolder, runs_dir

sys.path.append(str(Path(__file__).parents[1] / "report"))  # for made_up.py


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(monkeypatch, capfd)


@pytest.fixture
def run() -> RunFolder:
    """The demonstration's run, finished, in this test's state folder."""
    from made_up import pmd_size_run

    made = pmd_size_run(runs_dir())
    made.write(made.read().model_copy(update={"finished": True}))
    return made
