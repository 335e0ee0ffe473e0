# SPDX-License-Identifier: GPL-2.0-or-later
"""A site of two made-up nights that have everything: all ways to fail, hostile words, all four clocks."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import files
from lab.results.models import Clock, Outcome, Splat
from lab.results.night import NotRun
from lab.results.runfolder import RunFolder
from lab.workflow.site import make_site

sys.path.append(str(Path(__file__).parents[1] / "history"))  # for past_nights.py

from past_nights import BOOT, SPARSE, TOUCH, Had, Version, night

NASTY = (
    "</script><script>window.pwned=1</script><img src=x onerror='window.pwned=2'>\x1b[31m\x00\u202e{{7*7}}]]>"
)
VERSIONS = {
    "6.18": Version("debian:6.18", "6.18.2-1"),
    "patched": Version("debian:6.12", "6.12.43-1", series="prefault/pmd-size"),
    "none": Version("git:/a/tree@main", "7.0", kconfig="lean+drm"),
}
PAIRS = 7


def boots(day: int) -> list[Had]:
    """The cells of a night; on the second day some of them are otherwise."""
    second = day == 2
    crash = Splat(kind="oops", title=NASTY, line=3, excerpt=f"{NASTY}\n" * 50)
    first = {"max": 20906.0, "faults": 128.0}
    some = [
        Had(TOUCH, numbers=first | ({"max": 31000.0} if second else {})),
        Had(TOUCH, role="patched", numbers={"max": 318506.0, "faults": 4.0}),
        Had(SPARSE, numbers={"max": 21000.0, "faults": 4.0}),
        Had(SPARSE, role="patched", numbers={"max": 21000.0}),
        Had(BOOT, machine="virtio-gpu", clock=Clock.FUNCTIONAL, numbers={"max": 5e6, "faults": 9.0}),
        Had(
            BOOT,
            machine="virtio-gpu",
            role="patched",
            clock=Clock.FUNCTIONAL,
            numbers={"max": 9e6, "faults": 9.0},
        ),
        Had(SPARSE, role="6.18", outcome=Outcome.TIMEOUT, reason="no frame for 60 s"),
        Had(SPARSE, role="6.18", machine="bochs", outcome=Outcome.FAIL, expected=True, failed=("content",)),
        Had(BOOT, role="6.18", outcome=Outcome.SKIP, reason="needs a GPU"),
    ]
    if second:
        reason = f"panic: {NASTY}"
        some.append(Had(TOUCH, role="6.18", outcome=Outcome.CRASH, reason=reason, splats=(crash,)))
    else:
        some += [Had(TOUCH, role="6.18", numbers=first), Had(BOOT, numbers={})]
    for repeat in range(1, PAIRS + 1):
        for role, value in (("6.12", 1000.0 + repeat), ("patched", 1200.0 + 3 * repeat)):
            numbers = {"max": value, "faults": 12.0}
            some.append(
                Had(TOUCH, role=role, machine="host", clock=Clock.REAL, repeat=repeat, numbers=numbers)
            )
    return some  # fmt: skip


def make_nights(runs: Path) -> list[RunFolder]:
    """Two nights, with the files that real ones have."""
    first = night(runs, 1, boots(1), versions=VERSIONS)
    had = boots(2)
    more = [Had(BOOT), Had(SPARSE, machine="bochs"), Had(TOUCH, role="none")]
    keys = [
        f"{len(had) + n:04d}-{one.case.replace('/', '.')}-{one.machine}-{one.role}-1"
        for n, one in enumerate(more, 1)
    ]
    moved = {**VERSIONS, "6.12": dataclasses.replace(Version(), version="6.12.44-1")}
    second = night(
        runs,
        2,
        had,
        versions=moved,
        more=more,
        unchanged={keys[0]: first.path.name},
        not_run=(NotRun(key=keys[1], why="the time budget of 2 h is used up"),),
        failed_kernels={"none": f"it does not build: {NASTY}"},
        moved={"6.12": "was 6.12.43-1, now 6.12.44-1"},
    )
    for run in (first, second):
        for one in run.trials():
            dress(run.trial_path(one.key))
    return [first, second]


def dress(folder: Path) -> None:
    """Give a trial its console, its command line and the latency of its touches."""
    (folder / "console.log").write_bytes(
        b"[    0.0] Linux\n" + NASTY.encode() + b"\xff\n" + b"A" * 3000 + b"\nthe end\n"
    )
    (folder / "qemu.cmd").write_text(f"#!/bin/sh\nqemu-system-x86_64 -append '{NASTY}'\n")
    (folder / "samples").mkdir(exist_ok=True)
    (folder / "samples" / "touches.txt").write_text(
        "page insn\n" + "".join(f"{n} {20 + n}\n" for n in range(64))
    )
    trial = folder / "trial.json"
    trial.write_text(trial.read_text().replace('"samples": []', '"samples": ["touches.txt"]'))


@pytest.fixture
def nights() -> list[RunFolder]:
    """Two nights in this test's state folder."""
    return make_nights(files.state_dir("runs"))


@pytest.fixture
def site(nights: list[RunFolder], tmp_path: Path) -> Path:
    """Their site."""
    return make_site(tmp_path / "out", nights=14).path


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The same for all tests of a module that only look at it."""
    state = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAB_STATE", str(state))
        make_nights(state / "runs")
        yield make_site(state / "out", nights=14).path
