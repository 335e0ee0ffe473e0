# SPDX-License-Identifier: GPL-2.0-or-later
"""A kernel that somebody has built already: a bzImage, and where its modules and its configuration are."""

from __future__ import annotations

import os
import re
import shutil
import zlib
from pathlib import Path

from lab import files, log, proc
from lab.errors import UserError
from lab.kernel.finished import Manifest, intact, write_manifest
from lab.kernel.kconfig import debug_options
from lab.kernel.kernel import Kernel, compiler_of, kernel_id
from lab.kernel.planner import parse_config
from lab.kernel.sources import Image
from lab.kernel.vmlinux import extract_vmlinux, release_of
from lab.results.models import KernelRecord

KEPT = re.compile(r".*\.ko(\.(xz|zst|gz))?|modules\..*")
"""What is copied of a folder of modules: not the links to somebody's build tree."""

MAX_CONFIG = 4 << 20
"""Bytes of a configuration; a distribution's has 300 KiB."""

IKCONFIG = b"IKCFG_ST", b"IKCFG_ED"
"""Around the packed configuration, in a kernel with CONFIG_IKCONFIG."""


def image_kernel(source: Image) -> Kernel:
    """The kernel in a bzImage; image, modules and configuration are copied, so that a rebuild changes no run.

    Without `modules=` they are looked for where `make modules_install` and distributions put them; without
    `config=`, beside the image, beside the modules and inside of the image. Raises UserError if the file is
    no bzImage, or if there are no modules of its release.
    """
    release = _release(source.path)
    modules = _modules(source, release)
    beside = _config(source, release, modules)
    key = _key(source.path, beside, modules)
    folder = files.cache_dir("kernels") / f"image-{key[:16]}"
    with files.locked(folder.with_name(f"{folder.name}.lock"), what=str(source)):
        manifest = intact(folder, Manifest)
        if manifest is None:
            with log.step(f"copying {source.path}"), files.made_whole(folder) as building:
                manifest = _fill(building, source.path, release, modules, beside)
    image, config, vmlinux = folder / "bzImage", folder / "config", folder / "vmlinux"
    image_sha256, config_sha256 = manifest.contents["bzImage"], manifest.contents["config"]
    text = config.read_text(errors="replace")
    record = KernelRecord(
        id=kernel_id(image_sha256, config_sha256, {"modules": key}),
        name=str(source),
        release=release,
        version=release,
        source=f"image {source.path}, sha256 {image_sha256}, with the modules in {modules}",
        image_sha256=image_sha256,
        config_sha256=config_sha256,
        compiler=compiler_of(text),
        debug_options=debug_options(parse_config(text)),
    )
    return Kernel(record, image, vmlinux if vmlinux.exists() else None, folder, config)


def _release(image: Path) -> str:
    try:
        release = release_of(image)
    except OSError as error:
        raise UserError(f"cannot read {image}: {error.strerror}", hint="image: names a bzImage") from error
    if release is None:
        raise UserError(
            f"{image} is no bzImage: it has no setup header with a version",
            hint="name arch/x86/boot/bzImage of a build, or a distribution's /boot/vmlinuz-*",
        )
    return release


def _modules(source: Image, release: str) -> Path:
    """The folder with the modules of this release."""
    near = source.path.parent
    tops = [source.modules] if source.modules else [near, near.parent, Path("/")]
    places = [place for top in tops for place in (top / "lib/modules", top / "usr/lib/modules")]
    if source.modules:
        places += [source.modules, source.modules.parent]  # lib/modules itself, and the folder of one release
    for place in places:
        if (place / release).is_dir() and (place / release / "modules.builtin").is_file():
            return place / release
    found = sorted({path.parent.name for place in places for path in place.glob("*/modules.builtin")})
    where = str(source.modules) if source.modules else f"{near}, {near.parent} and /lib/modules"
    raise UserError(
        f"{source.path} is Linux {release}, and there are no modules of it in {where}; "
        + (f"found: {', '.join(found[:8])}" if found else "no modules of any kernel are there"),
        hint="in its build tree: make modules_install INSTALL_MOD_PATH=DIR, then image:BZIMAGE,modules=DIR",
    )


def _config(source: Image, release: str, modules: Path) -> Path | None:
    """The configuration's file: as named, or where builds and distributions keep it."""
    if source.config is not None:
        if not source.config.is_file():
            raise UserError(
                f"there is no configuration {source.config}", hint="config= names a kernel's .config"
            )
        return source.config
    near = source.path.parent
    guesses = [near / f"config-{release}", near / ".config", modules / "config"]
    if near.match("arch/x86/boot"):
        guesses.insert(0, near.parents[2] / ".config")
    return next((path for path in guesses if path.is_file()), None)


def _key(image: Path, config: Path | None, modules: Path) -> str:
    """Over contents: packers set the times of files, and a rebuilt module can have the old size."""
    try:
        parts = [files.sha256_file(image), files.sha256_file(config) if config else ""]
        for path in _kept(modules):
            parts += [str(path.relative_to(modules)), files.sha256_file(path)]
    except OSError as error:
        raise UserError(f"cannot read {error.filename}: {error.strerror}") from error
    return files.sha256_text(*parts)


def _kept(modules: Path) -> list[Path]:
    found = (Path(folder, name) for folder, _, names in os.walk(modules) for name in names)
    return sorted(
        path for path in found if KEPT.fullmatch(path.name) and path.is_file() and not path.is_symlink()
    )


def _fill(into: Path, image: Path, release: str, modules: Path, config: Path | None) -> Manifest:
    shutil.copyfile(image, into / "bzImage")
    extract_vmlinux(into / "bzImage", into / "vmlinux")
    if config is not None:
        shutil.copyfile(config, into / "config")
    else:
        (into / "config").write_bytes(built_in_config(into / "vmlinux"))
    for path in _kept(modules):
        copy = into / "lib/modules" / release / path.relative_to(modules)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    depmod = proc.needed("depmod", package="kmod", why="the order of loading modules is computed with it")
    proc.run([depmod, "-b", str(into), release], timeout=120)
    made = sorted(path for path in into.rglob("*") if path.is_file())
    manifest = Manifest(contents={str(path.relative_to(into)): files.sha256_file(path) for path in made})
    write_manifest(into, manifest)
    return manifest


def built_in_config(vmlinux: Path) -> bytes:
    """The configuration that a kernel carries (CONFIG_IKCONFIG); b"" if it carries none."""
    if not vmlinux.is_file():
        return b""
    _, _, rest = vmlinux.read_bytes().partition(IKCONFIG[0])
    packed, end, _ = rest.partition(IKCONFIG[1])
    if not end:
        return b""
    unpack = zlib.decompressobj(wbits=31)
    try:
        return unpack.decompress(packed, MAX_CONFIG)
    except zlib.error:
        return b""
