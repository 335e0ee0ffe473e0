# SPDX-License-Identifier: GPL-2.0-or-later
"""`lab validate` on series that are good, bad, or nothing at all: verdict, stage, reasons, exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from labrun import Lab, Ran

from lab.results.models import Conclusion, Outcome, Trial
from lab.spec.catalog import Catalog

SERIES = Path(__file__).parent / "series"
PMD_SIZE = Catalog.load().root / "prefault" / "series" / "pmd-size.mbox"
FIRST_TOUCH = "prefault/first-touch"


def by_role(ran: Ran) -> dict[str, list[Trial]]:
    """The trials of each kernel, in plan order."""
    return {role: [one for one in ran.trials if one.role == role] for role in ("base", "patched")}


def check_broken(ran: Ran, outcome: Outcome, title: str) -> Trial:
    """Base passes, patched does not: FAIL, exit 1, naming what was seen; returns the patched trial."""
    (base,), (patched,) = by_role(ran).values()
    assert ran.code == 1, ran.stderr
    assert base.outcome is Outcome.PASS
    assert patched.outcome is outcome
    assert title in patched.reason
    assert ran.verdict.verdict is Conclusion.FAIL
    assert ran.verdict.reasons[0] == (
        f"{FIRST_TOUCH} on qxl: passes on base, {outcome} on patched: {patched.reason}"
    )
    return patched


def test_pmd_size_trades_a_gain_for_a_stall(lab: Lab) -> None:
    """The lab's main job: PMD-sized prefault is FAIL for a stall 10 to 20 times as long, gain named."""
    ran = lab("validate", PMD_SIZE, "--json")
    assert ran.code == 1, ran.stderr
    result = json.loads(ran.stdout)
    assert (result["verdict"], result["stage"], result["clock"]) == ("FAIL", "compare", "virtual")
    rows = {(row["case"], row["metric"]): row for row in result["comparisons"]}
    longest, total = rows[FIRST_TOUCH, "touch_max"], rows[FIRST_TOUCH, "touch_total"]
    assert 10 < longest["patched"] / longest["base"] < 20
    assert -0.30 < total["change"] < -0.05
    assert (longest["decision"], total["decision"]) == ("worse", "better")
    reasons = result["reasons"]
    assert any(text.startswith(f"{FIRST_TOUCH}: longest touch") for text in reasons)
    assert any(text.startswith(f"gain: {FIRST_TOUCH}: total") for text in reasons)
    assert rows["prefault/second-touch", "touch_total"]["decision"] == "same"


def test_oops_is_crash(lab: Lab) -> None:
    """A NULL dereference in the fault handler kills the patched kernel: CRASH, titled with the function."""
    ran = lab("validate", SERIES / "oops.mbox", FIRST_TOUCH)
    patched = check_broken(ran, Outcome.CRASH, "BUG: kernel NULL pointer dereference in ttm_bo_vm_fault")
    assert (patched.stage, patched.splats[0].kind) == ("run", "oops")
    console = ran.file(patched, "console.log").read_text(errors="replace")
    assert "NULL pointer dereference" in console.splitlines()[patched.splats[0].line - 1]


def test_warning_fails_a_workload_that_passes(lab: Lab) -> None:
    """A WARN_ON in the fault handler is FAIL by the scan of the log; the workload's checks are all ok."""
    ran = lab("validate", SERIES / "warn.mbox", FIRST_TOUCH)
    patched = check_broken(ran, Outcome.FAIL, "kernel log: WARNING in ttm_bo_vm_fault")
    assert (patched.stage, patched.exit_status) == ("scan", 0)
    assert {check.result for check in patched.checks} == {"ok"}


def test_module_that_does_not_load_fails(lab: Lab) -> None:
    """A patched module that the kernel refuses is FAIL at stage boot, in the kernel's words."""
    ran = lab("validate", SERIES / "does-not-load.mbox", FIRST_TOUCH)
    patched = check_broken(ran, Outcome.FAIL, "ttm.ko: No such device")
    assert patched.stage == ran.verdict.stage == "boot"


@pytest.mark.usefixtures("two_processors")
def test_kernel_that_does_not_boot_is_told_once(lab: Lab) -> None:
    """A patched kernel that panics while booting is CRASH once, and SKIP in its other trials."""
    cases = ("smoke/boot", FIRST_TOUCH, "prefault/misaligned", "prefault/second-touch")
    ran = lab("validate", SERIES / "does-not-boot.mbox", *cases)
    assert ran.code == 1, ran.stderr
    trials = by_role(ran)
    assert [one.outcome for one in trials["base"]] == [Outcome.PASS] * 4
    first, *others = trials["patched"]
    assert first.outcome is Outcome.CRASH
    assert "kernel panic: ttm: planted by the lab's tests" in first.reason
    for one in others:
        assert one.outcome is Outcome.SKIP
        assert one.reason.startswith("not run: this kernel does not boot on qxl (CRASH in trial ")
    assert (ran.verdict.verdict, ran.verdict.stage) == (Conclusion.FAIL, "boot")
    assert ran.verdict.reasons[0].startswith("smoke/boot on qxl: passes on base, CRASH on patched")


def test_comment_changes_nothing_that_is_built(lab: Lab) -> None:
    """A series that changes only a comment is PASS, exit 0, without a boot: same bytes."""
    ran = lab("validate", SERIES / "comment.mbox")
    assert ran.code == 0, ran.stderr
    assert (ran.verdict.verdict, ran.verdict.stage) == (Conclusion.PASS, "build")
    assert "changes nothing that is built" in ran.verdict.reasons[0]
    assert ran.trials == []


def check_rejected(ran: Ran, stage: str, words: str) -> None:
    """FAIL at this stage, exit 1, with the tool's own words, and nothing was booted."""
    assert ran.code == 1, ran.stderr
    assert (ran.verdict.verdict, ran.verdict.stage) == (Conclusion.FAIL, stage)
    assert words in ran.verdict.reasons[0]
    assert ran.trials == []
    # stdout is wrapped to the terminal's width
    assert words.replace(" ", "") in "".join(ran.stdout.split())


def test_series_that_does_not_apply(lab: Lab) -> None:
    """A series whose context is not in the base is FAIL at stage apply, naming the patch and the place."""
    ran = lab("validate", SERIES / "does-not-apply.mbox")
    check_rejected(ran, "apply", "patch failed: drivers/gpu/drm/ttm/ttm_bo_vm.c:")
    assert (
        '"drm/ttm: prefault pages of a fault handler that nobody wrote" does not apply'
        in ran.verdict.reasons[0]
    )


def test_series_that_does_not_compile(lab: Lab) -> None:
    """A series that does not compile is FAIL at stage build, with the compiler's first error."""
    ran = lab("validate", SERIES / "does-not-compile.mbox")
    check_rejected(ran, "build", "error: 'pages_that_nobody_declared' undeclared")
    assert ran.verdict.reasons[0].startswith("does-not-compile does not build on debian:")
    assert "drivers/gpu/drm/ttm/ttm_bo_vm.c:" in ran.verdict.reasons[0]


def test_each_patch_boots_what_lies_between(lab: Lab) -> None:
    """Base and patched are alike, byte for byte, but after its first patch the module does not load: FAIL."""
    ran = lab("validate", SERIES / "mended-load.mbox", FIRST_TOUCH, "--each-patch")
    assert ran.code == 1, ran.stderr
    outcomes = {one.role: one.outcome for one in ran.trials}
    assert outcomes == {"base": Outcome.PASS, "patched": Outcome.PASS, "patch-1": Outcome.FAIL}
    assert (ran.verdict.verdict, ran.verdict.stage) == (Conclusion.FAIL, "boot")
    (reason,) = ran.verdict.reasons
    assert "patch 1" in reason
    assert "ttm.ko: No such device" in reason


def test_a_patch_in_the_middle_that_does_not_compile_is_named(lab: Lab) -> None:
    """Every patch is built, whether or not it is booted; the second one mends what the first one breaks."""
    ran = lab("validate", SERIES / "mended-compile.mbox", FIRST_TOUCH)
    check_rejected(ran, "build", "error: 'pages_that_nobody_declared' undeclared")
    assert 'with patch 1 "drm/ttm: break it (compile)"' in ran.verdict.reasons[0]
