# SPDX-License-Identifier: GPL-2.0-or-later
"""The nested lab host: which folders it is shown, and what it refuses."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import stand_ins

import lab
from lab.errors import InfraError, UserError
from lab.guest.argv import Share, Wiring, qemu_argv
from lab.guest.labhost import MACHINE, LabHost, host_shares, prepare_lab_host
from lab.guest.prepare import Bench
from lab.guest.qemu import Qemu
from lab.kernel.kernel import ModuleTree
from lab.results.models import Clock
from lab.spec.models import Machine


def test_all_that_the_lab_runs_from_is_shared(tmp_path: Path) -> None:
    """The root comes first, the cache can be written to, and no folder is shared below another one's."""
    tmp_path.chmod(0o755)
    shares = host_shares(tmp_path)
    assert shares[0] == Share("/", "/")
    assert [share.path for share in shares if share.scratch] == [str(tmp_path)]
    own = [Path(share.path) for share in shares[1:-1]]
    for needed in (Path(sys.prefix), Path(sys.base_prefix), Path(lab.__file__)):
        assert any(needed.is_relative_to(path) for path in [*own, Path("/usr")]), needed
    assert not [path for path in own for other in own if path != other and path.is_relative_to(other)]
    tags = {share.tag for share in shares}
    assert len(tags) == len(shares)
    assert all(len(tag) < 32 for tag in tags)


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user's QEMU may read what the user may")
def test_a_closed_folder_is_told(tmp_path: Path) -> None:
    """What QEMU's user may not read cannot be seen in there: said before anything is booted."""
    tmp_path.chmod(0o700)
    with pytest.raises(InfraError, match="chmod") as caught:
        host_shares(tmp_path)
    assert str(tmp_path) in caught.value.message


def test_shares_are_read_only_and_opened_by_the_lab() -> None:
    """QEMU gets each folder as a descriptor, and may not write."""
    launch = stand_ins.launch(
        MACHINE,
        clock=Clock.FUNCTIONAL,
        wiring=Wiring.to_lab(3, 4, 5, 6),
        shares=(Share("/srv", "/proc/self/fd/9"),),
        cpus=2,
    )
    argv = qemu_argv(launch)
    (backend,) = [argv[at + 1] for at, word in enumerate(argv) if word == "-fsdev"]
    assert {"path=/proc/self/fd/9", "readonly=on"} <= set(backend.split(","))
    assert "socket,id=port,fd=6" in argv
    assert argv.index("intel-iommu,intremap=on") < argv.index("virtio-serial-pci")
    assert "svm" in argv[argv.index("-cpu") + 1]
    plain = qemu_argv(replace(launch, machine=Machine(title="m"), shares=(), wiring=Wiring.to_lab(3, 4, 5)))
    assert not {"-fsdev", "intel-iommu,intremap=on", "virtio-serial-pci"} & set(plain)


def test_a_share_by_hand_may_have_a_comma() -> None:
    """In qemu.cmd stands the path itself, in which QEMU takes two commas for one."""
    argv = qemu_argv(stand_ins.launch(MACHINE, clock=Clock.FUNCTIONAL, shares=(Share("/a,b", "/a,b"),)))
    (backend,) = [argv[at + 1] for at, word in enumerate(argv) if word == "-fsdev"]
    assert "path=/a,,b,readonly=on" in backend


def test_a_kernel_that_lacks_a_module(tmp_path: Path) -> None:
    """It cannot be the host's: said with the options that it was built without."""
    kernel = stand_ins.kernel(tmp_path, name="tree:x")
    built_in = frozenset({"virtio_pci", "9pnet_virtio", "9p", "virtio_console", "kvm_amd"})
    kernel.__dict__["modules"] = ModuleTree(tmp_path, {}, {}, built_in)
    bench = Bench(Qemu("/usr/bin/qemu", (7, 2), "QEMU 7.2"), Path("/init"))
    with pytest.raises(UserError, match="no module overlay") as caught:
        prepare_lab_host(bench, LabHost(kernel, ("/bin/true",)))
    assert "CONFIG_OVERLAY_FS" in caught.value.hint
