# SPDX-License-Identifier: GPL-2.0-or-later
"""The topic backup on real guests: what comes back, what a backup needs, which defects are seen."""

from __future__ import annotations

from pathlib import Path

from labrun import Lab, failed_checks, metrics

from lab.results.models import Outcome

SERIES = Path(__file__).parent / "series"
SOURCE = Path(__file__).parents[2] / "testcases" / "backup" / "bo_backup.c"
CASE = """\
# SPDX-License-Identifier: GPL-2.0-or-later
title: {scene} with the planted defect {defect}
question: Does a check of the workload see it?
workload: {source}
args: [--scene, {scene}, --swap-size, {swap}]
machines: [test-gpu]
memory: 320M
modules: [zram, lab_gpu defect={defect}]
"""
DEFECTS = {"corrupt-restore": ("contents", "192M", "content"), "leak": ("partial", "8M", "freed")}
"""A defect of the test GPU's driver; the scene and its swap, and the check that must see it."""

NATIVE_BLOCK = 1024
"""Pages of the largest block that TTM takes: what a backup in native order copies before it frees."""


def test_swapped_bos_come_back(lab: Lab) -> None:
    """What TTM swaps out itself comes back on 6.1; its backup came later, so that those cases are SKIP."""
    ran = lab("run", "backup/swapout", "backup/contents", "--kernel", "stock")
    assert ran.code == 0, ran.stderr
    seen = ran.by_case
    assert seen["swapout"].outcome is Outcome.PASS
    assert metrics(seen["swapout"])["read"] > 0
    assert seen["contents"].outcome is Outcome.SKIP
    assert "ttm_bo_shrink() came in 6.15" in seen["contents"].reason


def test_backed_up_bos_come_back(lab: Lab) -> None:
    """Stock 7.3 restores what was in swap, what a partial backup left, what a lack of memory cut short."""
    ran = lab("run", "backup/contents", "backup/partial", "backup/cut-short", "--kernel", "debian:7.3")
    assert ran.code == 0, ran.stderr
    seen = ran.by_case
    assert metrics(seen["contents"])["read"] > 0
    assert metrics(seen["partial"])["backed_up"] > 0
    assert metrics(seen["cut-short"])["left"] > 0


def test_defects_of_the_driver_are_seen(lab: Lab, tmp_path: Path) -> None:
    """A page lost in a restore, and pages that are not freed, each fail their check and no other."""
    for defect, (scene, swap, _) in DEFECTS.items():
        text = CASE.format(defect=defect, source=SOURCE, scene=scene, swap=swap)
        (tmp_path / f"{defect}.yaml").write_text(text)
    ran = lab("run", *(tmp_path / f"{defect}.yaml" for defect in DEFECTS), "--kernel", "debian:7.3")
    assert ran.code == 1, ran.stderr
    assert {name: failed_checks(trial) for name, trial in ran.by_case.items()} == {
        defect: {check} for defect, (_, _, check) in DEFECTS.items()
    }


def test_broken_restore_is_seen(lab: Lab) -> None:
    """A TTM that forgets what a partial backup left in memory fails the check `content` of that case."""
    ran = lab("run", "backup/partial", "--kernel", "debian:7.3", "--series", SERIES / "lose-rest.mbox")
    assert ran.code == 1, ran.stderr
    assert ran.trial.outcome is Outcome.FAIL
    assert failed_checks(ran.trial) == {"content"}


def test_page_wise_needs_less_at_once(lab: Lab) -> None:
    """7.3 takes memory for a block of 4 MiB before it frees any; with page-wise, for a few pages."""
    dip = {}
    for series in ((), ("--series", "backup/page-wise")):
        ran = lab("run", "backup/extra-memory", "--kernel", "debian:7.3", *series)
        assert ran.code == 0, ran.stderr
        dip["page-wise" if series else "stock"] = metrics(ran.trial)["dip"]
    assert dip["stock"] >= NATIVE_BLOCK
    assert dip["page-wise"] < NATIVE_BLOCK / 16


def test_other_kernels_are_skipped(lab: Lab) -> None:
    """Without fault injection, or without the preemption model, a trial is SKIP and says why."""
    ran = lab("run", "backup/injected", "backup/latency-none", "--kernel", "debian:7.3")
    seen = ran.by_case
    assert all(trial.outcome is Outcome.SKIP for trial in seen.values())
    assert "FAULT_INJECTION" in seen["injected"].reason
    assert "has not the model none" in seen["latency-none"].reason
