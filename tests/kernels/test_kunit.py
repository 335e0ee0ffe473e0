# SPDX-License-Identifier: GPL-2.0-or-later
"""lean+drm+kunit built and booted: the kernel's own unit tests, and a defect of TTM that one of them sees."""

from __future__ import annotations

from pathlib import Path

from labrun import Lab, failed_checks

from lab.results.models import Outcome

KERNEL = ("--kernel", "source:6.12", "--kconfig", "lean+drm+kunit")
SERIES = Path(__file__).parent / "series"
TTM = {"ttm_bo_validate", "ttm_pool", "ttm_resource", "ttm_tt"}


def test_suites_pass(lab: Lab) -> None:
    """Every suite that a case names is there, and none of its tests fails."""
    ran = lab("run", "kunit", *KERNEL)
    assert ran.code == 0, ran.stderr
    assert {name: trial.outcome for name, trial in ran.by_case.items()} == {
        "drm": Outcome.PASS,
        "ttm": Outcome.PASS,
    }
    ttm, drm = (
        {one.name for one in ran.by_case[name].checks if one.result == "ok"} for name in ("ttm", "drm")
    )
    assert {name for name in ttm if "/" not in name} == TTM
    assert "ttm_tt/ttm_tt_init_misaligned" in ttm
    assert {"drm_format", "drm_mm", "drm_gem_shmem"} <= drm


def test_defect_is_seen(lab: Lab) -> None:
    """A TTM that counts too few pages fails the test that asks for it, and the suite of that test."""
    ran = lab("run", "kunit/ttm", *KERNEL, "--series", SERIES / "short-tt.mbox")
    assert ran.code == 1, ran.stderr
    assert ran.trial.outcome is Outcome.FAIL
    assert {"ttm_tt", "ttm_tt/ttm_tt_init_misaligned"} <= failed_checks(ran.trial)


def test_other_kernels_are_left_out(lab: Lab) -> None:
    """A kernel without the modules is SKIP, and says what it would need."""
    ran = lab("run", "kunit/ttm")
    assert ran.trial.outcome is Outcome.SKIP
    assert "lean+drm+kunit" in ran.trial.reason
