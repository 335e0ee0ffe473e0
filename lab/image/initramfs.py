# SPDX-License-Identifier: GPL-2.0-or-later
"""An initramfs: cached parts (userland, modules, workload) and one small part with this job's orders.

The parts are joined in memory and handed to QEMU as an anonymous file, so no guest leaves one on disk.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from lab import files
from lab.errors import UserError, did_you_mean
from lab.image.cpio import Archive
from lab.kernel.kernel import Kernel
from lab.spec.models import module_of

ORDERS = "orders.cpio"

QUIET_GPU = {"drm_kms_helper": "fbdev_emulation=0"}
"""Module parameters of guests that measure. With a console drawn on the GPU under test, a blinking cursor is
work for the device: QXL answers from a thread of QEMU, at a moment that no clock of the guest decides."""


@dataclass(frozen=True)
class Job:
    """What the guest's PID 1 is to do (docs/channel.md); `program` is a path on the host."""

    mode: Literal["job", "boot", "ssh"]
    program: Path | None = None
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    output_limit: int = 1 << 20  # bytes of stdout, and of stderr, that are sent
    files: Mapping[str, bytes] = field(default_factory=dict)  # in-guest path -> content, for root alone
    shares: tuple[str, ...] = ()  # the host's files that the guest mounts, as orders: "TAG PATH"
    executable: str = "/lab/workload"  # in the guest; another one than `program` comes from a share


@dataclass(frozen=True)
class Initramfs:
    """The parts in the order in which the kernel unpacks them."""

    cached: tuple[Path, ...]
    orders: bytes

    def joined(self) -> int:
        """A file descriptor of an anonymous file with all parts; the caller closes it."""
        handle = os.memfd_create("initramfs", 0)
        with os.fdopen(os.dup(handle), "wb") as out:
            for part in self.cached:
                out.write(part.read_bytes())
            out.write(self.orders)
        return handle

    @property
    def digest(self) -> str:
        return files.sha256_text(*(part.name for part in self.cached), self.orders)


def pack(userland: Path, kernel: Kernel, modules: Sequence[str], job: Job) -> Initramfs:
    """The initramfs of one guest. `modules` are loaded in order, each after what it depends on, with the
    parameters that stand behind a name (spec.models.ModuleLine).

    Raises UserError for a module that the kernel does not have, or a parameter that a module does not.
    """
    parameters: dict[str, str] = {}
    for line in modules:
        name, _, words = line.partition(" ")
        if words:
            check_parameters(kernel, name, words)
            parameters[module_of(line)] = words
    quiet = QUIET_GPU if job.mode != "ssh" else {}
    archive, in_guest = _modules_part(kernel, [line.partition(" ")[0] for line in modules])
    lines = []
    for path in in_guest:
        name = _module_of(path)
        lines.append(" ".join(filter(None, (path, quiet.get(name), parameters.get(name)))))
    cached = [userland, archive]
    if job.program is not None:
        cached.append(_program_part(job.program))
    return Initramfs(tuple(cached), orders(job, lines))


def check_parameters(kernel: Kernel, module: str, words: str) -> None:
    """UserError if the module has not all these parameters: the kernel would ignore the rest with a word in
    its log, and the case would not be the one that was written."""
    if kernel.modules.built_in(module):
        raise UserError(
            f"module {module} is built into {kernel.record.name}, so that it takes no parameters",
            hint=f"give them on the kernel's command line: cmdline: [{module}.{words.split()[0]}]",
        )
    known = kernel.module_parameters(module)
    for word in words.split():
        if (name := word.partition("=")[0]) not in known:
            raise UserError(
                f"module {module} of {kernel.record.name} has no parameter {name}",
                hint=did_you_mean(name, known),
            )


def _module_of(path: str) -> str:
    """drm_kms_helper of /lab/modules/02-drm_kms_helper.ko"""
    return module_of(Path(path).stem.partition("-")[2])


def _modules_part(kernel: Kernel, modules: Sequence[str]) -> tuple[Path, list[str]]:
    closure = kernel.module_closure(modules)
    in_guest = [f"/lab/modules/{number:02d}-{path.name}" for number, path in enumerate(closure)]
    key = files.sha256_text(kernel.record.id, *in_guest, *(str(path) for path in closure))
    kept = files.cache_dir("images") / f"modules-{key[:20]}.cpio"
    if not files.intact(kept):
        archive = Archive()
        for path, name in zip(closure, in_guest, strict=True):
            archive.file(name, path.read_bytes())
        files.write_sealed(kept, archive.packed())
    return kept, in_guest


def _program_part(program: Path) -> Path:
    kept = files.cache_dir("images") / f"workload-{files.sha256_file(program)[:20]}.cpio"
    if not files.intact(kept):
        archive = Archive()
        archive.file("/lab/workload", program.read_bytes(), 0o755)
        files.write_sealed(kept, archive.packed())
    return kept


def orders(job: Job, modules: Sequence[str]) -> bytes:
    """The small archive with /lab/job (docs/channel.md) and the files for this guest alone."""
    lines = [f"mode {job.mode}", *(f"module {path}" for path in modules), f"limit {job.output_limit}"]
    lines += [f"share {share}" for share in job.shares]
    if job.mode == "job":
        lines += [f"exec {job.executable}", *(f"arg {argument}" for argument in job.arguments)]
    environment = {"PATH": "/bin", "LAB_OUT": "/lab/out", **job.environment}
    lines += [f"env {name}={text}" for name, text in environment.items()]
    if any("\n" in line for line in lines):
        raise ValueError("an order cannot hold a newline")
    archive = Archive()
    archive.file("/lab/job", ("\n".join(lines) + "\n").encode())
    for path, content in job.files.items():
        archive.file(path, content, 0o700)
    return archive.packed()
