# SPDX-License-Identifier: GPL-2.0-or-later
"""Module closures, symbol versions, and reading a build's log."""

from __future__ import annotations

import lzma
from dataclasses import replace
from pathlib import Path

import pytest
import stand_ins

from lab import proc
from lab.errors import InfraError, UserError
from lab.kernel import fit
from lab.kernel.kernel import Kernel, kernel_id
from lab.kernel.module_build import first_error

RELEASE = "6.1.0-test"
GPU = "kernel/drivers/gpu/drm"


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kernel:
    """A kernel whose module tree has dependencies, a packed module and a built-in one."""
    monkeypatch.setenv("LAB_CACHE", str(tmp_path / "cache"))
    tree = tmp_path / "root/lib/modules" / RELEASE
    for name in ("drm.ko", "ttm/ttm.ko", "qxl/qxl.ko"):
        path = tree / GPU / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode() + b"\0vermagic=6.1.0-test SMP \0")
    packed = tree / GPU / "virtio/virtio-gpu.ko.xz"
    packed.parent.mkdir()
    packed.write_bytes(lzma.compress(b"plain module", check=lzma.CHECK_CRC32))
    (tree / "modules.dep").write_text(
        f"{GPU}/drm.ko:\n{GPU}/ttm/ttm.ko: {GPU}/drm.ko\n"
        f"{GPU}/qxl/qxl.ko: {GPU}/ttm/ttm.ko {GPU}/drm.ko\n{GPU}/virtio/virtio-gpu.ko.xz: {GPU}/drm.ko\n"
    )
    (tree / "modules.builtin").write_text("kernel/drivers/virtio/virtio_pci.ko\n")
    return stand_ins.kernel(tmp_path, release=RELEASE)


def names(paths: tuple[Path, ...]) -> list[str]:
    return [path.name for path in paths]


def test_load_order(kernel: Kernel) -> None:
    """Dependencies come first, each module once, built-in ones not at all."""
    found = kernel.module_closure(["qxl", "virtio-gpu", "virtio_pci"])
    assert names(found) == ["drm.ko", "ttm.ko", "qxl.ko", "virtio-gpu.ko"]


def test_names_with_hyphens(kernel: Kernel) -> None:
    """`-` and `_` are the same in module names."""
    assert kernel.has_module("virtio_gpu")
    assert kernel.has_module("virtio-gpu")
    assert kernel.has_module("virtio-pci")
    assert not kernel.has_module("nouveau")


def test_packed_module_is_unpacked(kernel: Kernel) -> None:
    """A .ko.xz is handed out as a plain .ko."""
    path = kernel.module_file("virtio_gpu")
    assert path.suffix == ".ko"
    assert path.read_bytes() == b"plain module"


@pytest.mark.parametrize("damage", [b"", b"plain modulE"])
def test_a_damaged_plain_module_is_unpacked_again(kernel: Kernel, damage: bytes) -> None:
    """What is not what was unpacked is never loaded."""
    kernel.module_file("virtio_gpu").write_bytes(damage)
    assert kernel.module_file("virtio_gpu").read_bytes() == b"plain module"


@pytest.mark.skipif(proc.find("zstd") is None, reason="zstd is not installed")
def test_module_packed_with_zstd(kernel: Kernel, tmp_path: Path) -> None:
    """A .ko.zst is handed out as a plain .ko, and only as what was unpacked."""
    folder = kernel.modules.folder / GPU / "virtio"
    (folder / "virtio-gpu.ko.xz").unlink()
    (tmp_path / "plain").write_bytes(b"plain module")
    proc.run(["zstd", "-q", str(tmp_path / "plain"), "-o", str(folder / "virtio-gpu.ko.zst")], timeout=20)
    index = kernel.modules.folder / "modules.dep"
    index.write_text(index.read_text().replace(".ko.xz", ".ko.zst"))
    fresh = replace(kernel)
    fresh.module_file("virtio_gpu").write_bytes(b"")
    assert fresh.module_file("virtio_gpu").read_bytes() == b"plain module"


def test_replaced_module(kernel: Kernel, tmp_path: Path) -> None:
    """The lab's own build takes the place of the stock module, which can still be had."""
    own = tmp_path / "ttm.ko"
    changed = Kernel(kernel.record, kernel.vmlinuz, None, kernel.root, kernel.config, replaced={"ttm": own})
    assert own in changed.module_closure(["qxl"])
    assert changed.stock_module("ttm") != own


def test_unknown_module(kernel: Kernel) -> None:
    """An unknown module is refused with the nearest names."""
    with pytest.raises(UserError, match="did you mean qxl"):
        kernel.module_closure(["qxll"])
    with pytest.raises(UserError):
        kernel.module_file("nouveau")


def test_depends_on(kernel: Kernel) -> None:
    """The memory manager of a driver is known from what it needs."""
    assert kernel.depends_on("qxl", "ttm")
    assert kernel.depends_on("ttm", "ttm")
    assert not kernel.depends_on("virtio-gpu", "ttm")
    assert not kernel.depends_on("nouveau", "ttm")


def test_missing_tree(kernel: Kernel, tmp_path: Path) -> None:
    """A module tree without its index is told, not guessed."""
    (tmp_path / "root/lib/modules" / RELEASE / "modules.dep").unlink()
    with pytest.raises(InfraError, match=r"modules\.dep"):
        kernel.has_module("qxl")


def test_kernel_id_depends_on_every_part() -> None:
    """Image, configuration and each replaced module make another kernel."""
    ids = {
        kernel_id("a", "b", {}),
        kernel_id("c", "b", {}),
        kernel_id("a", "c", {}),
        kernel_id("a", "b", {"ttm": "1"}),
        kernel_id("a", "b", {"ttm": "2"}),
    }
    assert len(ids) == 5
    assert all(len(text) == 12 for text in ids)


SYMVERS = (
    "0x00000001\tdrm_a\tdrivers/gpu/drm/drm\tEXPORT_SYMBOL\t\n0x00000005\tkmalloc\tvmlinux\tEXPORT_SYMBOL\t\n"
)
STOCK_TTM = "0x00000002\tttm_a\tdrivers/gpu/drm/ttm/ttm\tEXPORT_SYMBOL\t\n"


def check(
    kernel: Kernel, tmp_path: Path, *, magic: str = "6.1.0-test SMP", exports: str, imports: dict[str, int]
) -> None:
    built = tmp_path / "build/ttm.ko"
    built.parent.mkdir(exist_ok=True)
    built.write_bytes(b"\0vermagic=" + magic.encode() + b" \0")
    (tmp_path / "known").write_text(SYMVERS + STOCK_TTM)
    (tmp_path / "exports").write_text(exports)
    fit.check_fit(kernel, built, exports=tmp_path / "exports", known=tmp_path / "known", imports=imports)


OURS = "0x00000002\tttm_a\t/build/ttm\tEXPORT_SYMBOL\t\n"


def test_module_that_fits(kernel: Kernel, tmp_path: Path) -> None:
    """Same vermagic, known imports, unchanged exports."""
    check(kernel, tmp_path, exports=OURS, imports={"drm_a": 1, "kmalloc": 5, "ttm_a": 2})


def test_module_that_does_not_fit(kernel: Kernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another vermagic, another version of an import, or a changed export in use is refused."""
    with pytest.raises(InfraError, match="was built for"):
        check(kernel, tmp_path, magic="6.1.0-other SMP", exports=OURS, imports={})
    with pytest.raises(InfraError, match="drm_a"):
        check(kernel, tmp_path, exports=OURS, imports={"drm_a": 9})
    monkeypatch.setattr(fit, "_imports", lambda _base, _module: {"ttm_a": 2})
    with pytest.raises(UserError, match=r"ttm_a \(used by qxl\)"):
        check(kernel, tmp_path, exports=OURS.replace("2", "3"), imports={})
    with pytest.raises(UserError, match="ttm_a"):
        check(kernel, tmp_path, exports="", imports={})


def test_changed_export_that_nobody_uses(
    kernel: Kernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An export may change if no stock module imports it."""
    monkeypatch.setattr(fit, "_imports", lambda _base, _module: {"drm_a": 1})
    check(kernel, tmp_path, exports="", imports={})


def test_new_dependency(kernel: Kernel, tmp_path: Path) -> None:
    """A symbol of a module that the stock one did not need breaks the order of loading."""
    other = SYMVERS.replace("drivers/gpu/drm/drm", "drivers/new/helper")
    built = tmp_path / "ttm.ko"
    built.write_bytes(b"\0vermagic=6.1.0-test SMP \0")
    (tmp_path / "known").write_text(other)
    (tmp_path / "exports").write_text("")
    with pytest.raises(UserError, match="helper"):
        fit.check_fit(
            kernel, built, exports=tmp_path / "exports", known=tmp_path / "known", imports={"drm_a": 1}
        )


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (
            "  CC [M]  /build/ttm_bo.o\n/build/ttm_bo.c: In function 'f':\n"
            "/build/ttm_bo.c:3:5: error: 'x' undeclared\n/build/ttm_bo.c:9:1: error: later\n",
            "drivers/gpu/drm/ttm/ttm_bo.c:3:5: error: 'x' undeclared",
        ),
        (
            "/kernel/usr/src/linux-headers-6.1.0-56-common/include/drm/x.h:1:10: fatal error: no such file\n",
            "include/drm/x.h:1:10: fatal error: no such file",
        ),
        (
            'ERROR: modpost: "f" [/build/ttm.ko] undefined!\n',
            'ERROR: modpost: "f" [drivers/gpu/drm/ttm/ttm.ko] undefined!',
        ),
        ("make[1]: *** No rule to make target 'x'\n", "make[1]: *** No rule to make target 'x'"),
        ("", "make failed without naming an error"),
    ],
)
def test_first_error(text: str, error: str) -> None:
    """The compiler's first error, with its path as in the kernel tree."""
    assert first_error(text, "drivers/gpu/drm/ttm") == error
