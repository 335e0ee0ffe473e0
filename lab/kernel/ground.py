# SPDX-License-Identifier: GPL-2.0-or-later
"""What the lab's own modules are built on: the headers of a packaged kernel, or the objects of one that the
lab built itself. Both are got only when something is to be built."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from lab import files, proc
from lab.errors import InfraError, UserError
from lab.kernel import full_build
from lab.kernel.kernel import Ground, Kernel, OpenGround
from lab.kernel.module_build import MAKE_FLAGS, SECONDS
from lab.kernel.module_tools import module_tools
from lab.kernel.objects import ObjectTree
from lab.kernel.packaged import kernel_headers
from lab.kernel.sandbox import Sandbox
from lab.kernel.series import Series
from lab.kernel.sources import Buildable, Packaged
from lab.kernel.trees import checked_out


def on_headers(kernel: Kernel) -> Kernel:
    """A packaged kernel, with its headers as ground."""
    return replace(kernel, ground=HeadersGround(kernel))


def on_objects(kernel: Kernel, source: Buildable, kconfig: str, series: Series | None = None) -> Kernel:
    """A kernel that the lab built, with its object tree as ground."""
    return replace(kernel, ground=ObjectsGround(kernel, source, kconfig, series))


@dataclass(frozen=True)
class HeadersGround(Ground):
    """Headers of a packaged kernel, patched modules of it or not."""

    kernel: Kernel

    def obstacle(self) -> str:
        try:
            assert self._base.headers is not None
        except UserError as error:
            return error.message
        return ""

    @cached_property
    def _base(self) -> Kernel:
        if self.kernel.headers is not None:
            return self.kernel
        headers, suite = kernel_headers(Packaged(self.kernel.record.version))
        return replace(self.kernel, headers=headers, suite=suite)

    @cached_property
    def _tools(self) -> tuple[Path, str]:
        return module_tools(self._base)

    @property
    def identity(self) -> str:
        assert self._base.headers is not None
        return files.sha256_text(self._base.headers.name, self._tools[1], *MAKE_FLAGS)

    @contextlib.contextmanager
    def opened(self) -> Iterator[OpenGround]:
        assert self._base.headers is not None
        yield _OpenHeaders(self._base.headers, self.kernel.record.release, self._tools[0])


@dataclass(frozen=True)
class _OpenHeaders(OpenGround):
    headers: Path
    release: str
    root: Path

    @property
    def symvers(self) -> Path:
        return self.headers / "usr/src" / f"linux-headers-{self.release}" / "Module.symvers"

    def make(self, out: Path, words: Sequence[str]) -> proc.Finished:
        headers = f"/kernel/usr/src/linux-headers-{self.release}"
        argv = ["make", "-C", headers, f"-j{os.cpu_count() or 1}", *MAKE_FLAGS, *words]
        return self._run(out, argv, SECONDS)

    def run(self, out: Path, command: Sequence[str]) -> proc.Finished:
        return self._run(out, command, 60)

    def _run(self, out: Path, command: Sequence[str], seconds: float) -> proc.Finished:
        there = Sandbox({"/kernel": self.headers}, {"/out": out}, chdir="/out", root=self.root)
        return proc.run(there.argv(command), timeout=seconds, check=False)


@dataclass(frozen=True)
class ObjectsGround(Ground):
    """The object tree of a kernel that the lab built, brought back to its state when needed."""

    kernel: Kernel
    source: Buildable
    kconfig: str
    series: Series | None

    def obstacle(self) -> str:
        return ""

    @property
    def identity(self) -> str:
        return self.kernel.root.name  # the key of the build: tree, patches, configuration and compiler

    @contextlib.contextmanager
    def opened(self) -> Iterator[OpenGround]:
        with (
            checked_out(self.source) as tree,
            full_build.objects_of(tree, self.kconfig, name=str(self.source), series=self.series) as built,
        ):
            key, objects = built
            if key != self.kernel.root.name:
                raise InfraError(
                    f"{self.source} has changed since its kernel was built", hint="run the same command again"
                )
            yield _OpenObjects(objects)


@dataclass(frozen=True)
class _OpenObjects(OpenGround):
    objects: ObjectTree

    @property
    def symvers(self) -> Path:
        return self.objects.objects / "Module.symvers"

    def make(self, out: Path, words: Sequence[str]) -> proc.Finished:
        return self.objects.make(words, out=out, stranger=True)

    def run(self, out: Path, command: Sequence[str]) -> proc.Finished:
        return self.objects.run(command, out=out)
