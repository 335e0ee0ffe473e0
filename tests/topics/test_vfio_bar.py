# SPDX-License-Identifier: GPL-2.0-or-later
"""The topic vfio on real guests: what a fault maps of a BAR, and what a guest pays whose memory it is."""

from __future__ import annotations

from pathlib import Path

import pytest
from labrun import Lab, failed_checks, metrics

from lab.results.models import Outcome

CASES = ("vfio/aligned", "vfio/misaligned")
PAGES, HUGE = 16384, 32
"""Of a BAR of 64 MiB: pages of 4 KiB, and of 2 MiB."""

SOURCE = Path(__file__).parents[2] / "testcases" / "vfio" / "touch_bar.c"
CASE = """\
# SPDX-License-Identifier: GPL-2.0-or-later
title: the planted defect {defect}
question: Does a check of the workload see it?
workload: {source}
args: [--defect, {defect}]
machines: [vfio-host]
cmdline: [intel_iommu=on]
modules: ["vfio-pci ids=1af4:1110", kvm-amd, page_walk]
"""
DEFECTS = {
    "astray": {"placed", "vm-placed"},
    "untouched": {"arrived", "vm-arrived"},
    "elsewhere": {"arrived"},
}
"""Each defect, and the checks that must see it."""


def test_whole_bar_at_the_first_fault(lab: Lab) -> None:
    """6.1 maps all of it at once, by 4 KiB, wherever it is; a guest still exits once for each page."""
    ran = lab("run", *CASES, "--kernel", "debian:6.1")
    assert ran.code == 0, ran.stderr
    for name, trial in ran.by_case.items():
        seen = metrics(trial)
        assert (seen["faults"], seen["first_pages"], seen["huge"]) == (1, PAGES, 0), name
        assert (seen["vm_exits"], seen["vm_faults"], seen["vm_again_faults"]) == (PAGES + 1, 1, 0), name


@pytest.mark.parametrize("kernel", ["debian:6.12", "debian:7.3"])
def test_huge_faults_where_address_and_bar_agree(lab: Lab, kernel: str) -> None:
    """From 6.12 on a fault maps 2 MiB of an aligned BAR and the guest exits 33 times; one page off, 4 KiB."""
    ran = lab("run", *CASES, "--kernel", kernel)
    assert ran.code == 0, ran.stderr
    aligned, off = metrics(ran.by_case["aligned"]), metrics(ran.by_case["misaligned"])
    assert (aligned["faults"], aligned["first_pages"], aligned["huge"]) == (HUGE, 512, HUGE)
    assert (aligned["vm_exits"], aligned["vm_npf"], aligned["vm_huge"]) == (HUGE + 1, HUGE, HUGE)
    assert (off["faults"], off["first_pages"], off["huge"]) == (PAGES, 1, 0)
    assert (off["vm_exits"], off["vm_npf"], off["vm_faults"]) == (PAGES + 1, PAGES, PAGES)


def test_kernel_without_huge_faults_is_worse(lab: Lab) -> None:
    """A vfio-pci that has lost them is FAIL, by the faults and by the exits."""
    series = Path(__file__).parent / "series" / "vfio-no-huge-fault.mbox"
    ran = lab("validate", series, "vfio/aligned", "--base", "debian:6.12")
    assert ran.code == 1, ran.stderr
    exits = {trial.role: metrics(trial)["vm_exits"] for trial in ran.trials}
    assert exits == {"base": HUGE + 1, "patched": PAGES + 1}


def test_planted_defects_are_seen(lab: Lab, tmp_path: Path) -> None:
    """Each defect planted in the workload fails the checks that it was planted for."""
    for defect in DEFECTS:
        (tmp_path / f"{defect}.yaml").write_text(CASE.format(defect=defect, source=SOURCE))
    trials = lab("run", *sorted(tmp_path.glob("*.yaml")), "--kernel", "debian:6.12").by_case
    for defect, checks in DEFECTS.items():
        assert trials[defect].outcome is Outcome.FAIL, (defect, trials[defect].reason)
        assert checks <= failed_checks(trials[defect]), defect


def test_without_an_iommu_it_says_so(lab: Lab, tmp_path: Path) -> None:
    """With the IOMMU off the case fails in the check `device`, which names what is missing."""
    text = CASE.format(defect="none", source=SOURCE).replace("intel_iommu=on", "intel_iommu=off")
    (tmp_path / "off.yaml").write_text(text)
    trial = lab("run", tmp_path / "off.yaml", "--kernel", "debian:6.12").trial
    assert (trial.outcome, failed_checks(trial)) == (Outcome.FAIL, {"device"})
