# SPDX-License-Identifier: GPL-2.0-or-later
"""What must be rebuilt for which touched files."""

from __future__ import annotations

import pytest

from lab.kernel.planner import Modules, Nothing, OneModule, WholeKernel, parse_config, parse_makefile, plan

CONFIG = parse_config("CONFIG_DRM_TTM=m\nCONFIG_AGP=y\nCONFIG_MMU=y\nCONFIG_B=m\n# CONFIG_OFF is not set\n")
MAKEFILES = {
    "drivers/gpu/drm/ttm": """\
# SPDX-License-Identifier: GPL-2.0
ttm-y := ttm_tt.o ttm_bo.o \\
\tttm_bo_vm.o   # the fault handler
ttm-$(CONFIG_AGP) += ttm_agp_backend.o
ttm-$(CONFIG_OFF) += ttm_off.o
obj-$(CONFIG_DRM_TTM) += ttm.o
obj-$(CONFIG_OFF) += unbuilt.o
""",
    "mm": "mmu-$(CONFIG_MMU) := memory.o\nobj-y := slab.o $(mmu-y)\nobj-$(CONFIG_B) += b.o\n",
    "drivers/two": "obj-m += a.o\nobj-$(CONFIG_B) += b.o\n",
    "drivers/off": "obj-$(CONFIG_OFF) += x.o\n",
    "drivers/deep": "obj-m += a.o below/\n",
    "drivers/kfd": "KFD_FILES := $(KFD_PATH)/kfd_module.o\n",
    "arch/x86/lib": "lib-y += insn.o\n",
}
TTM = "drivers/gpu/drm/ttm"


@pytest.mark.parametrize(
    ("touched", "modules"),
    [
        ([f"{TTM}/ttm_bo_vm.c"], ("ttm",)),
        ([f"{TTM}/ttm_agp_backend.c", "Documentation/gpu/drm-mm.rst", "MAINTAINERS"], ("ttm",)),
        ([f"{TTM}/ttm_module.h"], ("ttm",)),
        ([f"{TTM}/Makefile", f"{TTM}/ttm_new.c"], ("ttm",)),
        (["drivers/two/b.c"], ("b",)),
        (["drivers/two/both.h"], ("a", "b")),
    ],
)
def test_one_module(touched: list[str], modules: tuple[str, ...]) -> None:
    """Files that one directory's modules are made from."""
    found = plan(touched, MAKEFILES.get, CONFIG)
    assert isinstance(found, OneModule)
    assert found.modules == modules


@pytest.mark.parametrize(
    "touched",
    [
        ["Documentation/x.rst"],
        ["Documentation/x.txt", "tools/objtools.c"],
        ["MAINTAINERS", "tools/perf/x.c"],
        [f"{TTM}/unbuilt.c"],
        [f"{TTM}/README.md"],
        ["drivers/off/x.h"],
    ],
)
def test_nothing(touched: list[str]) -> None:
    """Files from which this configuration makes nothing."""
    assert isinstance(plan(touched, MAKEFILES.get, CONFIG), Nothing)


@pytest.mark.parametrize(
    ("touched", "words"),
    [
        (["include/drm/ttm/ttm_bo.h", f"{TTM}/ttm_bo.c"], "shared headers"),
        (["arch/x86/include/asm/io.h"], "shared headers"),
        (["Makefile"], "build system"),
        (["mm/memory.c"], "kernel image"),
        (["mm/internal.h"], "other things than modules"),
        (["drivers/deep/x.h"], "other things than modules"),
        ([f"{TTM}/ttm_unheard_of.c"], "does not say"),
        ([f"{TTM}/Kconfig"], "does not know"),
        (["drivers/new/x.c"], "no Makefile"),
        ([f"{TTM}/ttm_bo.c", "drivers/kfd/kfd_priv.h"], "no module by its own"),
        (["drivers/kfd/Makefile"], "no module by its own"),
        (["drivers/off/Makefile", "drivers/off/x.c"], "no module by its own"),
        (["arch/x86/lib/insn.h"], "no module by its own"),
        (["arch/x86/lib/x86-opcode-map.txt"], "does not know"),
        (["tools/objtool/check.c"], "build system"),
        (["tools/lib/bpf/relo_core.c", f"{TTM}/ttm_bo.c"], "build system"),
    ],
)
def test_beyond(touched: list[str], words: str) -> None:
    """What cannot be proven to stay in one directory's modules needs the whole kernel, and says why."""
    found = plan(touched, MAKEFILES.get, CONFIG)
    assert isinstance(found, WholeKernel)
    assert words in found.reason
    assert set(found.paths) <= set(touched)


def test_modules_of_two_directories() -> None:
    """Files of two directories that make nothing but modules; one whose files are not built adds none."""
    found = plan([f"{TTM}/ttm_bo.c", "drivers/two/b.c", "drivers/off/x.c"], MAKEFILES.get, CONFIG)
    assert isinstance(found, Modules)
    assert str(found) == "modules ttm, b"


def test_makefile_lists() -> None:
    """Composites, references to other lists and switched-off objects are told apart."""
    ttm = parse_makefile(MAKEFILES[TTM], CONFIG)
    assert ttm.modules == {"ttm": {"ttm_tt", "ttm_bo", "ttm_bo_vm", "ttm_agp_backend"}}
    assert ttm.unbuilt == {"unbuilt"}
    assert parse_makefile(MAKEFILES["mm"], CONFIG).built_in == {"slab", "memory"}
