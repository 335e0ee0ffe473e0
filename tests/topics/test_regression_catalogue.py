# SPDX-License-Identifier: GPL-2.0-or-later
"""The whole catalogue of regressions: each is there on its bad kernel and not on its good one."""

from __future__ import annotations

import json
import time
from pathlib import Path

from labrun import run_lab

BOUND = 600.0
"""Seconds for all of it on two processors, with packages and builds cached."""


def test_every_regression_is_confirmed(state: Path) -> None:
    """`lab repro --all` ends with 0. The first run may fetch and build; the second, which may not, keeps the
    bound."""
    first = run_lab("repro", "--all", "--json", state=state, seconds=3600)
    assert first.code == 0, first.stdout + first.stderr
    found = json.loads(first.stdout)["regressions"]
    assert len(found) >= 11
    assert [one["regression"] for one in found if one["confirmed"] is not True] == []
    started = time.monotonic()
    second = run_lab("repro", "--all", "--json", state=state, seconds=2 * BOUND)
    assert second.code == 0, second.stderr
    assert time.monotonic() - started < BOUND


def test_the_neighbours_of_a_fix_are_confirmed(state: Path) -> None:
    """Of what the changelogs told: the last package without the fix has it, the first one with it has not."""
    names = ("dma-heap-fd", "kvm-ioeventfd-bug", "vgem-fence-irq", "vfio-bar-thp-never")
    ran = run_lab("repro", *names, "--versions", "all", "--json", state=state, seconds=3600)
    assert ran.code == 0, ran.stdout + ran.stderr
    assert all(one["confirmed"] for one in json.loads(ran.stdout)["regressions"])
