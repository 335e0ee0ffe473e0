# SPDX-License-Identifier: GPL-2.0-or-later
"""The nested lab host: a guest that has what its host may lack, KVM (SVM, emulated) and an IOMMU, sees the
host's files, and runs the lab's own code on them. Its jobs come over a virtio-serial port.
"""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import lab
from lab import files, proc
from lab.errors import InfraError, UserError
from lab.guest.argv import Launch, Share, Wiring, kernel_command_line
from lab.guest.guest import Boot
from lab.guest.prepare import Bench, machine_modules
from lab.image.initramfs import Job, pack
from lab.kernel.kernel import Kernel
from lab.results.models import Clock
from lab.spec.models import Device, Gpu, Machine

CPU = "max,+svm,-xsave,family=20,model=2"
"""SVM, emulated. No XSAVE, because QEMU 7.2 does not intercept XSETBV: the inner kernel would find sizes of
the FPU's state that KVM has never heard of. A family without GART, whose aperture kernels look for with
thousands of port accesses, each of which is an exit of the inner guest."""

PORT = Device(device="pcie-root-port", options={"id": "port1", "chassis": 1})
"""What is plugged into it can be reset by it, and has an IOMMU group of its own."""

BOCHS = Gpu(
    device="bochs-display", options={"bus": "port1"}, driver="bochs-drm", modules=("bochs", "bochs-drm")
)
"""The device that the machine preset `vfio` gives to its guest."""

MACHINE = Machine(
    title="nested lab host",
    machine="q35",
    cpu=CPU,
    memory="2G",
    iommu=True,
    devices=(PORT,),
    gpus=(BOCHS,),
)
"""Emulation has AMD's virtualization alone; the emulated IOMMU is Intel's, which needs q35."""

CPUS = 1
"""For QEMU 7.2's sake. Where one emulated processor interrupts another that runs a guest, that one now and
then takes the interrupt right behind VMRUN, with the guest's segments still loaded, though its global
interrupt flag is clear there: the host ends in "TASK stack guard page was hit", asm_sysvec_reschedule_ipi in
__svm_vcpu_run, or the guest resets. And where one patches code, as tracing does, another may run what was
half patched: int3 (fixed in 8.1, deba78709ae8, "accel/tcg: Always lock pages before translation")."""

NEEDED = {
    "virtio_pci": "VIRTIO_PCI",
    "9pnet_virtio": "NET_9P_VIRTIO",
    "9p": "9P_FS",
    "overlay": "OVERLAY_FS",
    "virtio_console": "VIRTIO_CONSOLE",
    "kvm_amd": "KVM_AMD",
}
"""Modules that a kernel must have to be a lab host, and the options that make them."""

KCONFIG = "lean+drm+kvm-host"
"""What a tree is built with that is to be a lab host."""

WELCOME = ("vfio_pci", "vfio_iommu_type1", "udmabuf")
"""Modules that some jobs use, loaded where the kernel has them."""

STATE = "/run/faultlab"
"""LAB_STATE in there: memory, gone with the guest."""

CMDLINE = (
    "intel_iommu=on",
    # A processor that stands for 60 s is lost, by QEMU's fault or the kernel's; without this it would be
    # waited for until the trial's deadline.
    "watchdog_thresh=30",
    "softlockup_panic=1",
)

_DEVIATES = re.compile(rb"tsc: PIT calibration deviates from [A-Z]{1,8}: [0-9]{1,9} ([0-9]{4,9})\r?\n")


@dataclass(frozen=True)
class LabHost:
    """What to boot, and what to run in it."""

    kernel: Kernel
    command: tuple[str, ...]  # absolute path first; the program that serves the port
    machine: Machine = MACHINE
    cmdline: tuple[str, ...] = ()


def prepare_lab_host(bench: Bench, wanted: LabHost) -> Boot:
    """Everything that `booted()` needs. Raises UserError if the kernel cannot be a lab host, InfraError if
    QEMU's user may not read what must be seen in it."""
    kernel = wanted.kernel
    missing = {name: option for name, option in NEEDED.items() if not kernel.has_module(name)}
    if missing:
        raise UserError(
            f"{kernel.record.name} cannot be the kernel of the nested lab host: it has no module "
            f"{', '.join(missing)}",
            hint="take a packaged one, or a tree, which is built with "
            f"{KCONFIG} (CONFIG_{', CONFIG_'.join(missing.values())})",
        )
    welcome = [name for name in WELCOME if kernel.has_module(name)]
    shares = host_shares(files.cache_dir("."))
    job = Job(
        "job",
        arguments=wanted.command[1:],
        environment=_environment(bench),
        shares=tuple(f"{share.tag} {'scratch ' if share.scratch else ''}{share.path}" for share in shares),
        executable=wanted.command[0],
    )
    modules = [*machine_modules(wanted.machine, kernel), *NEEDED, *welcome]
    initramfs = pack(bench.userland("job"), kernel, modules, job)
    nonce = files.sha256_text(kernel.record.id, initramfs.digest, os.urandom(8))[:16]
    launch = Launch(
        qemu=bench.qemu.path,
        machine=wanted.machine,
        kernel=str(kernel.image),
        initrd="INITRD",
        command_line=kernel_command_line(Clock.FUNCTIONAL, "tcg", nonce, (*CMDLINE, *wanted.cmdline)),
        accelerator="tcg",
        clock=Clock.FUNCTIONAL,
        wiring=replace(Wiring.by_hand(), port="null"),
        shares=shares,
        cpus=CPUS,
    )
    return Boot(launch, kernel.image, initramfs, nonce)


def _environment(bench: Bench) -> dict[str, str]:
    return {
        **proc.QUIET_ENV,
        "HOME": "/root",
        "LAB_CACHE": str(files.cache_dir(".")),
        "LAB_STATE": STATE,
        "QEMU": bench.qemu.path,
        "PYTHONPATH": str(Path(lab.__file__).parent.parent),
        "PYTHONDONTWRITEBYTECODE": "1",  # into memory it would be written, for one use
        "PYDANTIC_DISABLE_PLUGINS": "__all__",  # looking for them reads the metadata of every package
    }


def host_shares(cache: Path) -> tuple[Share, ...]:
    """The host's root, and each folder that the lab runs from, which may lie where QEMU's user cannot look.

    A folder is handed to QEMU open, so the way to it may be closed; what is in it must be readable.
    """
    prefixes = [Path(sys.base_prefix), Path(sys.base_prefix).resolve(), Path(sys.prefix)]
    own = _outermost([*prefixes, Path(lab.__file__).parent.parent])
    shares = [Share("/", "/"), *(Share(str(path), str(path)) for path in own)]
    shares.append(Share(os.path.normpath(cache), str(cache), scratch=True))
    if os.geteuid() == 0:
        for share in shares:
            _check_open(share.path)
    return tuple(shares)


def _outermost(paths: Sequence[Path]) -> list[Path]:
    """Each once, without those below another and those of the system, which anybody may read."""
    found: list[Path] = []
    for path in sorted(set(paths)):
        if not any(path.is_relative_to(other) for other in [*found, Path("/usr")]):
            found.append(path)
    return found


def _check_open(path: str) -> None:
    mode = Path(path).stat().st_mode
    if not (mode & stat.S_IROTH and mode & stat.S_IXOTH):
        raise InfraError(
            f"the nested lab host must see {path}, and QEMU, which does not run as root, may not read it",
            hint=f"chmod -R o+rX {path}, or start the lab as an ordinary user",
        )


def right_tsc_khz(console: bytes) -> int | None:
    """The speed of the processor's clock, if the kernel took a wrong one while it booted; else None.

    On a busy machine the wait for the PIT is too long. The kernel takes that figure though the HPET, or the
    ACPI timer, tells another, and says both (pit_hpet_ptimer_calibrate_cpu()): seen were 440 MHz of 2595, so
    that 120 s passed in 20, and with them each deadline that is kept in there.
    """
    found = _DEVIATES.search(console)
    return int(found[1]) if found else None
