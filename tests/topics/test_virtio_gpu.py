# SPDX-License-Identifier: GPL-2.0-or-later
"""The topic virtio-gpu on real guests: monitors that come and go, frames, blobs, a driver that goes."""

from __future__ import annotations

from pathlib import Path

import pytest
from labrun import Lab, failed_checks, metrics

from lab.results.models import Outcome

PAGES = 1000
"""Of a buffer of 1280 x 800."""

SOURCES = Path(__file__).parents[2] / "testcases" / "virtio-gpu"
CASE = """\
# SPDX-License-Identifier: GPL-2.0-or-later
title: {program} with the planted defect {defect}
question: Does a check of the workload see it?
workload: {folder}/{program}.c
args: [{args}--defect, {defect}]
clock: functional
machines: [{machine}]
{more}
"""
MONITOR = "display: [{size: 800x600}]"
DEFECTS = {
    ("outputs", "deaf"): {"hotplug-0=800x600"},
    ("outputs", "wrong-size"): {"shown-0=800x600"},
    ("outputs", "dark"): {"shown-0=800x600", "together"},
    ("flip", "unpainted"): {"content"},
    ("flip", "unflipped"): {"shown", "commands"},
    ("flip", "dropped"): {"faults"},
    ("rebind", "bound"): {"unbound-1"},
    ("rebind", "gone"): {"bound-1"},
    ("rebind", "leak"): {"memory"},
    ("rebind", "scribbled"): {"mapping"},
}
"""A defect of a workload, and the checks that must see it."""

BLOB_DEFECTS = {"host-memory": {"created"}, "untouched": {"content"}, "dark": {"shown"}}


def planted(folder: Path, program: str, defect: str, *, machine: str, more: str = "", args: str = "") -> Path:
    path = folder / f"{program}-{defect}.yaml"
    text = CASE.format(program=program, defect=defect, folder=SOURCES, machine=machine, more=more, args=args)
    path.write_text(text)
    return path


@pytest.mark.parametrize(("kernel", "each"), [("debian:6.1", 1), ("debian:7.3", 2)])
def test_frames_and_rebinding(lab: Lab, kernel: str, each: int) -> None:
    """A kept buffer faults in its first frame alone, a remapped one in each, on 7.3 twice a page; a mapping
    outlives its driver with all that was written, and the device comes back without a leak."""
    ran = lab(
        "run",
        "virtio-gpu/page-flip",
        "virtio-gpu/page-flip-remapped",
        "virtio-gpu/rebind",
        "--kernel",
        kernel,
    )
    assert ran.code == 0, ran.stderr
    kept, remapped = metrics(ran.by_case["page-flip"]), metrics(ran.by_case["page-flip-remapped"])
    assert (kept["faults_first"], kept["faults"], kept["transfers"]) == (each * PAGES, 0, 1)
    assert (remapped["faults_first"], remapped["faults"]) == (each * PAGES, each * PAGES)
    assert kept["late"] == (32 if each == 2 else 0), "only 7.3 waits for a vertical blank"
    rebound = metrics(ran.by_case["rebind"])
    assert (rebound["sigbus"], rebound["faults"]) == (0, 1024)


def test_monitors_come_and_go(lab: Lab) -> None:
    """Three outputs are lit at once, and one follows its monitor through four sizes, one of them none."""
    ran = lab("run", "virtio-gpu/outputs", "virtio-gpu/resize", "--kernel", "debian:6.12")
    assert ran.code == 0, ran.stderr
    outputs, resized = metrics(ran.by_case["outputs"]), metrics(ran.by_case["resize"])
    assert (outputs["steps"], outputs["lit"]) == (3, 3)
    assert (resized["steps"], resized["lit"]) == (4, 1)


def test_planted_defects_are_seen(lab: Lab, tmp_path: Path) -> None:
    """Each defect planted in a workload fails the checks that it was planted for."""
    cases = []
    for program, defect in DEFECTS:
        follows = program == "outputs"
        more = MONITOR if follows else ""
        args = "--step, 0=800x600, " if follows else ""
        cases.append(planted(tmp_path, program, defect, machine="virtio-gpu", more=more, args=args))
    trials = lab("run", *cases).by_case
    for (program, defect), checks in DEFECTS.items():
        trial = trials[f"{program}-{defect}"]
        assert trial.outcome is Outcome.FAIL, (program, defect, trial.reason)
        assert checks <= failed_checks(trial), (program, defect)


def test_blobs(lab: Lab, tmp_path: Path) -> None:
    """Where QEMU has udmabuf, here or in the nested lab host, a blob comes to be and is shown without a copy;
    what is planted to break that is seen."""
    wanted = "needs: [udmabuf]"
    cases = [
        planted(tmp_path, "blob", defect, machine="virtio-gpu-blob", more=wanted) for defect in BLOB_DEFECTS
    ]
    trials = lab("run", "virtio-gpu/blob", *cases).by_case
    whole = trials["blob"]
    assert whole.outcome is Outcome.PASS, whole.reason
    assert (metrics(whole)["faults"], metrics(whole)["transfers"]) == (PAGES, 0)
    for defect, checks in BLOB_DEFECTS.items():
        trial = trials[f"blob-{defect}"]
        assert trial.outcome is Outcome.FAIL, (defect, trial.reason)
        assert checks <= failed_checks(trial), defect


def test_blobs_without_udmabuf(lab: Lab) -> None:
    """Kept on a host that lacks it, the trial is SKIP and says what is missing."""
    if Path("/dev/udmabuf").exists():
        pytest.skip("this host has udmabuf")
    trial = lab("run", "virtio-gpu/blob", "--executor", "local").trial
    assert trial.outcome is Outcome.SKIP
    assert "this host has no /dev/udmabuf" in trial.reason
