# SPDX-License-Identifier: GPL-2.0-or-later
"""A bootable kernel from a source tree and a configuration, with or without a series; the same one is never
built twice."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from lab import files, log
from lab.errors import InfraError
from lab.kernel import planner
from lab.kernel.buildlog import first_error
from lab.kernel.configure import Config, kept_config
from lab.kernel.finished import Manifest, intact, write_manifest
from lab.kernel.forecast import plan_of
from lab.kernel.full_objects import Job, image_of, job_of, make_and_tell, make_objects, ready
from lab.kernel.kernel import Kernel, kernel_id
from lab.kernel.objects import ObjectTree
from lab.kernel.series import Series
from lab.kernel.toolchain import Toolchain
from lab.kernel.vmlinux import has_pvh_note
from lab.kernel.work_copy import SourceTree
from lab.results.models import KernelRecord

IMAGES = {"vmlinux": "vmlinux", "bzImage": "arch/x86/boot/bzImage"}


class FullManifest(Manifest):
    """Of a whole kernel."""

    release: str
    image: str  # "vmlinux", or "bzImage" where the configuration lets QEMU enter no ELF file


def build_kernel(
    tree: SourceTree, kconfig: str, *, name: str, series: Series | None = None, tools: Toolchain | None = None
) -> Kernel:
    """The kernel of a tree under a configuration such as `lean+drm`, with `series` applied.

    The caller holds the tree (trees.checked_out). Raises UserError for a configuration that cannot be had,
    SeriesError if the series does not apply or compile, InfraError if the tree does not build without it or
    the disk is full, Interrupted on ^C; the next call goes on from the objects that are there.
    """
    if (kernel := find_kernel(tree, kconfig, name=name, series=series, tools=tools)) is not None:
        return kernel
    job = job_of(tree, kconfig, name=name, series=series, tools=tools)
    with ready(job) as config:
        final = files.cache_dir("builds") / job.key(config)
        manifest = intact(final, FullManifest) or _built(job, config, final)
    return _kernel(job, config, final, manifest)


def find_kernel(
    tree: SourceTree, kconfig: str, *, name: str, series: Series | None = None, tools: Toolchain | None = None
) -> Kernel | None:
    """That kernel, if it was built before. Reads nothing of the tree's files, so nobody need hold it."""
    job = job_of(tree, kconfig, name=name, series=series, tools=tools)
    config = kept_config(tree, job.objects, job.config_changes)
    if config is None:
        return None
    final = files.cache_dir("builds") / job.key(config)
    manifest = intact(final, FullManifest)
    return None if manifest is None else _kernel(job, config, final, manifest)


@contextlib.contextmanager
def objects_of(
    tree: SourceTree, kconfig: str, *, name: str, series: Series | None = None, tools: Toolchain | None = None
) -> Iterator[tuple[str, ObjectTree]]:
    """The objects of a kernel as `build_kernel` left them, and the key of that build; held while inside.

    Another build may have used the folder since: then make brings it back. Raises as `build_kernel`.
    """
    job = job_of(tree, kconfig, name=name, series=series, tools=tools)
    with ready(job) as config:
        make_objects(job, config)
        yield job.key(config), job.objects


def build_steps(
    tree: SourceTree, kconfig: str, series: Series, *, name: str, tools: Toolchain | None = None
) -> tuple[Kernel, ...]:
    """The base, then the kernel after each patch of the series; the last is the patched kernel.

    Raises as `build_kernel`; a series that touches nothing that is built gives equal `build_id`s.
    """
    base = build_kernel(tree, kconfig, name=name, tools=tools)
    begun = [series.first(number) for number in range(1, len(series.patches) + 1)]
    what = plan_for(tree, base, series)
    if isinstance(what, planner.Nothing):
        log.info(f"nothing to build: {what.reason}")
        return base, *(_named(base, name, which) for which in begun)
    log.info(f"the series changes {what}")
    return base, *(build_kernel(tree, kconfig, name=name, series=which, tools=tools) for which in begun)


def plan_for(tree: SourceTree, base: Kernel, series: Series) -> planner.Plan:
    """What a series makes necessary to build."""
    return plan_of(tree, set(series.touched), planner.parse_config(base.config.read_text()))


def _named(kernel: Kernel, name: str, series: Series) -> Kernel:
    ids = tuple(patch.patch_id for patch in series.patches)
    record = kernel.record.model_copy(update={"name": f"{name} + {series.name}", "patch_ids": ids})
    return replace(kernel, record=record)


def _built(job: Job, config: Config, final: Path) -> FullManifest:
    with files.made_whole(final) as made:
        make_and_tell(job, config)
        return _copied_out(job, image_of(config), made)


def _copied_out(job: Job, image: str, into: Path) -> FullManifest:
    """Image, configuration and modules, as the build's own rules install them."""
    done = job.objects.make(
        ["INSTALL_MOD_PATH=/out", "modules_install"], out=into, stranger=job.series is not None
    )
    if done.code == 0:
        done = job.objects.run(
            ["cp", "--dereference", f"/obj/{IMAGES[image]}", "/obj/.config", "/out/"], out=into
        )
    if done.code != 0:
        done.check_room()
        raise InfraError(
            f"{job.title} was built, but cannot be installed: {first_error(done.text + done.errors)}"
        )
    contents = _plain_files(into)
    folders = [path.name for path in (into / "lib/modules").iterdir()]
    if len(folders) != 1 or Path(IMAGES[image]).name not in contents:
        raise InfraError(f"{job.title} was built, but left no image and modules of one release")
    manifest = FullManifest(release=folders[0], image=Path(IMAGES[image]).name, contents=contents)
    write_manifest(into, manifest)
    return manifest


def _plain_files(folder: Path) -> dict[str, str]:
    """Digests of all files; links are removed, as a stranger's build could point them anywhere."""
    contents = {}
    for top, below, names in os.walk(folder):
        for name in [*below, *names]:
            path = Path(top, name)
            mode = path.lstat().st_mode
            if stat.S_ISREG(mode):
                contents[str(path.relative_to(folder))] = files.sha256_file(path)
            elif not stat.S_ISDIR(mode):
                path.unlink()
        below[:] = [name for name in below if Path(top, name).is_dir()]
    return dict(sorted(contents.items()))


def _kernel(job: Job, config: Config, folder: Path, manifest: FullManifest) -> Kernel:
    contents = manifest.contents
    image = folder / manifest.image
    modules = {name: digest for name, digest in contents.items() if name.endswith(".ko")}
    record = KernelRecord(
        id=kernel_id(contents[manifest.image], config.digest, modules),
        name=f"{job.name} + {job.series.name}" if job.series else job.name,
        release=manifest.release,
        version=job.tree.version,
        source=job.tree.origin,
        image_sha256=contents[manifest.image],
        config_sha256=contents[".config"],
        compiler=job.objects.toolchain.version,
        kconfig=config.name,
        debug_options=config.debug_options,
        commit=job.tree.commit or "",
        patch_ids=tuple(patch.patch_id for patch in job.series.patches) if job.series else (),
        build_id=files.sha256_text(
            *[part for item in {manifest.image: contents[manifest.image], **modules}.items() for part in item]
        ),
    )
    elf = image if manifest.image == "vmlinux" and has_pvh_note(image) else None
    return Kernel(record=record, vmlinuz=image, vmlinux=elf, root=folder, config=folder / ".config")
