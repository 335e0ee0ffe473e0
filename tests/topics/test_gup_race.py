# SPDX-License-Identifier: GPL-2.0-or-later
"""The topic gup-race on real guests: direct I/O on a BO is refused, or the damage is found."""

from __future__ import annotations

from pathlib import Path

import pytest
from labrun import Lab, metrics

from lab.results.models import Outcome, Trial

WAYS = (
    "read",
    "write",
    "aio-read",
    "aio-write",
    "io_uring-read",
    "io_uring-write",
    "io_uring-fixed",
    "process_vm_readv",
    "process_vm_writev",
    "vmsplice",
)
"""The checks of gup-race/direct-io that are about get_user_pages()."""

FAST = frozenset(WAYS) - {"io_uring-fixed", "process_vm_readv", "process_vm_writev"}
"""Those that take pages without looking at the VMA first."""

CASE = """\
# SPDX-License-Identifier: GPL-2.0-or-later
title: {workload} with the planted defect {defect}
question: Does a check of the workload see it?
workload: {folder}/{workload}.c
args: [--driver, "{{driver}}", --defect, {defect}{more}]
machines: [qxl]
modules: [virtio_blk, page_walk]
disks: [{{size: 4M, bps: 100000}}]
clock: functional
memory: 256M
"""
DEFECTS = {
    ("take_pages", "ordinary"): "read",
    ("take_pages", "untouched"): "mapping",
    ("take_pages", "no-disk"): "control",
    ("race", "ordinary"): "refused",
    ("race", "no-free"): "recycled",
    ("race", "no-fill"): "recycled",
}
"""Workload and defect, and the check that must see it."""

SOURCES = Path(__file__).parents[2] / "testcases" / "gup-race"


def results(trial: Trial) -> dict[str, str]:
    """The result of each check by its name."""
    return {check.name: check.result for check in trial.checks}


@pytest.mark.parametrize("kernel", ["stock", "debian:7.3"])
def test_stock_refuses(lab: Lab, kernel: str) -> None:
    """A stock kernel answers EFAULT, and a BO that is freed then harms nobody: PASS with a clean log."""
    ran = lab("run", "gup-race/direct-io", "gup-race/race", "--kernel", kernel)
    assert ran.code == 0, ran.stderr
    trials = ran.by_case
    direct, race = trials["direct-io"], trials["race"]
    assert [results(direct)[way] for way in WAYS] == ["ok"] * len(WAYS)
    assert {check.detail for check in direct.checks if check.name in WAYS} == {"EFAULT"}
    assert (metrics(direct)["huge"], metrics(direct)["small"]) == (0, 2048)
    assert results(race)["control"] == "ok"
    assert metrics(race)["recycled"] > 0
    assert direct.splats == race.splats == ()


@pytest.mark.parametrize(
    ("kernel", "cases"), [("debian:6.12", ("direct-io",)), ("debian:7.3", ("direct-io", "race"))]
)
def test_special_entries_are_refused(lab: Lab, kernel: str, cases: tuple[str, ...]) -> None:
    """With special entries of 2 MiB in the page tables direct I/O is refused as well."""
    names = [f"gup-race/{case}" for case in cases]
    ran = lab("run", *names, "--kernel", kernel, "--series", "huge-pte/huge-pte")
    assert ran.code == 0, ran.stderr
    for trial in ran.trials:
        assert trial.outcome is Outcome.PASS
        assert metrics(trial)["huge"] == 4
        assert trial.splats == ()


def test_vgem_is_refused_on_a_stock_kernel(lab: Lab) -> None:
    """The huge entries that stock 7.x makes for vgem are refused too."""
    ran = lab("run", "gup-race/direct-io-vgem", "--kernel", "debian:7.3")
    assert ran.code == 0, ran.stderr
    assert metrics(ran.trial)["huge"] == 4


def test_unsafe_entries_corrupt_memory(lab: Lab) -> None:
    """On 6.1 with entries that are not special pages are taken, a victim is damaged, and a guest dies."""
    cases = ("direct-io", "race", "race-vmsplice", "race-tables")
    ran = lab("run", *(f"gup-race/{case}" for case in cases), "--series", "huge-pte/unsafe-huge-pte")
    assert ran.code == 1, ran.stderr
    trials = ran.by_case
    seen = results(trials["direct-io"])
    assert {way for way in WAYS if seen[way] == "not ok"} == FAST
    assert seen["references"] == "not ok"
    for case, damage in (("race", "overwritten"), ("race-vmsplice", "leaked")):
        assert trials[case].outcome is Outcome.FAIL
        assert results(trials[case])["refused"] == "not ok"
        assert results(trials[case])["in-flight"] == "ok"
        assert metrics(trials[case])[damage] > 0
        assert "BUG: Bad page state" in [splat.title for splat in trials[case].splats]
    assert trials["race-tables"].outcome is Outcome.CRASH
    # Most often "corrupted page table"; whoever walks them first, the MMU or the kernel, finds it.
    assert trials["race-tables"].splats


def test_io_that_ended_is_seen(lab: Lab, tmp_path: Path) -> None:
    """Where the I/O is accepted, but has ended before the BO is freed, the check `in-flight` says so."""
    case = tmp_path / "race-late.yaml"
    case.write_text(CASE.format(workload="race", defect="late", folder=SOURCES, more=", --hold, 128K"))
    ran = lab("run", case, "--series", "huge-pte/unsafe-huge-pte")
    assert results(ran.trial)["in-flight"] == "not ok"


def test_planted_defects_are_seen(lab: Lab, tmp_path: Path) -> None:
    """Each defect planted in the workloads fails the check that it was planted for."""
    for workload, defect in DEFECTS:
        more = ", --hold, 128K" if workload == "race" else ", --bytes, 64K"
        text = CASE.format(workload=workload, defect=defect, folder=SOURCES, more=more)
        (tmp_path / f"{workload}-{defect}.yaml").write_text(text)
    ran = lab("run", *sorted(tmp_path.glob("*.yaml")))
    trials = ran.by_case
    for (workload, defect), check in DEFECTS.items():
        trial = trials[f"{workload}-{defect}"]
        assert trial.outcome is Outcome.FAIL, (workload, defect, trial.reason)
        assert results(trial)[check] == "not ok", (workload, defect)
