# SPDX-License-Identifier: GPL-2.0-or-later
"""The lab's own modules beside a kernel's: load order, parameters, and the reason where there is none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import stand_ins

from lab.campaign.fitness import skip_reason
from lab.errors import InfraError, UserError
from lab.guest.prepare import memory_manager
from lab.image.initramfs import Job, pack
from lab.kernel.driver_build import with_drivers
from lab.kernel.kernel import Kernel, OwnModule, module_info
from lab.spec.drivers import Driver
from lab.spec.models import Case, Gpu, Machine, Requires
from lab.spec.versions import KernelRange

RELEASE = "6.1.0-test"
GPU = Gpu(device="ivshmem-plain", driver="lab_gpu", modules=("lab_gpu",), vram="64M")
MACHINE = Machine(title="t", gpus=(GPU,))
PARAMETERS = b"\0parmtype=prefault:uint\0parm=prefault:pages\0parmtype=huge:bool\0depends=ttm,drm\0"


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    tree = tmp_path / "root/lib/modules" / RELEASE
    tree.mkdir(parents=True)
    for name in ("drm", "ttm"):
        (tree / f"{name}.ko").write_bytes(b"\0parmtype=page_pool_size:ulong\0")
    (tree / "modules.dep").write_text("drm.ko:\nttm.ko: drm.ko\n")
    (tree / "modules.builtin").write_text("kernel/drivers/virtio/virtio_pci.ko\n")
    (tmp_path / "config").write_text("CONFIG_DRM_TTM=m\n# CONFIG_KASAN is not set\n")
    return stand_ins.kernel(tmp_path, release=RELEASE, version="6.1.192-2")


@pytest.fixture
def own(kernel: Kernel, tmp_path: Path) -> Kernel:
    """The kernel with a module of the lab's own."""
    path = tmp_path / "built/lab_gpu.ko"
    path.parent.mkdir()
    path.write_bytes(PARAMETERS)
    return replace(kernel, drivers={"lab_gpu": OwnModule(path, ("ttm", "drm"))})


def case(**keys: object) -> Case:
    return Case(title="t", question="q", machines=("m",), **keys)  # type: ignore[arg-type]


def test_own_module_is_a_module(own: Kernel) -> None:
    """It is loaded behind what it depends on, by either spelling, and tells the memory manager of its GPU."""
    assert own.has_module("lab-gpu")
    assert [path.name for path in own.module_closure(["lab-gpu"])] == ["drm.ko", "ttm.ko", "lab_gpu.ko"]
    assert own.module_parameters("lab_gpu") == ("prefault", "huge")
    assert memory_manager(GPU, own) == "ttm"
    assert skip_reason(case(memory_manager="ttm"), MACHINE, own) == ""


def test_module_info_is_exact(tmp_path: Path) -> None:
    """Only whole entries count, not words that end in the same letters."""
    (tmp_path / "m.ko").write_bytes(b"\0xdepends=no\0depends=ttm,drm\0srcversion=1")
    assert module_info(tmp_path / "m.ko", "depends") == ("ttm,drm",)
    assert module_info(tmp_path / "m.ko", "srcversion") == ()  # cut off


def test_parameters_reach_the_module(own: Kernel, tmp_path: Path) -> None:
    """Words behind a name become the module's parameters, also of one that another brings along."""
    (tmp_path / "userland").write_bytes(b"")
    orders = pack(
        tmp_path / "userland", own, ["lab_gpu prefault=512 huge=1", "ttm page_pool_size=9"], Job("boot")
    ).orders.decode()
    assert "module /lab/modules/01-ttm.ko page_pool_size=9\n" in orders
    assert "module /lab/modules/02-lab_gpu.ko prefault=512 huge=1\n" in orders


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("lab_gpu prefetch=1", "has no parameter prefetch"),
        ("virtio_pci x=1", "is built into"),
        ("nouveau x=1", "has no module nouveau"),
    ],
)
def test_parameter_that_would_be_ignored(own: Kernel, tmp_path: Path, line: str, message: str) -> None:
    """A parameter that a module does not have is refused before the boot, not ignored by the kernel."""
    with pytest.raises(UserError, match=message):
        pack(tmp_path / "userland", own, [line], Job("boot"))


def test_kernel_that_it_is_not_for(kernel: Kernel, tmp_path: Path) -> None:
    """A module for other kernels, or a kernel without anything to build on, makes the trial SKIP with why."""
    newer = Driver(tmp_path / "driver/lab_gpu", tmp_path / "include", KernelRange.parse(">=6.15"))
    reason = skip_reason(case(), MACHINE, with_drivers(kernel, [newer]))
    assert reason == f"the lab's lab_gpu is for Linux >=6.15, not {RELEASE}"
    any_kernel = replace(newer, kernels=None)
    reason = skip_reason(case(modules=("lab_gpu",)), Machine(title="t"), with_drivers(kernel, [any_kernel]))
    assert "neither headers nor objects" in reason
    debug = replace(any_kernel, config=("DRM_TTM", "KASAN"))
    reason = skip_reason(case(), MACHINE, with_drivers(kernel, [debug]))
    assert reason == f"the lab's lab_gpu needs CONFIG_KASAN, not set in {RELEASE}"


def test_module_that_does_not_build(kernel: Kernel) -> None:
    """A failed build is the lab's failure: no SKIP that could hide it."""
    broken = replace(kernel, drivers={"lab_gpu": OwnModule(None, reason="x.c:1: error", broken=True)})
    with pytest.raises(InfraError, match=r"x\.c:1: error"):
        skip_reason(case(), MACHINE, broken)


@pytest.mark.parametrize(
    ("requires", "reason"),
    [
        (Requires(kernel=">=6.1,<6.12", config=("DRM_TTM",)), ""),
        (
            Requires(kernel=">=6.15", reason="it came later"),
            "needs Linux >=6.15, this is 6.1.192-2: it came later",
        ),
        (Requires(config=("DRM_TTM", "KASAN", "X")), "needs CONFIG_KASAN, CONFIG_X"),
    ],
)
def test_requires(kernel: Kernel, requires: Requires, reason: str) -> None:
    """Version and options are those of this very kernel; what is missing is named."""
    assert skip_reason(case(requires=requires), Machine(title="t"), kernel) == reason


def test_stock_module_that_is_missing(kernel: Kernel) -> None:
    """A kernel without a module of the case makes the trial SKIP."""
    assert skip_reason(case(modules=("kvm-amd nested=1",)), Machine(title="t"), kernel).endswith(
        "no module kvm_amd"
    )
