# SPDX-License-Identifier: GPL-2.0-or-later
"""The topic dma-buf on real guests: what a mapping says of itself is what happens to it."""

from __future__ import annotations

from pathlib import Path

from labrun import Lab, failed_checks

from lab.results.models import Outcome, Trial

GUP = ("read", "write", "aio-read", "aio-write", "io_uring-read", "process_vm_readv", "vmsplice")
"""Ways that take pages, as far as every kernel allows them on ordinary memory."""

CASE = """\
# SPDX-License-Identifier: GPL-2.0-or-later
title: map_dma_buf with the planted defect {defect}
question: Does a check of the workload see it?
workload: {folder}/map_dma_buf.c
args: [--exporter, vgem, --defect, {defect}]
machines: [qxl]
modules: [vgem, virtio_blk, page_walk]
disks: [{{size: 16M}}]
"""
DEFECTS = {
    "ordinary": {"pfnmap", "memory"},
    "untouched": {"mapping"},
    "spoil": {"buffered"},
}
"""A defect, and the checks that must see it."""

SOURCES = Path(__file__).parents[2] / "testcases" / "dma-buf"


def details(trial: Trial) -> dict[str, str]:
    """What each check saw, by its name."""
    return {check.name: check.detail for check in trial.checks}


def test_pages_are_taken_on_5_10(lab: Lab) -> None:
    """On 5.10 vgem's dma-buf is ordinary memory, direct I/O works, and `pfnmap` is expected to fail."""
    ran = lab("run", "dma-buf/vgem", "dma-buf/udmabuf", "--kernel", "debian:5.10")
    assert ran.code == 0, ran.stderr
    trials = ran.by_case
    vgem = trials["vgem"]
    assert (vgem.outcome, bool(vgem.expected)) == (Outcome.FAIL, True)
    assert [check.name for check in vgem.checks if check.result == "not ok"] == ["pfnmap"]
    assert all(details(vgem)[way].endswith(" bytes") for way in GUP)
    assert trials["udmabuf"].outcome is Outcome.SKIP
    assert "UDMABUF" in trials["udmabuf"].reason


def test_pages_are_refused_on_7(lab: Lab) -> None:
    """On 7.3 shmem, a memfd behind udmabuf and TTM give VM_PFNMAP, by 2 MiB where it can be, and EFAULT."""
    ran = lab("run", "dma-buf/vgem-huge", "dma-buf/udmabuf", "dma-buf/test-gpu", "--kernel", "debian:7.3")
    assert ran.code == 0, ran.stderr
    trials = ran.by_case
    for trial in trials.values():
        seen = details(trial)
        assert seen["mapping"].startswith("VM_PFNMAP")
        assert {seen[way] for way in GUP} == {"EFAULT"}
        assert seen["buffered"] == "1048576 bytes"
    assert "2 special entries of 2 MiB" in details(trials["vgem-huge"])["mapping"]


def test_planted_defects_are_seen(lab: Lab, tmp_path: Path) -> None:
    """Each defect planted in map_dma_buf fails the checks that it was planted for."""
    for defect in DEFECTS:
        (tmp_path / f"{defect}.yaml").write_text(CASE.format(defect=defect, folder=SOURCES))
    ran = lab("run", *sorted(tmp_path.glob("*.yaml")))
    assert ran.code == 1, ran.stderr
    trials = ran.by_case
    for defect, checks in DEFECTS.items():
        assert checks <= failed_checks(trials[defect]), defect
