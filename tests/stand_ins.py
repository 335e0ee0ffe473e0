# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernels, launches and trials of which nothing is real, for tests that boot nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lab.guest.argv import Launch, Wiring
from lab.kernel.kernel import Kernel
from lab.results.models import Clock, Environment, KernelRecord, Outcome, Trial
from lab.spec.models import Machine


def kernel(folder: Path = Path(), **record: Any) -> Kernel:
    """A kernel whose files would lie in `folder`; of its record only what a test is about need be said."""
    nothing = dict.fromkeys(("release", "version", "source", "image_sha256", "config_sha256", "compiler"), "")
    return Kernel(
        record=KernelRecord(**{"id": "k1", "name": "test", **nothing, **record}),
        vmlinuz=folder / "vmlinuz",
        vmlinux=None,
        root=folder / "root",
        config=folder / "config",
    )


def launch(machine: Machine, **more: Any) -> Launch:
    """A guest of that machine: emulated and on the virtual clock, unless told otherwise."""
    usual: dict[str, Any] = {
        "qemu": "/usr/bin/qemu-system-x86_64",
        "kernel": "KERNEL",
        "initrd": "INITRD",
        "command_line": "console=ttyS0 quiet",
        "accelerator": "tcg",
        "clock": Clock.VIRTUAL,
        "wiring": Wiring.to_lab(3, 4, 5),
    }
    return Launch(machine=machine, **(usual | more))


def trial(number: int = 1, outcome: Outcome = Outcome.PASS, **more: Any) -> Trial:
    """A trial of the case a/b on the kernel of `kernel()`."""
    usual: dict[str, Any] = {
        "key": f"{number:04}-case",
        "case": "a/b",
        "case_digest": "",
        "kernel": "k1",
        "role": "kernel",
        "machine": "qxl",
        "clock": Clock.VIRTUAL,
    }
    return Trial(number=number, outcome=outcome, **(usual | more))


def kernel_record(**more: Any) -> KernelRecord:
    """What a run keeps of Debian's 6.1, unless told otherwise."""
    usual: dict[str, Any] = {
        "id": "0123456789ab",
        "name": "debian:6.1.192-2",
        "release": "6.1.0-56-amd64",
        "version": "6.1.192-2",
        "source": "a package",
        "image_sha256": "a" * 64,
        "config_sha256": "c" * 64,
        "compiler": "gcc-12",
    }
    return KernelRecord(**(usual | more))


def environment(**more: Any) -> Environment:
    """Where a trial of `launch()` ran: on this host, emulated."""
    usual: dict[str, Any] = {
        "lab_version": "0.1.0",
        "accelerator": "tcg",
        "accelerator_reason": "the virtual clock counts instructions",
        "clock": Clock.VIRTUAL,
        "nesting": 0,
        "qemu_version": "QEMU emulator version 7.2.22",
        "qemu_argv": ("qemu-system-x86_64",),
        "guest_cmdline": "console=ttyS0",
        "memory_backing": "anonymous memory",
        "host_kernel": "6.1",
        "host_cpu": "a CPU",
        "host_cpus": 2,
    }
    return Environment(**(usual | more))
