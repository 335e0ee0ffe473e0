# SPDX-License-Identifier: GPL-2.0-or-later
"""As in tests/vm: the `lab` command, with the user's cache and a state folder of the test's own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent.parent / "vm"))

from labrun import Lab, Ran, run_lab


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The LAB_STATE of this test, also for what it calls in this process."""
    folder = tmp_path / "state"
    monkeypatch.setenv("LAB_STATE", str(folder))
    return folder


@pytest.fixture
def lab(state: Path) -> Lab:
    """Runs `lab WORDS` with this test's state folder."""

    def run(*words: str | Path) -> Ran:
        return run_lab(*words, state=state)

    return run
