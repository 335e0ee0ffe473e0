# SPDX-License-Identifier: GPL-2.0-or-later
"""From a kernel source to a Kernel on disk: fetched, unpacked and indexed once, then found by digest."""

from __future__ import annotations

import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from lab import files, log, proc
from lab.errors import InfraError, UserError
from lab.kernel.kernel import Kernel
from lab.kernel.packages import Package, PackageRoot, extract
from lab.kernel.sources import KernelPackages, parse_source, resolve
from lab.kernel.vmlinux import extract_vmlinux
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


def obtain(source: str, *, with_build: bool) -> Kernel:
    """The kernel that `source` names (see sources.parse_source), ready to boot.

    `with_build` also gets headers and the package with the source, and raises UserError if the index lacks
    one of them in the version of the image. Raises InfraError when index or mirror cannot be reached.
    """
    root = PackageRoot()
    packages = resolve(parse_source(source), root)
    if with_build and packages.missing:
        raise UserError(
            f"modules of Linux {packages.version} cannot be built: the index has no "
            f"{', '.join(packages.missing)} of the version of {packages.image.name}",
            hint="`lab list kernels` shows which kernels are complete",
        )
    build = [p for p in (packages.headers, packages.headers_common, packages.kbuild) if p is not None]
    wanted = [packages.image, *(build if with_build else [])]
    _fetch(root, packages, [p for p in wanted if not _unpacked_folder(wanted, p).exists()], with_build)
    with ThreadPoolExecutor(2) as pool:  # unpacking is bound by one core each
        headers = pool.submit(_headers_folder, root, build) if with_build else None
        kernel = _kernel(root, packages)
        if headers is None:
            return kernel
        return replace(kernel, headers=headers.result(), source_package=packages.source)


def _fetch(root: PackageRoot, packages: KernelPackages, wanted: list[Package], with_build: bool) -> None:
    """Get all files that are missing with one call of apt."""
    if with_build and packages.source is not None and not root.cached(packages.source):
        wanted = [*wanted, packages.source]
    root.fetch_all(wanted)


def _folder_of(*packages: Package) -> Path:
    digest = packages[0].sha256 if len(packages) == 1 else files.sha256_text(*[p.sha256 for p in packages])
    return files.cache_dir("kernels") / digest[:16]


def _unpacked_folder(wanted: list[Package], package: Package) -> Path:
    """Where a package ends up: the image alone, all that is for building together."""
    return _folder_of(package) if package is wanted[0] else _folder_of(*wanted[1:])


def _kernel(root: PackageRoot, packages: KernelPackages) -> Kernel:
    folder = _folder_of(packages.image)
    with files.locked(folder.with_name(f"{folder.name}.lock"), what=str(packages.image)):
        manifest = _checked(folder, packages.release)
        if manifest is None:
            deb = root.fetch(packages.image)
            with log.step(f"unpacking {packages.image}"), files.made_whole(folder) as building:
                manifest = _unpack_image(deb, packages.release, building)
    boot = folder / "boot"
    record = KernelRecord(
        id=kernel_id(manifest.vmlinuz_sha256, manifest.config_sha256, {}),
        name=f"debian:{packages.version}",
        release=packages.release,
        version=packages.version,
        source=f"package {packages.image}, sha256 {packages.image.sha256}",
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


def kernel_id(image_sha256: str, config_sha256: str, replaced: dict[str, str]) -> str:
    """12 hex digits over image, configuration and the digests of replaced modules."""
    modules = [part for item in sorted(replaced.items()) for part in item]
    return files.sha256_text(image_sha256, config_sha256, *modules)[:12]


def _checked(folder: Path, release: str) -> ImageManifest | None:
    """The manifest, if what it names is there unharmed; a damaged folder is removed and None returned."""
    if not folder.exists():
        return None
    try:
        manifest = ImageManifest.model_validate_json((folder / MANIFEST).read_bytes())
        found = _digests(folder, release)
    except (OSError, ValidationError) as error:
        problem = f"{type(error).__name__}: {error}".splitlines()[0]
    else:
        if found == manifest.model_copy(update={"compiler": found.compiler}):
            return manifest
        problem = "a digest differs"
    log.info(f"{folder} is damaged ({problem}): removed, will be unpacked again")
    shutil.rmtree(folder, ignore_errors=True)
    return None


def _unpack_image(deb: Path, release: str, into: Path) -> ImageManifest:
    extract([deb], into)
    merged = into / "usr/lib/modules"
    if merged.is_dir() and not (into / "lib").exists():  # newer images are laid out for merged /usr
        (into / "lib").symlink_to("usr/lib")
    if not (into / "lib/modules" / release).is_dir():
        raise InfraError(f"{deb} has no modules of {release}", hint="please report it as a bug of the lab")
    depmod = proc.needed("depmod", package="kmod", why="the order of loading modules is computed with it")
    proc.run([depmod, "-b", str(into), release], timeout=120)
    extract_vmlinux(into / f"boot/vmlinuz-{release}", into / "boot/vmlinux")
    config = (into / f"boot/config-{release}").read_text()
    compiler = re.search(r'(?m)^CONFIG_CC_VERSION_TEXT="(.*)"$', config)
    manifest = _digests(into, release).model_copy(update={"compiler": compiler[1] if compiler else "unknown"})
    files.write_whole(into / MANIFEST, manifest.model_dump_json(indent=2) + "\n")
    return manifest


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
                for makefile in building.glob("usr/src/linux-headers-*/Makefile"):
                    text = makefile.read_text()
                    if text.startswith("include /usr/src/"):
                        makefile.write_text(text.replace("include /usr/src/", "include /kernel/usr/src/", 1))
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
