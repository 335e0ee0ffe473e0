# SPDX-License-Identifier: GPL-2.0-or-later
"""Bringing the objects of a whole kernel up to date, in the folder that its series may write to."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from lab import files, log, proc
from lab.errors import InfraError, Interrupted, LabError, SeriesError, UserError
from lab.kernel.buildlog import bad_compiler, first_error
from lab.kernel.configure import Config, configure, decides_config
from lab.kernel.fixes import fixes_for
from lab.kernel.forecast import memory_of
from lab.kernel.objects import LastBuilt, ObjectTree
from lab.kernel.overlay import apply_series
from lab.kernel.progress import Learned, Progress
from lab.kernel.series import Patch, Series
from lab.kernel.stamps import as_last_built
from lab.kernel.toolchain import Toolchain, toolchain
from lab.kernel.work_copy import SourceTree


@dataclass(frozen=True)
class Job:
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

    def build_log(self, config: Config) -> Path:
        """Where its compiler's words are kept, beside what was built."""
        return files.cache_dir("builds") / f"{self.key(config)}.log"

    @property
    def base(self) -> Job:
        """The same without the series."""
        return replace(self, objects=self.objects.base, series=None)

    @property
    def title(self) -> str:
        return f"{self.name}{f' + {self.series.name}' if self.series else ''}, {self.objects.kconfig}"


def job_of(
    tree: SourceTree, kconfig: str, *, name: str, series: Series | None, tools: Toolchain | None
) -> Job:
    """The kernel of a tree under a configuration, with `series` applied. Reads none of the tree's files."""
    # All steps of a series come from one stranger: they share their objects.
    whose = files.sha256_text(series.digest, tree.identity) if series else ""
    objects = ObjectTree(tree.path, kconfig, tools or toolchain(), whose)
    return Job(tree, objects, name, fixes_for(tree.version), series)


@contextlib.contextmanager
def ready(job: Job) -> Iterator[Config]:
    """What is needed for `make_objects`: the objects for this lab alone, the source with its patches and with
    the times that make should see, and the configuration.

    The caller holds the tree. Raises as `full_build.build_kernel`.
    """
    with job.objects.held():
        if job.series is not None:
            _begin_series(job)
        with _patched(job, job.touched) as config:
            yield config


def _begin_series(job: Job) -> None:
    """Objects of this series alone: a copy of the base's, brought up to date first.

    So the series compiles what it touches, as the next one will. The configuration of the base is computed
    here, too, with programs that no series could replace.
    """
    # The series gives new times to what it touches: its base must not be made again for that.
    with _patched(job.base, job.touched) as config:
        if job.objects.begun:
            return
        if job.base.objects.last_built != job.base.source(config):
            make_and_tell(job.base, config)
        job.objects.begin()


@contextlib.contextmanager
def _patched(job: Job, touched: set[str]) -> Iterator[Config]:
    with apply_series(job.tree, job.patches):
        config = configure(job.tree, job.objects, job.config_changes)
        with as_last_built(job.tree.path, job.objects.folder / "stamps.json", touched):
            yield config


def image_of(config: Config) -> str:
    """The target of make that can be booted."""
    return "vmlinux" if config.values.get("CONFIG_PVH") == "y" else "bzImage"


def make_objects(job: Job, config: Config, watch: Callable[[bytes], None] | None = None) -> None:
    """Make image and modules inside `ready`, and remember what they are of; raises as `ready`."""
    kept = job.build_log(config)
    job.objects.note_begun()
    done = job.objects.make(
        [image_of(config), "modules"], log=kept, stranger=job.series is not None, watch=watch
    )
    if done.code != 0:
        raise _failure(job, done, kept)
    job.objects.note_complete(job.source(config))


def make_and_tell(job: Job, config: Config) -> None:
    """The same, while the user sees how far it is."""
    with log.step(f"building {job.title}") as tell:
        before = job.objects.steps_before
        memory = memory_of(job.tree, job.objects, job.source(config), config.values)
        progress = Progress(tell, memory.recall() if memory else None, done_before=before)
        try:
            make_objects(job, config, progress.feed)
        except Interrupted as error:
            job.objects.note_steps(before + progress.steps)
            raise Interrupted(
                f"interrupted while building {job.title} ({progress.text()}); the next run goes on from there"
            ) from error
        except LabError:
            job.objects.note_steps(before + progress.steps)
            raise
        if memory is not None and before == 0:
            memory.keep(Learned(steps=progress.steps, seconds=progress.seconds))


def _failure(job: Job, done: proc.Finished, kept: Path) -> LabError:
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
