# SPDX-License-Identifier: GPL-2.0-or-later
"""The machine presets on real guests: which GPU drivers come up, and which cases mean something on them."""

from __future__ import annotations

import json

import pytest
from labrun import Lab

from lab.results.models import Outcome
from lab.spec.catalog import Catalog

TTM, SHMEM = "prefault/first-touch", "virtio-gpu/first-touch"
MACHINES = ("qxl", "bochs", "virtio-gpu", "qxl+virtio-gpu")
OF_TOPICS = ("kvm-host", "test-gpu", "vfio", "vfio-host", "virtio-gpu-blob", "virtio-gpu-outputs")
"""Booted in tests/topics, with the modules that they are for."""


def test_presets_boot_and_run_what_they_can(lab: Lab) -> None:
    """Each preset boots; TTM's case runs on qxl and bochs, that of shmem on virtio-gpu, both on the pair."""
    assert {*MACHINES, *OF_TOPICS} == set(Catalog.load().machines)
    machines = [word for name in MACHINES for word in ("--machine", name)]
    ran = lab("run", "smoke/boot", TTM, SHMEM, *machines)
    assert ran.code == 0, ran.stdout
    found = {(one.case, one.machine): one for one in ran.trials}
    skipped = {where: one.reason for where, one in found.items() if one.outcome is Outcome.SKIP}
    assert {where: reason.partition(", ")[2] for where, reason in skipped.items()} == {
        (TTM, "virtio-gpu"): "virtio_gpu uses shmem",
        (SHMEM, "qxl"): "qxl uses ttm",
        (SHMEM, "bochs"): "bochs-drm uses ttm",
    }
    assert {one.outcome for where, one in found.items() if where not in skipped} == {Outcome.PASS}
    assert len(found) == 12
    faults = {where: one.value("faults") for where, one in found.items() if one.measurements}
    # TTM maps 16 of 2048 pages a fault, the shmem helpers one of 1024; their first is touched before.
    assert {where: int(count.value) for where, count in faults.items() if count} == {
        (TTM, "qxl"): 128,
        (TTM, "bochs"): 128,
        (TTM, "qxl+virtio-gpu"): 128,
        (SHMEM, "virtio-gpu"): 1023,
        (SHMEM, "qxl+virtio-gpu"): 1023,
    }


def test_newer_kernel(lab: Lab) -> None:
    """Debian's 6.12, with compressed modules, runs the TTM case on qxl and on bochs."""
    listed = json.loads(lab("list", "kernels", "--json").stdout)
    if "debian:6.12" not in json.dumps(listed):
        pytest.skip("apt's sources have no Linux 6.12")
    ran = lab("run", "--kernel", "debian:6.12", TTM, "--machine", "qxl", "--machine", "bochs")
    assert ran.code == 0, ran.stdout
    assert [one.outcome for one in ran.trials] == [Outcome.PASS] * 2
    (kernel,) = ran.run.kernels().values()
    assert kernel.release.startswith("6.12.")
    assert all((count := one.value("faults")) and count.value == 128 for one in ran.trials)
