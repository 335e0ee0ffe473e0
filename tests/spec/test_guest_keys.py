# SPDX-License-Identifier: GPL-2.0-or-later
"""The keys by which a case asks for a guest: what they allow, and where they say what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.errors import SpecError
from lab.spec.catalog import Catalog

HEAD = "title: t\nquestion: q\nmachines: [qxl]\n"
GOOD = """\
memory: 384M
cmdline: [page_poison=1, kvm.ignore_msrs]
clock: functional
modules: [kvm-amd, lab_gpu prefault=512 huge=1, "ttm page_pool_size=10"]
disks:
  - {size: 64M, bps: 300000}
  - {size: 1G}
display:
  - {size: 1600x1200}
  - {output: 1, size: "off"}
requires: {kernel: ">=6.1,<6.12", config: [FAULT_INJECTION], reason: because}
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "machines").mkdir()
    (tmp_path / "machines/qxl.yaml").write_text("title: QXL\nmemory: 512M\n")
    (tmp_path / "t").mkdir()
    return tmp_path


def test_everything_at_once(root: Path) -> None:
    """Each key is read, and memory is the case's instead of the machine's."""
    (root / "t/one.yaml").write_text(HEAD + GOOD)
    catalog = Catalog.load(root)
    case = catalog.case("t/one")
    assert case.on(catalog.machine("qxl")).memory == "384M"
    assert [disk.bytes for disk in case.disks] == [64 << 20, 1 << 30]
    assert [(step.output, step.pixels) for step in case.display] == [(0, (1600, 1200)), (1, (0, 0))]
    assert case.modules[1] == "lab_gpu prefault=512 huge=1"
    assert case.requires is not None
    assert case.requires.config == ("FAULT_INJECTION",)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("memory: 384\n", "4:9: memory: expected text, found the number `384`"),
        ("memory: 384MB\n", "4:9: memory: `384MB` must match"),
        ("cmdline: ['a b']\n", "4:11: cmdline.0: `a b` must match"),
        ("cmdline: ['x=\"y\"']\n", "4:11: cmdline.0:"),
        ("clock: real\n", "4:8: clock: must be 'virtual' or 'functional', found `real`"),
        ("modules: ['kvm; reboot']\n", "4:11: modules.0:"),
        ("modules: ['kvm a=\"b c\"']\n", "4:11: modules.0:"),
        ("modules: [kvm-amd, kvm_amd nested=1]\n", "4:20: module kvm_amd is named twice"),
        ("clock: functional\ndisks: [{size: 8M, bps: 10}]\n", "5:25: disks.0.bps: must be greater"),
        ("disks: [{size: 8M, bps: 100000}]\n", "4:25: a throttle runs on the host's clock"),
        ("disks: [{size: 8M, speed: 1}]\n", "4:20: unknown key 'speed'"),
        ("display: [{size: 800x600}]\n", "4:10: monitors come on the host's clock"),
        ("clock: functional\ndisplay: [{size: 800*600}]\n", "5:18: display.0.size: `800*600` must match"),
        (
            "clock: functional\ndisplay: [{output: 16, size: 800x600}]\n",
            "5:20: display.0.output: must be less",
        ),
        ("requires: {reason: x}\n", "4:11: requires nothing"),
        ("needs: [kvm]\nclock: virtual\n", "4:8: KVM counts no instructions"),
        ("needs: [xen]\n", "4:9: needs"),
        ("exits: true\n", "4:8: 'exits' without a workload"),
        ("requires: {kernel: '6.1'}\n", "4:20: requires.kernel: `6.1` must match"),
        ("requires: {config: [CONFIG_KASAN]}\n", "4:21: leave CONFIG_ off: KASAN"),
    ],
)
def test_mistake_is_told_at_its_place(root: Path, text: str, problem: str) -> None:
    """What cannot be is refused with file, line and column."""
    (root / "t/one.yaml").write_text(HEAD + text)
    with pytest.raises(SpecError) as caught:
        Catalog.load(root).case("t/one")
    assert f"one.yaml:{problem}" in str(caught.value)


def driver(root: Path, kbuild: str = "obj-m := lab_x.o\n", source: str = '#include "lab_x.h"\n') -> Path:
    folder = root / "driver/lab_x"
    folder.mkdir(parents=True, exist_ok=True)
    (root / "include").mkdir(exist_ok=True)
    (root / "include/lab_x.h").write_text("/* 1 */\n")
    (root / "include/other.h").write_text("/* 1 */\n")
    (folder / "Kbuild").write_text(kbuild)
    (folder / "lab_x.c").write_text(source)
    return folder


def test_own_modules_are_found_by_name(root: Path) -> None:
    """A module of a case or of a machine is the lab's own if there is such a folder, spelled - or _."""
    driver(root, "# faultlab: kernels >=6.1\nobj-m := lab_x.o\n")
    (root / "t/one.yaml").write_text(HEAD + "modules: [kvm, lab-x a=1]\n")
    (root / "machines/x.yaml").write_text(
        "title: X\ngpus: [{device: d, driver: lab_x, modules: [lab_x], vram: 64M}]\n"
    )
    catalog = Catalog.load(root)
    (own,) = catalog.drivers_for(catalog.case("t/one"), catalog.machine("qxl"))
    assert (own.name, own.kernels is not None and own.kernels.text) == ("lab_x", ">=6.1")
    assert catalog.drivers_for(None, catalog.machine("x")) == (own,)
    assert catalog.drivers_for(None, catalog.machine("qxl")) == ()


def test_digest_covers_own_modules(root: Path) -> None:
    """A change of a module's source or of a header it includes makes it another case; other headers do not
    make it another module."""
    folder = driver(root)
    (root / "t/one.yaml").write_text(HEAD + "modules: [lab_x]\n")

    def digests() -> tuple[str, str]:
        catalog = Catalog.load(root)
        own = catalog.driver("lab_x")
        assert own is not None
        return catalog.case("t/one").digest, own.digest

    first = digests()
    (root / "include/other.h").write_text("/* 2 */\n")
    assert digests()[1] == first[1]
    (root / "include/lab_x.h").write_text('#include "other.h"\n')
    second = digests()
    assert second[0] != first[0]
    assert second[1] != first[1]
    (root / "include/other.h").write_text("/* 3 */\n")
    assert digests()[1] != second[1]
    (folder / "lab_x.c").write_text("/* other */\n")
    assert digests()[1] not in (first[1], second[1])


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("# faultlab: kernels 6.1", "Kbuild:1:1: `6.1` is no range"),
        ("# faultlab: kernel >=6.1", "Kbuild:1:1: unknown word `kernel`; known: kernels, config"),
        ("# faultlab: config CONFIG_KVM", "Kbuild:1:1: `CONFIG_KVM` is no list of options"),
    ],
)
def test_broken_declaration_of_a_module(root: Path, line: str, problem: str) -> None:
    """A mistake in a Kbuild file is a problem of the catalog, told when the module is wanted."""
    driver(root, f"{line}\nobj-m := lab_x.o\n")
    catalog = Catalog.load(root)
    assert [one for one in catalog.problems if problem in one]
    with pytest.raises(SpecError):
        catalog.driver("lab_x")
