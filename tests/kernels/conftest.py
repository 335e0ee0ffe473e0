# SPDX-License-Identifier: GPL-2.0-or-later
"""As in tests/vm: the `lab` command, with the user's cache and a state folder of the test's own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent.parent / "vm"))

from labrun import Lab, Ran, run_lab


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """Runs `lab WORDS`; a build from nothing may take an hour where the machine is busy."""

    def run(*words: str | Path) -> Ran:
        return run_lab(*words, state=tmp_path / "state", seconds=4 * 3600)

    return run
