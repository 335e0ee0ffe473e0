# SPDX-License-Identifier: GPL-2.0-or-later
"""A case that needs udmabuf: run here where the host has it, else nested, else not, with the reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.campaign.executor import Executor, lacks
from lab.guest import privilege
from lab.guest.accelerator import Choice
from lab.spec.models import Case
from lab.workflow import doctor

EMULATED = Choice("tcg", "this host has no /dev/kvm")
CASE = Case(title="t", question="q", machines=("virtio-gpu-blob",), needs=("udmabuf",))


@pytest.fixture(params=[True, False])
def there(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the host has the device."""
    node = tmp_path / "udmabuf"
    if request.param:
        node.touch()
    monkeypatch.setattr(privilege, "UDMABUF_DEVICE", node)
    return bool(request.param)


def test_where_it_runs(there: bool) -> None:
    """KVM has no say in it; without the device and without a nested host the reason names it."""
    place = Executor("auto", None).place(CASE, EMULATED)
    assert bool(lacks(CASE, EMULATED)) is not there
    assert bool(place.not_run) is not there
    assert there or "udmabuf (this host has no " in place.not_run


def test_doctor_says_it(there: bool) -> None:
    """`lab doctor` says whether blob=true can be had, what that costs, and what to do."""
    found = doctor.blobs()
    assert found.what == "gpu blobs"
    assert found.state == ("ok" if there else "limited")
    assert there or (found.cost and "modprobe udmabuf" in found.fix)
