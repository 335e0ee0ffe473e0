# SPDX-License-Identifier: GPL-2.0-or-later
"""Real guests, started as a user starts them: with the user's cache of packages and built modules, and with a
state folder (runs, dry runs) that belongs to the test."""

from __future__ import annotations

from pathlib import Path

import pytest
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
