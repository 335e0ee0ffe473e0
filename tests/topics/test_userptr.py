# SPDX-License-Identifier: GPL-2.0-or-later
"""The topic userptr on real guests: pins keep pages in place, mirrors do not; defects are seen."""

from __future__ import annotations

from pathlib import Path

import pytest
from labrun import Lab, failed_checks, metrics

from lab.results.models import Outcome

PAGES = 4096
"""Of userptr/move."""

CASE = """\
# SPDX-License-Identifier: GPL-2.0-or-later
title: {program} with the planted defect {defect}
question: Does a check of the workload see it?
workload: {folder}/{program}.c
args: [--pages, "512", --defect, {defect}]
machines: [qxl]
modules: [hmm_mirror]
cmdline: [numa=fake=2, numa_balancing=disable, workqueue.disable_numa]
"""
DEFECTS = {
    ("move", "forget-pin"): {"pinned-moved", "pinned-fail", "both-moved"},
    ("move", "forget-mirror"): {"mirrored-callbacks", "mirrored-invalidated", "mirrored-refaulted"},
    ("move", "deaf"): {"mirrored-stale", "mirrored-refaulted"},
    ("events", "deaf"): {"read-only-reader", "read-only-writer", "dontneed-keeper"},
}
"""Program and defect, and checks that must see it."""

SOURCES = Path(__file__).parents[2] / "testcases" / "userptr"


@pytest.mark.parametrize(("case", "kernel"), [("move-kvm", "stock"), ("move", "debian:7.3")])
def test_pins_block_and_mirrors_do_not(lab: Lab, case: str, kernel: str) -> None:
    """Pinned pages stay; mirrored ones, by KVM or HMM, move with one call of the notifier each."""
    ran = lab("run", f"userptr/{case}", "--kernel", kernel)
    assert ran.code == 0, ran.stderr
    seen = metrics(ran.trial)
    assert [seen[f"{state}_moved"] for state in ("plain", "unpinned", "mirrored")] == [PAGES] * 3
    assert [seen[f"{state}_moved"] for state in ("pinned", "both")] == [0, 0]
    assert [seen[f"{state}_fail"] for state in ("plain", "pinned", "mirrored")] == [0, PAGES, 0]
    assert seen["mirrored_callbacks"] == seen["mirrored_refaulted"] == PAGES
    # Nothing moves, and the mirror is told more often than if everything did.
    assert seen["both_callbacks"] > seen["mirrored_callbacks"]


def test_read_only_and_compaction(lab: Lab) -> None:
    """mprotect() costs a reader all entries in vain, pinned or not; a pinned page in 16 stops compaction."""
    ran = lab("run", "userptr/read-only", "userptr/compact", "--kernel", "debian:6.12")
    assert ran.code == 0, ran.stderr
    trials = ran.by_case
    seen = metrics(trials["read-only"])
    for run in ("reader", "reader_pinned"):
        assert seen[f"read_only_{run}_callbacks"] == 1
        assert seen[f"read_only_{run}_needless"] == seen[f"read_only_{run}_invalidated"] == 1024
    assert (seen["read_only_keeper_callbacks"], seen["read_only_keeper_invalidated"]) == (1, 0)
    assert seen["piecewise_reader_clears"] == 2
    seen = metrics(trials["compact"])
    assert seen["pinned_moved"] == seen["both_moved"] == seen["both_callbacks"] == 0
    assert seen["mirrored_callbacks"] == seen["mirrored_moved"] > 512
    assert seen["mirrored_blocks"] >= 16 > 4 >= seen["pinned_blocks"]


def test_planted_defects_are_seen(lab: Lab, tmp_path: Path) -> None:
    """Each defect planted in a program, or in hmm_mirror, fails the checks that it was planted for."""
    for program, defect in DEFECTS:
        text = CASE.format(program=program, defect=defect, folder=SOURCES)
        (tmp_path / f"{program}-{defect}.yaml").write_text(text)
    ran = lab("run", *sorted(tmp_path.glob("*.yaml")))
    assert ran.code == 1, ran.stderr
    trials = ran.by_case
    for (program, defect), checks in DEFECTS.items():
        trial = trials[f"{program}-{defect}"]
        assert trial.outcome is Outcome.FAIL, (program, defect)
        assert checks <= failed_checks(trial), (program, defect)
