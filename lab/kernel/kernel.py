# SPDX-License-Identifier: GPL-2.0-or-later
"""A bootable kernel on disk, and which of its modules must be loaded in which order."""

from __future__ import annotations

import lzma
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from lab import files, proc
from lab.errors import InfraError, UserError, did_you_mean
from lab.kernel.packages import Package
from lab.kernel.suites import Suite
from lab.results.models import KernelRecord

MAX_MODULE = 256 << 20
"""Bytes of an unpacked module; the largest one (amdgpu) has some 20 MiB."""


@dataclass(frozen=True)
class Kernel:
    """Image, modules and configuration of one kernel, with what is needed to rebuild modules of it."""

    record: KernelRecord
    vmlinuz: Path
    vmlinux: Path | None  # the ELF, if QEMU can enter it directly
    root: Path  # contains lib/modules/<release>
    config: Path
    headers: Path | None = None  # contains usr/src and usr/lib; the folder's name is its digest
    source_package: Package | None = None
    suite: Suite | None = None  # None: only the host's compiler can be used
    replaced: Mapping[str, Path] = field(default_factory=dict)  # module name -> the .ko that the lab built

    @cached_property
    def modules(self) -> ModuleTree:
        return ModuleTree.read(self.root / "lib/modules" / self.record.release)

    def has_module(self, name: str) -> bool:
        """Is it there, as a file or built in?"""
        return self.modules.find(name) is not None or self.modules.built_in(name)

    def depends_on(self, module: str, dependency: str) -> bool:
        """Does loading `module` bring `dependency`, or are they the same?

        A `module` that is built in, or that the kernel lacks, brings nothing.
        """
        wanted = canonical(dependency)
        return wanted == canonical(module) or wanted in self.modules.closure_names([module], strict=False)

    def module_closure(self, names: Sequence[str]) -> tuple[Path, ...]:
        """Unpacked .ko files of these modules and all they need, in load order.

        Modules that are built in are left out. Raises UserError for one that the kernel does not have.
        """
        return tuple(self.module_file(name) for name in self.modules.closure_names(names))

    def module_file(self, name: str) -> Path:
        """The unpacked .ko of one module: the lab's own build of it, if there is one."""
        name = canonical(name)
        if name in self.replaced:
            return self.replaced[name]
        return self.stock_module(name)

    def stock_module(self, name: str) -> Path:
        """The unpacked .ko as it came with the kernel."""
        path = self.modules.find(name)
        if path is None:
            raise UserError(
                f"{self.record.name} has no module {name}",
                hint=did_you_mean(canonical(name), self.modules.paths),
            )
        packed = self.modules.folder / path
        return packed if packed.suffix == ".ko" else _unpacked(packed)


@dataclass(frozen=True)
class ModuleTree:
    """modules.dep and modules.builtin of one lib/modules/<release>."""

    folder: Path
    paths: Mapping[str, str]  # canonical name -> path below folder
    needs: Mapping[str, tuple[str, ...]]  # canonical name -> all it needs, in load order
    builtin: frozenset[str]

    @classmethod
    def read(cls, folder: Path) -> ModuleTree:
        """Parse what depmod wrote; InfraError if it is not there."""
        try:
            lines = (folder / "modules.dep").read_text().splitlines()
            built = (folder / "modules.builtin").read_text().splitlines()
        except OSError as error:
            raise InfraError(
                f"{folder} is no complete module tree: {error}", hint="remove it; the lab makes it again"
            ) from error
        paths, needs = {}, {}
        for line in lines:
            path, _, rest = line.partition(":")
            paths[module_name(path)] = path
            # depmod lists the dependency that must be loaded first last.
            needs[module_name(path)] = tuple(module_name(part) for part in reversed(rest.split()))
        return cls(folder, paths, needs, frozenset(module_name(path) for path in built))

    def find(self, name: str) -> str | None:
        """Path of a module file below the folder."""
        return self.paths.get(canonical(name))

    def built_in(self, name: str) -> bool:
        return canonical(name) in self.builtin

    def closure_names(self, names: Iterable[str], *, strict: bool = True) -> tuple[str, ...]:
        """Canonical names of the modules and all they need, each once, in load order.

        An unknown module is a UserError, unless `strict` is false: then it is left out.
        """
        ordered: dict[str, None] = {}
        for given in names:
            name = canonical(given)
            if name in self.paths:
                ordered.update(dict.fromkeys((*self.needs[name], name)))
            elif strict and name not in self.builtin:
                raise UserError(
                    f"{self.folder.name} has no module {given}", hint=did_you_mean(name, self.paths)
                )
        return tuple(ordered)

    def dependants(self, name: str) -> tuple[str, ...]:
        """Modules that need this one, directly or not."""
        return tuple(user for user, needed in self.needs.items() if canonical(name) in needed)


def kernel_id(image_sha256: str, config_sha256: str, replaced: Mapping[str, str]) -> str:
    """12 hex digits over image, configuration and the digests of replaced modules."""
    modules = [part for item in sorted(replaced.items()) for part in item]
    return files.sha256_text(image_sha256, config_sha256, *modules)[:12]


def compiler_of(config: str) -> str:
    """What a kernel was compiled with, from the text of its configuration."""
    match = re.search(r'(?m)^CONFIG_CC_VERSION_TEXT="(.*)"$', config)
    return match[1] if match else "unknown"


def canonical(name: str) -> str:
    """The name that the kernel shows for a module: `virtio-gpu` and `virtio_gpu` are one."""
    return name.replace("-", "_")


def module_name(path: str) -> str:
    """`virtio_gpu` from `kernel/drivers/gpu/drm/virtio/virtio-gpu.ko.xz`."""
    return canonical(path.rpartition("/")[2].partition(".ko")[0])


def _unpacked(packed: Path) -> Path:
    """The plain .ko of a compressed one, kept in the cache by the digest of the compressed file."""
    plain = files.cache_dir("modules") / files.sha256_file(packed)[:16] / packed.stem
    if plain.exists():
        return plain
    plain.parent.mkdir(parents=True, exist_ok=True)
    if packed.suffix == ".xz":
        unxz = lzma.LZMADecompressor(lzma.FORMAT_XZ)
        data = unxz.decompress(packed.read_bytes(), MAX_MODULE)
        if not unxz.eof:
            raise InfraError(
                f"{packed} is cut off", hint="remove its kernel's folder; the lab makes it again"
            )
        files.write_whole(plain, data)
    elif packed.suffix == ".zst":
        zstd = proc.needed("zstd", package="zstd", why=f"{packed.name} is packed with it")
        with files.scratch(plain) as folder:
            proc.run([zstd, "-d", "-c", str(packed)], timeout=60, stdout_to=folder / plain.name)
            (folder / plain.name).replace(plain)
    else:
        raise InfraError(f"{packed} is packed in a way that the lab does not know")
    return plain
