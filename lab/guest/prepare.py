# SPDX-License-Identifier: GPL-2.0-or-later
"""From what was declared (machine, kernel, job) to what QEMU is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lab import files
from lab.errors import UserError
from lab.guest.accelerator import Choice
from lab.guest.argv import DiskFile, Launch, Wiring, kernel_command_line
from lab.guest.guest import Boot
from lab.guest.qemu import Qemu, find_qemu
from lab.guest.vfio.hold import sweep as vfio_sweep
from lab.image.initramfs import Initramfs, Job, pack
from lab.image.userland import userland_archive
from lab.instrument.host_trace import sweep as trace_sweep
from lab.kernel.kernel import Kernel
from lab.results.models import Clock
from lab.spec.loader import load
from lab.spec.models import Case, Disk, Graphics, Image, Machine, Passthrough
from lab.workload.compile import build_workload

SSH_MODULES = ("virtio_pci", "virtio_net")
DISK_MODULES = ("virtio_pci", "virtio_blk")

MANAGERS = {"ttm": "ttm", "shmem": "drm_shmem_helper"}
"""Memory manager -> the kernel module that is in a driver's closure exactly if the driver uses it."""


SHMEM_CALLS = b"drm_gem_shmem_"


@dataclass(frozen=True)
class Extras:
    """What a case adds to its guest, beside the machine."""

    modules: tuple[str, ...] = ()  # each with its parameters, if any
    cmdline: tuple[str, ...] = ()
    disks: tuple[Disk, ...] = ()
    display: bool = False  # monitors come and go
    spans: bool = False  # its exits are counted

    @classmethod
    def of(cls, case: Case) -> Extras:
        return cls(case.modules, case.cmdline, case.disks, bool(case.display))


NOTHING = Extras()


@dataclass(frozen=True)
class Bench:
    """What every guest of one lab process shares."""

    qemu: Qemu
    init: Path  # the compiled PID 1

    @classmethod
    def set_up(cls) -> Bench:
        """Find QEMU and compile PID 1 (cached). InfraError says what is missing.

        All that boots guests begins here, so this is also where the leftovers of killed labs go.
        """
        files.sweep()
        vfio_sweep()
        trace_sweep()
        return cls(
            find_qemu(),
            build_workload(files.shipped("images") / "init.c", files.shipped("testcases") / "include"),
        )

    def userland(self, name: str) -> Path:
        """The cached archive of images/NAME.yaml."""
        return userland_archive(name, load(files.shipped("images") / f"{name}.yaml", Image), self.init)


def driver_module(gpu: Graphics, kernel: Kernel) -> str | None:
    """The module that drives the GPU on this kernel; None if the kernel has none."""
    return next((name for name in gpu.modules if kernel.has_module(name)), None)


def memory_manager(gpu: Graphics, kernel: Kernel) -> str | None:
    """What is behind the driver's BO mappings on this very kernel: "ttm", "shmem", or None if neither.

    Read from the driver's dependencies, because it changes with versions: bochs left TTM in 6.13.
    """
    module = driver_module(gpu, kernel)
    if module is None:
        return None
    if kernel.modules.built_in(module):
        return None  # its dependencies cannot be read; drivers are modules in every kernel the lab builds
    found = next((name for name, helper in MANAGERS.items() if kernel.depends_on(module, helper)), None)
    # Up to 5.15 the shmem helpers were part of drm.ko, so only what the driver calls tells.
    return found or ("shmem" if SHMEM_CALLS in kernel.module_file(module).read_bytes() else None)


def machine_modules(machine: Machine, kernel: Kernel) -> list[str]:
    """The modules that drive the machine's devices, in load order; UserError if the kernel lacks a driver."""
    wanted: list[str] = []
    for gpu in machine.graphics:
        module = driver_module(gpu, kernel)
        if module is None:
            own = [kernel.drivers[name].reason for name in gpu.modules if name in kernel.drivers]
            if own:
                raise UserError(own[0])
            names = " or ".join(gpu.modules)
            raise UserError(f"kernel {kernel.record.release} has no driver for {gpu.device} (module {names})")
        wanted += [name for name in (*gpu.bus_modules, module) if name not in wanted]
    return wanted


def prepare_boot(
    bench: Bench,
    machine: Machine,
    kernel: Kernel,
    job: Job,
    *,
    clock: Clock,
    choice: Choice,
    ssh_port: int | None = None,
    gdb: str | None = None,
    extras: Extras = NOTHING,
) -> Boot:
    """Everything that `booted()` needs. UserError if the kernel cannot drive the machine, or if it lacks a
    module of the extras or a module lacks a parameter."""
    if machine.passthrough is not None:
        job = with_passthrough(machine.passthrough, job, clock)
    modules = [
        *machine_modules(machine, kernel),
        *(DISK_MODULES if extras.disks else ()),
        *extras.modules,
        *(SSH_MODULES if ssh_port is not None else ()),
    ]
    initramfs = pack(bench.userland("job" if ssh_port is None else "shell"), kernel, modules, job)
    nonce = _nonce(kernel, initramfs, clock, machine)
    launch = Launch(
        qemu=bench.qemu.path,
        machine=machine,
        kernel=str(kernel.image),
        initrd="INITRD",
        command_line=kernel_command_line(clock, choice.accelerator, nonce, extras.cmdline),
        accelerator=choice.accelerator,
        clock=clock,
        wiring=Wiring.by_hand(),
        ssh_port=ssh_port,
        gdb=gdb,
        display=extras.display,
        spans=extras.spans,
        disks=tuple(DiskFile(one.bytes, one.bps, f"disk{n}") for n, one in enumerate(extras.disks)),
    )
    return Boot(launch, kernel.image, initramfs, nonce)


def with_passthrough(wanted: Passthrough, job: Job, clock: Clock) -> Job:
    """The job with the firmware that the device's driver loads. UserError if there is none, or if the clock
    counts instructions, which a device of the host does not wait for."""
    if clock is Clock.VIRTUAL:
        raise UserError(
            f"the guest has the host's device {wanted.device}: its answers do not repeat to the instruction",
            hint="use --clock real, or a case with `needs: [vfio]`",
        )
    return replace(job, files={**job.files, **host_firmware(wanted.firmware)})


def host_firmware(patterns: Sequence[str], root: Path = Path("/lib/firmware")) -> dict[str, bytes]:
    """The host's firmware files of these names, by their path in the guest. UserError for a pattern that fits
    none."""
    found: dict[str, bytes] = {}
    for pattern in patterns:
        paths = sorted(path for path in root.glob(pattern) if path.is_file())
        if not paths:
            raise UserError(
                f"the host has no firmware {root / pattern}",
                hint="install the package that has it, such as firmware-amd-graphics",
            )
        found |= {f"/lib/firmware/{path.relative_to(root)}": path.read_bytes() for path in paths}
    return found


def guest_memory(case: Case, machine: Machine) -> int:
    """Bytes of the host's memory that a guest may come to fill."""
    return case.on(machine).memory_bytes + sum(disk.bytes for disk in case.disks)


def _nonce(kernel: Kernel, initramfs: Initramfs, clock: Clock, machine: Machine) -> str:
    """Tells this guest's ready marker from any other text; the same for the same guest, so that a boot on
    the virtual clock repeats to the last instruction."""
    return files.sha256_text(kernel.record.id, initramfs.digest, clock, machine.name)[:16]
