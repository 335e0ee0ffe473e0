# SPDX-License-Identifier: GPL-2.0-or-later
"""A kernel of Debian's archive on disk: fetched, unpacked and indexed once, then found by digest."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from lab import files, log, proc
from lab.errors import InfraError, UserError
from lab.kernel.archive import resolve
from lab.kernel.kernel import Kernel, compiler_of, kernel_id
from lab.kernel.kernel_packages import KernelPackages
from lab.kernel.packages import Package, PackageRoot, extract
from lab.kernel.sources import Packaged
from lab.kernel.suites import Suite, tools_of
from lab.kernel.vmlinux import extract_vmlinux, packer
from lab.results.models import KernelRecord, Record

MANIFEST = "manifest.json"
STAMP = "stamp"


class ImageManifest(Record):
    """What lies in an unpacked image's folder, with the digests it is checked by when it is used."""

    release: str
    vmlinuz_sha256: str
    vmlinux_sha256: str  # "" if there is none
    config_sha256: str
    modules_stamp: str  # files.stamp_tree of lib/modules
    compiler: str
    unpacker: bool = False  # what unpacks the image was there; earlier labs did without it


def packaged_kernel(source: Packaged, *, with_build: bool) -> Kernel:
    """The kernel of a package, ready to boot.

    `with_build` also gets headers and the package with the source, and raises UserError if the archive lacks
    one of them in the version of the image. Raises InfraError when index or mirror cannot be reached.
    """
    packages = resolve(source, with_build=with_build)
    if with_build and packages.missing:
        raise UserError(
            f"modules of Linux {packages.version} cannot be built: the archive has no "
            f"{', '.join(packages.missing)} of the version of {packages.image.name}",
            hint="`lab list kernels --available` shows which kernels are complete",
        )
    root = PackageRoot()
    _fetch(root, packages, packages.tools if with_build else [])
    with ThreadPoolExecutor(2) as pool:  # unpacking is bound by one core each
        headers = pool.submit(_headers_folder, root, packages.tools) if with_build else None
        kernel = _kernel(root, packages)
        if headers is None:
            return kernel
        suite = _suite_of(packages)
        return replace(kernel, headers=headers.result(), source_package=packages.source, suite=suite)


def unpacked(source: Packaged) -> tuple[bool, str]:
    """Does the cache have it ready to boot, and which version it is now. Raises as `packaged_kernel`."""
    packages = resolve(source)
    return _folder_of(*packages.boot).exists(), packages.version


def kernel_headers(source: Packaged) -> tuple[Path, Suite | None]:
    """What modules from outside are built with: headers and kbuild tools, and the suite whose compiler goes
    with them; None: the host's. UserError if the archive lacks them in the version of the image."""
    packages = resolve(source, with_build=True)
    if missing := [name for name in packages.missing if name != "source"]:
        raise UserError(f"the archive has no {', '.join(missing)} of Linux {packages.version}")
    root = PackageRoot()
    if not _folder_of(*packages.tools).exists():
        root.fetch_all(packages.tools)
    return _headers_folder(root, packages.tools), _suite_of(packages)


def _suite_of(packages: KernelPackages) -> Suite | None:
    return tools_of(packages.suite) if packages.image.index == "every" else None


def _fetch(root: PackageRoot, packages: KernelPackages, build: list[Package]) -> None:
    """Get all files that are missing with one call of apt per index."""
    wanted = [] if _folder_of(*packages.boot).exists() else list(packages.boot)
    if build and not _folder_of(*build).exists():
        wanted += build
    if build and packages.source is not None and not root.cached(packages.source):
        wanted.append(packages.source)
    root.fetch_all(wanted)


def _folder_of(*packages: Package) -> Path:
    digest = packages[0].sha256 if len(packages) == 1 else files.sha256_text(*[p.sha256 for p in packages])
    return files.cache_dir("kernels") / digest[:16]


def _kernel(root: PackageRoot, packages: KernelPackages) -> Kernel:
    folder = _folder_of(*packages.boot)
    with files.locked(folder.with_name(f"{folder.name}.lock"), what=str(packages.image)):
        manifest = _checked(folder, packages.release)
        if manifest is None:
            debs = root.fetch_all(packages.boot)
            with log.step(f"unpacking {packages.image}"), files.made_whole(folder) as building:
                manifest = _unpack_image(debs, packages.release, building)
    boot = folder / "boot"
    record = KernelRecord(
        id=kernel_id(manifest.vmlinuz_sha256, manifest.config_sha256, {}),
        name=f"debian:{packages.version}",
        release=packages.release,
        version=packages.version,
        source=" and ".join(f"package {package}, sha256 {package.sha256}" for package in packages.boot),
        image_sha256=manifest.vmlinuz_sha256,
        config_sha256=manifest.config_sha256,
        compiler=manifest.compiler,
    )
    return Kernel(
        record=record,
        vmlinuz=boot / f"vmlinuz-{packages.release}",
        vmlinux=boot / "vmlinux" if manifest.vmlinux_sha256 else None,
        root=folder,
        config=boot / f"config-{packages.release}",
    )


def _checked(folder: Path, release: str) -> ImageManifest | None:
    """The manifest, if what it names is there unharmed; a damaged folder is removed and None returned."""
    if not folder.exists():
        return None
    try:
        manifest = ImageManifest.model_validate_json((folder / MANIFEST).read_bytes())
        found = _digests(folder, release)
    except (OSError, ValidationError) as error:
        what = f"{type(error).__name__}: {error}".splitlines()[0]
        problem = f"is damaged ({what})"
    else:
        vmlinuz = folder / f"boot/vmlinuz-{release}"
        if found != manifest.model_copy(update={"compiler": found.compiler, "unpacker": found.unpacker}):
            problem = "is damaged (a digest differs)"
        elif manifest.vmlinux_sha256 or manifest.unpacker or not (program := packer(vmlinuz)):
            return manifest
        else:
            problem = f"holds an image that was not unpacked, for want of {program}"
    log.info(f"{folder} {problem}: removed, will be unpacked again")
    shutil.rmtree(folder, ignore_errors=True)
    return None


def _unpack_image(debs: Sequence[Path], release: str, into: Path) -> ImageManifest:
    extract(debs, into)
    merged = into / "usr/lib/modules"
    if merged.is_dir() and not (into / "lib").exists():  # newer images are laid out for merged /usr
        (into / "lib").symlink_to("usr/lib")
    modules = into / "lib/modules" / release
    _gather(modules, release, into / "boot")
    if not (modules / "kernel").is_dir() or not (into / f"boot/vmlinuz-{release}").is_file():
        names = " and ".join(deb.name for deb in debs)
        raise InfraError(
            f"{names} hold no image and modules of {release}", hint="please report it as a bug of the lab"
        )
    depmod = proc.needed("depmod", package="kmod", why="the order of loading modules is computed with it")
    proc.run([depmod, "-b", str(into), release], timeout=120)
    extract_vmlinux(into / f"boot/vmlinuz-{release}", into / "boot/vmlinux")
    compiler = compiler_of((into / f"boot/config-{release}").read_text())
    manifest = _digests(into, release).model_copy(update={"compiler": compiler, "unpacker": True})
    files.write_whole(into / MANIFEST, manifest.model_dump_json(indent=2) + "\n")
    return manifest


def _gather(modules: Path, release: str, boot: Path) -> None:
    """From 6.19 on image and configuration lie beside the modules: move them to where they used to be."""
    boot.mkdir(exist_ok=True)
    for name, place in (("vmlinuz", "vmlinuz"), ("vmlinuz.unsigned", "vmlinuz"), ("config", "config")):
        if (modules / name).is_file():
            (modules / name).replace(boot / f"{place}-{release}")


def _digests(folder: Path, release: str) -> ImageManifest:
    boot, vmlinux = folder / "boot", folder / "boot/vmlinux"
    return ImageManifest(
        release=release,
        vmlinuz_sha256=files.sha256_file(boot / f"vmlinuz-{release}"),
        vmlinux_sha256=files.sha256_file(vmlinux) if vmlinux.exists() else "",
        config_sha256=files.sha256_file(boot / f"config-{release}"),
        modules_stamp=files.stamp_tree(folder / "lib/modules" / release),
        compiler="",
    )


def _headers_folder(root: PackageRoot, packages: list[Package]) -> Path:
    """Headers and build tools, with the absolute paths in them moved to where the sandbox has them."""
    folder = _folder_of(*packages)
    with files.locked(folder.with_name(f"{folder.name}.lock"), what="kernel headers"):
        if not _headers_intact(folder):
            debs = root.fetch_all(packages)
            with log.step(f"unpacking {packages[0]} and build tools"), files.made_whole(folder) as building:
                extract(debs, building)
                for makefile in building.glob("usr/src/linux-headers-*-amd64/Makefile"):
                    text = makefile.read_text()
                    makefile.write_text(
                        re.sub(r"(?m)^(include |KBUILD_OUTPUT=)/usr/", r"\1/kernel/usr/", text)
                    )
                files.write_whole(building / STAMP, files.stamp_tree(building / "usr"))
    return folder


def _headers_intact(folder: Path) -> bool:
    if not folder.exists():
        return False
    stamp = folder / STAMP
    if stamp.is_file() and stamp.read_text() == files.stamp_tree(folder / "usr"):
        return True
    log.info(f"{folder} is damaged: removed, will be unpacked again")
    shutil.rmtree(folder, ignore_errors=True)
    return False
