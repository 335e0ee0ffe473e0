# SPDX-License-Identifier: GPL-2.0-or-later
"""The test GPU does what it says on the oldest, a middle and the newest kernel; its defects are noticed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from labrun import Lab, failed_checks

from lab import files
from lab.results.models import Outcome

TESTCASES = files.shipped("testcases")
CASES = TESTCASES / "test-gpu"
GAUGES = {"live_bos", "live_pages", "pending_fences"}


def variant(tmp_path: Path, name: str, *, change: tuple[str, str]) -> Path:
    """A copy of a shipped case with one text replaced, which must be there."""
    text = (CASES / f"{name}.yaml").read_text()
    old, new = change
    assert old in text
    text = text.replace(old, new)
    source = next(line.split(": ")[1] for line in text.splitlines() if line.startswith("workload: "))
    path = tmp_path / f"{name}.yaml"
    path.write_text(text.replace(f"workload: {source}", f"workload: {CASES / source}"))
    return path


@pytest.mark.parametrize("kernel", ["stock", "debian:6.12", "debian:7.3"])
def test_selftest_passes(lab: Lab, kernel: str) -> None:
    """Each ioctl does what it says; huge entries are special from 6.12 on, backup is there from 6.15 on."""
    ran = lab("run", "test-gpu/selftest", "--kernel", kernel, "--clock", "real")
    assert ran.trial.outcome is Outcome.PASS, (ran.trial.reason, failed_checks(ran.trial))
    names = {check.name for check in ran.trial.checks}
    assert {"swapin-content", "huge-system", "fault-waits", "export-zapped", "pin", *GAUGES} <= names
    assert ("backup-content" in names) == (kernel == "debian:7.3")


def test_each_defect_is_noticed(lab: Lab) -> None:
    """The selftest fails, in the check that is meant for it, for every defect that the driver knows."""
    ran = lab("run", "test-gpu/defects", "--kernel", "debian:7.3")
    assert ran.trial.outcome is Outcome.PASS, (ran.trial.reason, failed_checks(ran.trial))
    source = (TESTCASES / "driver/lab_gpu/lab_gpu_defect.c").read_text()
    known = set(re.findall(r'\[LAB_GPU_DEFECT_\w+\] = "([a-z-]+)"', source)) - {"none"}
    assert len(known) >= 6
    assert {check.name for check in ran.trial.checks} == known


def test_defect_fails_the_case(lab: Lab, tmp_path: Path) -> None:
    """A defect given as the module's parameter makes the trial FAIL, and only what it broke is not ok."""
    case = variant(tmp_path, "selftest", change=("modules: [", "modules: [lab_gpu defect=order-ignored, "))
    ran = lab("run", case, "--clock", "real")
    assert (ran.trial.outcome, ran.code) == (Outcome.FAIL, 1)
    assert failed_checks(ran.trial) == {"order-0", "order-3", "order-9"}


def test_stress_leaves_nothing(lab: Lab, tmp_path: Path) -> None:
    """Eight threads with all ioctls for three seconds: each was done, and no BO, page or fence is left."""
    case = variant(tmp_path, "stress", change=('"10"', '"3"'))
    ran = lab("run", case, "--kernel", "debian:7.3")
    assert ran.trial.outcome is Outcome.PASS, (ran.trial.reason, failed_checks(ran.trial))
    assert {"content", "errors", "memory", "did-backup", *GAUGES} <= {c.name for c in ran.trial.checks}


def test_stress_notices_a_leak(lab: Lab, tmp_path: Path) -> None:
    """Pages that are not freed are missed by the driver's counter and in the free memory."""
    case = variant(tmp_path, "stress", change=("modules: [", "modules: [lab_gpu defect=leak, "))
    ran = lab("run", case, "--kernel", "debian:7.3")
    assert ran.trial.outcome is Outcome.FAIL
    assert failed_checks(ran.trial) == {"live_pages", "memory"}


def test_long_stress_is_for_debug_kernels(lab: Lab) -> None:
    """Ten minutes are spent only where KASAN and lockdep watch: SKIP elsewhere, with the reason."""
    ran = lab("run", "test-gpu/stress-long")
    assert ran.trial.outcome is Outcome.SKIP
    assert "KASAN" in ran.trial.reason


def test_touching_works_as_on_any_gpu(lab: Lab) -> None:
    """bo_touch finds the test GPU by its driver's name and counts its faults."""
    ran = lab("run", "prefault/first-touch", "--machine", "test-gpu")
    assert ran.trial.outcome is Outcome.PASS, ran.trial.reason
