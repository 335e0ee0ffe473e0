# SPDX-License-Identifier: GPL-2.0-or-later
"""A bootable kernel from a source tree and a configuration, with or without a series; the same one is never
built twice."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from lab import files, log, proc
from lab.errors import InfraError, Interrupted, LabError, SeriesError, UserError
from lab.kernel import planner
from lab.kernel.buildlog import bad_compiler, first_error
from lab.kernel.configure import Config, configure, decides_config, kept_config
from lab.kernel.finished import Manifest, intact, write_manifest
from lab.kernel.fixes import fixes_for
from lab.kernel.forecast import memory_of, plan_of
from lab.kernel.kernel import Kernel, kernel_id
from lab.kernel.objects import LastBuilt, ObjectTree
from lab.kernel.overlay import apply_series
from lab.kernel.progress import Learned, Progress
from lab.kernel.series import Patch, Series
from lab.kernel.stamps import as_last_built
from lab.kernel.toolchain import Toolchain, toolchain
from lab.kernel.vmlinux import has_pvh_note
from lab.kernel.work_copy import SourceTree
from lab.results.models import KernelRecord

IMAGES = {"vmlinux": "vmlinux", "bzImage": "arch/x86/boot/bzImage"}


class FullManifest(Manifest):
    """Of a whole kernel."""

    release: str
    image: str  # "vmlinux", or "bzImage" where the configuration lets QEMU enter no ELF file


@dataclass(frozen=True)
class _Job:
    """One kernel to be built."""

    tree: SourceTree
    objects: ObjectTree
    name: str  # as the user would write it
    fixes: tuple[Patch, ...]
    series: Series | None

    @property
    def patches(self) -> tuple[Patch, ...]:
        return (*self.fixes, *(self.series.patches if self.series else ()))

    @property
    def touched(self) -> set[str]:
        return {path for patch in self.patches for path in patch.touched}

    @property
    def config_changes(self) -> str:
        """A digest of the patches if they can change the configuration, else ""."""
        return self._diffs if decides_config(self.touched) else ""

    @property
    def _diffs(self) -> str:
        # The diffs themselves and not their patch ids, which are blind to white space.
        return files.sha256_text(*[patch.diff for patch in self.patches])

    def key(self, config: Config) -> str:
        tools = (self.objects.toolchain.version, *self.objects.toolchain.make_flags)
        return files.sha256_text(self.tree.identity, self._diffs, config.digest, *tools)[:16]

    def source(self, config: Config) -> LastBuilt:
        return LastBuilt(
            identity=self.tree.identity, config=config.digest, patched=tuple(sorted(self.touched))
        )

    @property
    def title(self) -> str:
        return f"{self.name}{f' + {self.series.name}' if self.series else ''}, {self.objects.kconfig}"


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
    tools = tools or toolchain()
    objects = ObjectTree(tree.path, kconfig, tools)
    job = _Job(tree, objects, name, fixes_for(tree.version), series)
    with objects.held(), apply_series(tree, job.patches):
        config = configure(tree, objects, job.config_changes)
        final = files.cache_dir("builds") / job.key(config)
        manifest = intact(final, FullManifest)
        if manifest is None:
            with as_last_built(tree.path, objects.folder / "stamps.json", job.touched):
                manifest = _built(job, config, final)
    return _kernel(job, config, final, manifest)


def find_kernel(
    tree: SourceTree, kconfig: str, *, name: str, series: Series | None = None, tools: Toolchain | None = None
) -> Kernel | None:
    """That kernel, if it was built before. Reads nothing of the tree's files, so nobody need hold it."""
    objects = ObjectTree(tree.path, kconfig, tools or toolchain())
    job = _Job(tree, objects, name, fixes_for(tree.version), series)
    config = kept_config(tree, objects, job.config_changes)
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
    tools = tools or toolchain()
    objects = ObjectTree(tree.path, kconfig, tools)
    job = _Job(tree, objects, name, fixes_for(tree.version), series)
    with objects.held(), apply_series(tree, job.patches):
        config = configure(tree, objects, job.config_changes)
        with as_last_built(tree.path, objects.folder / "stamps.json", job.touched):
            kept = files.cache_dir("builds") / f"{job.key(config)}.log"
            objects.note_begun()
            done = objects.make([_image(config), "modules"], log=kept, stranger=series is not None)
            if done.code != 0:
                raise _failure(job, done, kept)
            objects.note_complete(job.source(config))
            yield job.key(config), objects


def _image(config: Config) -> str:
    return "vmlinux" if config.values.get("CONFIG_PVH") == "y" else "bzImage"


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


def _built(job: _Job, config: Config, final: Path) -> FullManifest:
    image = _image(config)
    with log.step(f"building {job.title}") as tell, files.made_whole(final) as made:
        kept = final.with_name(f"{final.name}.log")
        source, before = job.source(config), job.objects.steps_before
        memory = memory_of(job.tree, job.objects, source, config.values)
        progress = Progress(tell, memory.recall() if memory else None, done_before=before)
        job.objects.note_begun()
        try:
            done = job.objects.make(
                [image, "modules"], log=kept, stranger=job.series is not None, watch=progress.feed
            )
        except Interrupted as error:
            job.objects.note_steps(before + progress.steps)
            raise Interrupted(
                f"interrupted while building {job.title} ({progress.text()}); the next run goes on from there"
            ) from error
        if done.code != 0:
            job.objects.note_steps(before + progress.steps)
            raise _failure(job, done, kept)
        if memory is not None and before == 0:
            memory.keep(Learned(steps=progress.steps, seconds=progress.seconds))
        job.objects.note_complete(source)
        return _copied_out(job, image, made)


def _failure(job: _Job, done: proc.Finished, kept: Path) -> LabError:
    """Whose fault it is that make failed."""
    done.check_room()
    error = first_error(done.text, {"/src/": "", "/obj/": ""})
    hint = f"the whole log is {kept}"
    if words := bad_compiler(done.text):
        return UserError(
            f"{job.title} cannot be built with {job.objects.toolchain.version}: {words}", hint=hint
        )
    if job.series is None:
        return InfraError(f"{job.title} does not build even without a series: {error}", hint=hint)
    return SeriesError(
        f"{job.series.name} does not build on {job.name} with {job.series.last}: {error}",
        stage="build",
        evidence=done.text[-16384:],
        hint=hint,
    )


def _copied_out(job: _Job, image: str, into: Path) -> FullManifest:
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


def _kernel(job: _Job, config: Config, folder: Path, manifest: FullManifest) -> Kernel:
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


def _build_id(built: Mapping[str, str]) -> str:
    return files.sha256_text(*[part for item in sorted(built.items()) for part in item])
