# SPDX-License-Identifier: GPL-2.0-or-later
"""The nested lab host on a kernel of the lab's own, built as a host of virtual machines."""

from __future__ import annotations

from pathlib import Path

from labrun import Lab, metrics

from lab.results.models import Outcome

NEEDS_KVM = Path(__file__).parent.parent / "nested/port-writes.yaml"


def test_own_kernel_hosts_virtual_machines(lab: Lab) -> None:
    """6.12 with lean+drm+kvm-host runs a guest under KVM, and counts that guest's exits exactly."""
    ran = lab("run", NEEDS_KVM, "--executor", "nested", "--host-kernel", "source:6.12")
    assert ran.code == 0, ran.stderr
    assert ran.record.host_kernel == "source:6.12"
    assert ran.trial.outcome is Outcome.PASS, ran.trial.reason
    about = ran.trial.environment
    assert about is not None
    assert (about.accelerator, about.nesting) == ("kvm", 1)
    assert about.host_kernel.split()[1].startswith("6.12.")
    seen = metrics(ran.trial)
    assert (seen["some_exits"], seen["some_exits_io"], seen["some_io_exits"]) == (137, 137, 137)
