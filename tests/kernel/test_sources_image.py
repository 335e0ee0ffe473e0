# SPDX-License-Identifier: GPL-2.0-or-later
"""A kernel that somebody has built: is it one, and are there modules of its release?"""

from __future__ import annotations

import gzip
import os
import shutil
import struct
from pathlib import Path

import pytest

from lab.errors import UserError
from lab.kernel.image_file import built_in_config
from lab.kernel.kernel import Kernel
from lab.kernel.obtain import obtain, obtain_steps
from lab.kernel.series import Series
from lab.kernel.vmlinux import release_of

RELEASE = "6.12.7-mine+"
CONFIG = 'CONFIG_CC_VERSION_TEXT="gcc (Debian) 14.2.0"\nCONFIG_KASAN=y\n'


def bzimage(path: Path, version: str = f"{RELEASE} (me@host) #1 SMP") -> Path:
    head = bytearray(0x400)
    head[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", head, 0x206, 0x20F)
    struct.pack_into("<H", head, 0x20E, 0x100)
    head[0x300 : 0x300 + len(version)] = version.encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(head)
    return path


def modules(top: Path, release: str = RELEASE) -> Path:
    folder = top / release
    (folder / "kernel").mkdir(parents=True)
    (folder / "modules.builtin").write_text("kernel/drivers/virtio/virtio_pci.ko\n")
    (folder / "modules.order").write_text("")
    (folder / "build").symlink_to("/etc")
    return folder


@pytest.fixture(autouse=True)
def _needs_depmod() -> None:
    if shutil.which("depmod", path="/usr/sbin:/sbin:/usr/bin:/bin") is None:
        pytest.skip("kmod is not installed")


@pytest.mark.parametrize("place", ["", "lib/modules", "usr/lib/modules"])
def test_modules_given(tmp_path: Path, place: str) -> None:
    """It may be a root, lib/modules itself, or the folder of the release; links in it are left out."""
    image = bzimage(tmp_path / "bzImage")
    folder = modules(tmp_path / "m" / place)
    (tmp_path / "c").write_text(CONFIG)
    kernel = obtain(f"image:{image},modules={tmp_path / 'm'},config={tmp_path / 'c'}", with_build=False)
    assert kernel.record.release == RELEASE
    assert kernel.record.compiler == "gcc (Debian) 14.2.0"
    assert kernel.record.debug_options == ("KASAN",)
    assert kernel.has_module("virtio-pci")
    assert not (kernel.root / "lib/modules" / RELEASE / "build").exists()
    assert obtain(f"image:{image},modules={folder}", with_build=False).record.release == RELEASE


def test_modules_found(tmp_path: Path) -> None:
    """Without options, modules and configuration are found where an installation has them."""
    image = bzimage(tmp_path / "boot/vmlinuz")
    modules(tmp_path / "lib/modules")
    (tmp_path / f"boot/config-{RELEASE}").write_text(CONFIG)
    kernel = obtain(f"image:{image}", with_build=False)
    assert kernel.config.read_text() == CONFIG


def test_a_rebuild_is_another_kernel(tmp_path: Path) -> None:
    """What a run has used stays as it was when the image or a module is built again."""
    image = bzimage(tmp_path / "boot/vmlinuz")
    folder = modules(tmp_path / "lib/modules")
    first = obtain(f"image:{image}", with_build=False)
    (folder / "modules.builtin").write_text("kernel/drivers/virtio/virtio.ko\n")
    second = obtain(f"image:{image}", with_build=False)
    bzimage(image, f"{RELEASE} #2")
    third = obtain(f"image:{image}", with_build=False)
    assert len({kernel.record.id for kernel in (first, second, third)}) == 3
    assert first.has_module("virtio_pci")
    assert not second.has_module("virtio_pci")


def test_a_rebuilt_module_of_the_same_size_and_time_is_another_kernel(tmp_path: Path) -> None:
    """Packers set the times of files, so only what is in a module tells it from the one before."""
    image = bzimage(tmp_path / "boot/vmlinuz")
    module = modules(tmp_path / "lib/modules") / "kernel/ttm.ko"

    def build(code: bytes) -> Kernel:
        module.write_bytes(code)
        os.utime(module, (1, 1))
        return obtain(f"image:{image}", with_build=False)

    first, second = build(b"old code"), build(b"new code")
    assert second.module_file("ttm").read_bytes() == b"new code"
    assert first.module_file("ttm").read_bytes() == b"old code"
    assert first.record.id != second.record.id
    assert build(b"old code").record == first.record


@pytest.mark.parametrize("damaged", ["bzImage", "config", f"lib/modules/{RELEASE}/kernel/ttm.ko"])
def test_a_damaged_copy_is_made_again(tmp_path: Path, damaged: str) -> None:
    """What is not what was copied is never booted."""
    image = bzimage(tmp_path / "boot/vmlinuz")
    (modules(tmp_path / "lib/modules") / "kernel/ttm.ko").write_bytes(b"code")
    kernel = obtain(f"image:{image}", with_build=False)
    good = (kernel.root / damaged).read_bytes()
    (kernel.root / damaged).write_bytes(good + b"x")
    again = obtain(f"image:{image}", with_build=False)
    assert again.record == kernel.record
    assert (again.root / damaged).read_bytes() == good


def test_no_matching_modules(tmp_path: Path) -> None:
    """The error tells the image's release and which releases there are modules of."""
    image = bzimage(tmp_path / "bzImage")
    modules(tmp_path / "lib/modules", "6.1.0-other")
    with pytest.raises(UserError, match=r"is Linux 6\.12\.7-mine\+, .*found: 6\.1\.0-other") as caught:
        obtain(f"image:{image},modules={tmp_path}", with_build=False)
    assert "modules_install" in caught.value.hint
    with pytest.raises(UserError, match="no modules of any kernel"):
        obtain(f"image:{image},modules={tmp_path / 'nowhere'}", with_build=False)


def test_no_image(tmp_path: Path) -> None:
    """A file that is no bzImage, or is missing, or a configuration that is, is the user's error."""
    (tmp_path / "vmlinux").write_bytes(b"\x7fELF" + bytes(2000))
    for name, said in {"vmlinux": "no bzImage", "nowhere": "cannot read", ".": "cannot read"}.items():
        with pytest.raises(UserError, match=said):
            obtain(f"image:{tmp_path / name}", with_build=False)
    assert release_of(bzimage(tmp_path / "odd", "not a version")) is None
    modules(tmp_path / "m")
    with pytest.raises(UserError, match="no configuration"):
        obtain(f"image:{bzimage(tmp_path / 'b')},modules={tmp_path / 'm'},config=/nowhere", with_build=False)


def test_series_needs_source(tmp_path: Path) -> None:
    """A series cannot be applied to what is built already."""
    series = Series("s", "s", 1, (), "", tmp_path, "")
    with pytest.raises(UserError, match="built already"):
        obtain_steps(f"image:{bzimage(tmp_path / 'b')}", series)


def test_built_in_configuration(tmp_path: Path) -> None:
    """A kernel with CONFIG_IKCONFIG tells its configuration; what only looks like one is ignored."""
    vmlinux = tmp_path / "vmlinux"
    vmlinux.write_bytes(b"..IKCFG_ST" + gzip.compress(CONFIG.encode()) + b"IKCFG_ED..")
    assert built_in_config(vmlinux) == CONFIG.encode()
    for data in (b"IKCFG_STnonsenseIKCFG_ED", b"IKCFG_ST", b""):
        vmlinux.write_bytes(data)
        assert built_in_config(vmlinux) == b""
    assert built_in_config(tmp_path / "nowhere") == b""
