# SPDX-License-Identifier: GPL-2.0-or-later
"""A bootable kernel on disk, and which of its modules must be loaded in which order."""

from __future__ import annotations

import lzma
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol

from lab import files, proc
from lab.errors import InfraError, UserError, did_you_mean
from lab.kernel.packages import Package
from lab.kernel.planner import parse_config
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
    drivers: Mapping[str, OwnModule] = field(default_factory=dict)  # the lab's own modules, by name
    ground: Ground | None = None  # None: no module from outside of the kernel can be built for it

    @cached_property
    def modules(self) -> ModuleTree:
        return ModuleTree.read(self.root / "lib/modules" / self.record.release)

    @property
    def image(self) -> Path:
        """What QEMU enters."""
        return self.vmlinux if self.vmlinux is not None else self.vmlinuz

    def options_off(self, names: Iterable[str]) -> list[str]:
        """Those of these options, without CONFIG_, that are neither y nor m in its configuration."""
        values = parse_config(self.config.read_text(errors="replace"))
        return [name for name in names if values.get(f"CONFIG_{name}", "n") not in ("y", "m")]

    def has_module(self, name: str) -> bool:
        """Is it there, as a file or built in?"""
        own = self.drivers.get(canonical(name))
        if own is not None:
            return own.path is not None
        return self.modules.find(name) is not None or self.modules.built_in(name)

    def depends_on(self, module: str, dependency: str) -> bool:
        """Does loading `module` bring `dependency`, or are they the same?

        A `module` that is built in, or that the kernel lacks, brings nothing.
        """
        wanted = canonical(dependency)
        return wanted == canonical(module) or wanted in self._closure_names([module], strict=False)

    def module_closure(self, names: Sequence[str]) -> tuple[Path, ...]:
        """Unpacked .ko files of these modules and all they need, in load order.

        Modules that are built in are left out. Raises UserError for one that the kernel does not have.
        """
        return tuple(self.module_file(name) for name in self._closure_names(names, strict=True))

    def _closure_names(self, names: Iterable[str], *, strict: bool) -> tuple[str, ...]:
        ordered: dict[str, None] = {}
        for name in names:
            own = self.drivers.get(canonical(name))
            needed = [name] if own is None else own.needs
            ordered.update(dict.fromkeys(self.modules.closure_names(needed, strict=strict)))
            if own is not None:
                ordered[canonical(name)] = None
        return tuple(ordered)

    def module_parameters(self, name: str) -> tuple[str, ...]:
        """The parameters that a module file says it takes: some have only a type, some a description."""
        path = self.module_file(name)
        words = (*module_info(path, "parmtype"), *module_info(path, "parm"))
        return tuple(dict.fromkeys(word.partition(":")[0] for word in words))

    def module_file(self, name: str) -> Path:
        """The unpacked .ko of one module: the lab's own build of it, if there is one."""
        name = canonical(name)
        own = self.drivers.get(name)
        if own is not None and own.path is not None:
            return own.path
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


class Ground(Protocol):
    """What modules from outside of a kernel are built on, for that kernel."""

    def obstacle(self) -> str:
        """Why nothing can be built on it; "" if something can."""

    @property
    def identity(self) -> str:
        """What the bytes of a built module depend on beside its source. Raises as `opened`."""

    def opened(self) -> AbstractContextManager[OpenGround]:
        """The ground for this lab alone, in the state of its kernel.

        Raises UserError if that state cannot be had, InfraError if it cannot be reached.
        """


class OpenGround(Protocol):
    """A ground on which something is being built; a folder of the host is /out to what runs on it."""

    @property
    def symvers(self) -> Path:
        """Module.symvers of the kernel."""

    def make(self, out: Path, words: Sequence[str]) -> proc.Finished:
        """kbuild for `M=` and targets, whatever its status."""

    def run(self, out: Path, command: Sequence[str]) -> proc.Finished:
        """A small program in a sandbox, whatever its status."""


@dataclass(frozen=True)
class OwnModule:
    """A module of the lab's own for one kernel: built, or the reason why there is none."""

    path: Path | None
    needs: tuple[str, ...] = ()  # stock modules that it depends on
    reason: str = ""
    broken: bool = False  # it should be there: the reason is a failure, not a limit of the kernel


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


def module_info(module: Path, key: str) -> tuple[str, ...]:
    """What a module says of itself under `key`, such as vermagic, depends or parmtype."""
    found = re.findall(rb"(?:^|\0)" + key.encode() + rb"=([^\0]{0,4096})(?=\0)", module.read_bytes())
    return tuple(text.decode(errors="replace").strip() for text in found)


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
    # Earlier labs did not seal what they unpacked: their folders are left.
    key = files.sha256_text("sealed", files.sha256_file(packed))[:16]
    plain = files.cache_dir("modules") / key / packed.stem
    if not files.intact(plain):
        files.write_sealed(plain, _plain_bytes(packed, plain))
    return plain


def _plain_bytes(packed: Path, near: Path) -> bytes:
    if packed.suffix == ".xz":
        unxz = lzma.LZMADecompressor(lzma.FORMAT_XZ)
        data = unxz.decompress(packed.read_bytes(), MAX_MODULE)
        if not unxz.eof:
            raise InfraError(
                f"{packed} is cut off", hint="remove its kernel's folder; the lab makes it again"
            )
        return data
    if packed.suffix == ".zst":
        zstd = proc.needed("zstd", package="zstd", why=f"{packed.name} is packed with it")
        with files.scratch(near) as folder:  # a module can be larger than what is kept of a program's output
            proc.run([zstd, "-d", "-c", str(packed)], timeout=60, stdout_to=folder / near.name)
            return (folder / near.name).read_bytes()
    raise InfraError(f"{packed} is packed in a way that the lab does not know")
