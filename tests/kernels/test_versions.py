# SPDX-License-Identifier: GPL-2.0-or-later
"""lean+drm built from the archive's source packages, booted, and asked the first question of all.

`make test-kernels`: some ten minutes for each version the first time, seconds when nothing changed.
"""

from __future__ import annotations

import re

import pytest
from labrun import Lab

VERSIONS = ("5.10", "6.1", "6.12", "7.3")
"""The oldest, the two of the current stable release, and the newest in the archive."""


@pytest.mark.parametrize("version", VERSIONS)
def test_builds_boots_and_answers(lab: Lab, version: str) -> None:
    """The version builds without a lost option, boots, and TTM maps 16 pages a fault on qxl."""
    ran = lab("run", "prefault/first-touch", "--kernel", f"source:{version}", "--kconfig", "lean+drm")
    assert ran.code == 0, ran.stderr
    trial = ran.trial
    faults = trial.value("faults")
    assert faults is not None
    assert 120 <= faults.value <= 130
    (kernel,) = ran.run.kernels().values()
    assert re.match(rf"{re.escape(version)}\.", kernel.version)
    assert kernel.kconfig == "lean+drm"
    assert kernel.debug_options == ()


def test_never_built_twice(lab: Lab) -> None:
    """Asked again, a version is taken from the cache."""
    first, second = (lab("run", "smoke/boot", "--kernel", "source:6.12") for _ in range(2))
    assert first.code == second.code == 0, second.stderr
    assert "building source:6.12" not in second.stderr
