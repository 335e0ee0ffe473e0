# SPDX-License-Identifier: GPL-2.0-or-later
"""A trial that a test hands to a nested lab host of its own, without a run folder."""

from __future__ import annotations

from lab import files
from lab.campaign.work import Work
from lab.guest.accelerator import Choice
from lab.kernel.obtain import obtain
from lab.results.models import Clock, PlannedTrial
from lab.spec.catalog import Catalog
from lab.spec.models import Machine
from lab.workload.compile import build_workload


def work_on(name: str, machine: Machine) -> Work:
    """The case on the stock kernel, under KVM, which there is."""
    case = Catalog.load().case(name)
    planned = PlannedTrial(
        number=1,
        key="0001-it",
        case=case.name,
        role="kernel",
        machine=machine.name,
        clock=Clock.FUNCTIONAL,
    )
    source = case.workload_path
    program = None if source is None else build_workload(source, files.shipped("testcases") / "include")
    kernel = obtain("stock", with_build=False)
    return Work(planned, case, machine, kernel, Choice("kvm", "it is there"), program)
