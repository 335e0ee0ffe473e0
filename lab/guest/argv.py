# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's arguments and the guest kernel's command line: pure functions of what was declared."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from lab.results.models import Clock
from lab.spec.models import Device, Gpu, Machine, Passthrough

Accelerator = Literal["tcg", "kvm"]

PORT_NAME = "faultlab.jobs"
"""Of the virtio-serial port by which a lab host gets its jobs."""


@dataclass(frozen=True)
class Wiring:
    """How the guest's two serial ports and the monitor are connected."""

    console: str  # a QEMU chardev, without its id
    channel: str
    monitor: str | None  # None: no QMP monitor
    port: str | None = None  # of a lab host, for its jobs; None: no such port
    written: tuple[int, ...] = ()  # descriptors that QEMU must be told of by -add-fd

    @classmethod
    def to_lab(cls, console: int, channel: int, monitor: int, *port: int, one_way: bool = False) -> Wiring:
        """Descriptors whose other ends the lab holds: no path, no race, nothing left behind.

        `one_way`: console and channel are pipes that QEMU only writes to, else all are sockets.
        """
        kind = "file,path=/dev/fdset/{},append=on" if one_way else "socket,fd={}"
        return cls(
            console=kind.format(console),
            channel=kind.format(channel),
            monitor=f"socket,fd={monitor}",
            port=f"socket,fd={port[0]}" if port else None,
            written=(console, channel) if one_way else (),
        )

    @classmethod
    def by_hand(cls) -> Wiring:
        """The console on the terminal, the channel in a file: for a line that a person runs."""
        return cls("stdio,signal=off", "file,path=channel.out", None)


@dataclass(frozen=True)
class DiskFile:
    """A raw virtio disk and the zero-filled file behind it."""

    size: int  # bytes
    bps: int | None  # bytes a second that QEMU lets through, on the host's clock; None: all
    file: str  # what QEMU opens


@dataclass(frozen=True)
class Share:
    """A folder of the host that the guest sees under the same path, through 9p, and cannot change."""

    path: str
    export: str  # what QEMU opens
    scratch: bool = False  # the guest may write, into memory of its own

    @property
    def tag(self) -> str:
        """The name by which the guest mounts it: at most 31 characters."""
        return "share" + hashlib.sha256(self.path.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Launch:
    """Everything that QEMU's command line depends on."""

    qemu: str
    machine: Machine
    kernel: str
    initrd: str
    command_line: str
    accelerator: Accelerator
    clock: Clock
    wiring: Wiring
    ssh_port: int | None = None  # None: no network device at all
    gdb: str | None = None  # a -gdb chardev; the guest then waits for `continue`
    disks: tuple[DiskFile, ...] = ()
    shares: tuple[Share, ...] = ()
    cpus: int = 1
    spans: bool = False  # the guest announces spans whose exits are counted
    display: bool = False  # the lab is a client of its display (guest.display)

    @property
    def one_way(self) -> bool:
        """Whether nothing is ever said to the guest. One that counts instructions must not wait for the lab
        to listen either: a character a write, a socket takes some 270 before its reader must have come; on a
        busy host the guest then polls its serial port, and no two boots are the same. A pipe joins them.
        """
        return self.clock is Clock.VIRTUAL


def kernel_command_line(clock: Clock, accelerator: Accelerator, nonce: str, extra: Sequence[str] = ()) -> str:
    """The command line that every guest kernel gets.

    The splat scan trusts only lines with a printk timestamp. `panic=-1` with QEMU's -no-reboot makes a
    panic end QEMU at once; `oops=panic` makes an oops one. `cryptomgr.notests` leaves out self tests of
    0.75 G instructions that no workload here depends on.
    """
    words = ["console=ttyS0", "printk.time=1", "panic=-1", "oops=panic", "cryptomgr.notests"]
    words.append(f"lab.nonce={nonce}")
    if accelerator == "tcg":
        # The timer check fails at random when the host is busy, and the emulated TSC is never unstable.
        words += ["no_timer_check", "tsc=reliable"]
    if clock is Clock.VIRTUAL:
        # Idle time is skipped, so a guest that waits for a thread of QEMU sees minutes pass at once: that is
        # no hung task. The lab's own deadlines are in the host's time.
        words.append("sysctl.kernel.hung_task_timeout_secs=0")
        # A layout that is the same in each boot; and no calibration of the local APIC timer, which
        # would busy-wait 100 ms of virtual time, 2 s of the user's (the HPET or PIT ticks instead).
        words += ["nokaslr", "norandmaps", "nolapic_timer"]
    return " ".join([*words, *extra])


def qemu_argv(launch: Launch) -> list[str]:
    """The whole argument list, program first."""
    return [
        launch.qemu,
        "-no-user-config",
        "-nodefaults",
        *machine_arguments(launch.machine, launch.cpus, launch.display),
        *accelerator_arguments(launch.accelerator, launch.clock),
        *cpu_arguments(launch.machine, launch.accelerator),
        *boot_arguments(launch),
        *iommu_arguments(launch.machine),  # before the devices that are behind it
        *[word for device in launch.machine.devices for word in device_arguments(device)],
        *[word for number, gpu in enumerate(launch.machine.gpus) for word in gpu_arguments(gpu, number)],
        *passthrough_arguments(launch.machine.passthrough),
        *[word for number, disk in enumerate(launch.disks) for word in disk_arguments(disk, number)],
        *[word for share in launch.shares for word in share_arguments(share)],
        *span_arguments(launch.spans),
        *network_arguments(launch.ssh_port),
        *wiring_arguments(launch.wiring),
        *debugger_arguments(launch.gdb),
        *sandbox_arguments(),
    ]


def machine_arguments(machine: Machine, cpus: int = 1, display: bool = False) -> list[str]:
    shared: list[str] = []
    if machine.shared_memory:
        shared = ["-object", f"memory-backend-memfd,id=ram,size={machine.memory},share=on"]
    return [
        *shared,
        "-machine",
        f"{machine.machine},memory-backend=ram" if shared else machine.machine,
        "-m",
        machine.memory,
        "-smp",
        str(cpus),
        "-display",
        "dbus,p2p=yes" if display else "none",
        "-vga",
        "none",
    ]


def accelerator_arguments(accelerator: Accelerator, clock: Clock) -> list[str]:
    """`virtual` counts instructions: one per virtual ns, idle time skipped, every random number seeded."""
    if clock is Clock.VIRTUAL:
        seeded = ["-seed", "1", "-rtc", "base=2020-01-01,clock=vm"]
        return ["-accel", "tcg", "-icount", "shift=0,sleep=off", *seeded]
    return ["-accel", accelerator]


def cpu_arguments(machine: Machine, accelerator: Accelerator) -> list[str]:
    return ["-cpu", "host" if accelerator == "kvm" and machine.cpu == "max" else machine.cpu]


def boot_arguments(launch: Launch) -> list[str]:
    # -no-reboot: a reset (panic=-1, triple fault) ends QEMU instead of booting again.
    boot = ["-kernel", launch.kernel, "-initrd", launch.initrd, "-append", launch.command_line]
    return [*boot, "-no-reboot"]


def iommu_arguments(machine: Machine) -> list[str]:
    """With interrupt remapping, so that VFIO gives devices away without `allow_unsafe_interrupts`."""
    return ["-device", "intel-iommu,intremap=on"] if machine.iommu else []


def device_arguments(device: Device) -> list[str]:
    return ["-device", _device(device.device, device.options)]


def passthrough_arguments(passthrough: Passthrough | None) -> list[str]:
    if passthrough is None:
        return []
    return ["-device", _device("vfio-pci", {"host": passthrough.device, **passthrough.options})]


def _device(name: str, options: Mapping[str, str | int | bool]) -> str:
    return ",".join([name, *(f"{key}={_value(value)}" for key, value in options.items())])


def gpu_arguments(gpu: Gpu, number: int) -> list[str]:
    options = {"romfile": "", **gpu.options}  # no VGA BIOS: nothing here reads it, and it costs boot time
    if gpu.device == "bochs-display":
        options.pop("romfile")
    memory: list[str] = []
    if gpu.vram is not None:
        memory = ["-object", f"memory-backend-ram,id=vram{number},size={gpu.vram}"]
        options["memdev"] = f"vram{number}"
    return [*memory, "-device", _device(gpu.device, options)]


def disk_arguments(disk: DiskFile, number: int) -> list[str]:
    """One virtio disk; disks are /dev/vda, /dev/vdb, ... in the order of the command line."""
    name = f"disk{number}"
    drive = ["if=none", f"id={name}", f"file={disk.file}", "format=raw"]
    if disk.bps is not None:
        drive.append(f"throttling.bps-total={disk.bps}")
    return ["-drive", ",".join(drive), "-device", f"virtio-blk-pci,drive={name},romfile="]


def span_arguments(spans: bool) -> list[str]:
    """A port at which the guest stops itself (testcases/include/span.h)."""
    return ["-device", "pvpanic", "-action", "panic=pause"] if spans else []


def share_arguments(share: Share) -> list[str]:
    # `remap`: a tree of the host may span file systems, whose inode numbers are not to be confused.
    export = share.export.replace(",", ",,")  # by hand it is the path itself
    backend = f"local,id={share.tag},path={export},readonly=on,security_model=none,multidevs=remap"
    return ["-fsdev", backend, "-device", f"virtio-9p-pci,fsdev={share.tag},mount_tag={share.tag}"]


def _value(value: str | int | bool) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value)


def network_arguments(ssh_port: int | None) -> list[str]:
    """One forwarded port on loopback and nothing else, or no network at all."""
    if ssh_port is None:
        return []
    user = f"user,id=net0,restrict=on,ipv6=off,hostfwd=tcp:127.0.0.1:{ssh_port}-:22"
    return ["-netdev", user, "-device", "virtio-net-pci,netdev=net0,romfile="]


def wiring_arguments(wiring: Wiring) -> list[str]:
    arguments = [word for fd in wiring.written for word in ("-add-fd", f"fd={fd},set={fd}")]
    arguments += ["-chardev", f"{_with_id(wiring.console, 'console')}", "-serial", "chardev:console"]
    arguments += ["-chardev", f"{_with_id(wiring.channel, 'channel')}", "-serial", "chardev:channel"]
    if wiring.monitor is not None:
        arguments += ["-chardev", _with_id(wiring.monitor, "monitor"), "-mon", "chardev=monitor,mode=control"]
    if wiring.port is not None:
        arguments += ["-chardev", _with_id(wiring.port, "port"), "-device", "virtio-serial-pci"]
        arguments += ["-device", f"virtserialport,chardev=port,name={PORT_NAME}"]
    return arguments


def _with_id(chardev: str, name: str) -> str:
    kind, comma, rest = chardev.partition(",")
    return f"{kind},id={name}{comma}{rest}"


def debugger_arguments(gdb: str | None) -> list[str]:
    return [] if gdb is None else ["-gdb", gdb, "-S"]


def sandbox_arguments() -> list[str]:
    """QEMU's own seccomp filter: a guest that breaks out can start nothing and gain nothing."""
    return ["-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"]


def by_hand(launch: Launch, kernel: str, initrd: str) -> Launch:
    """The same guest for a person's terminal: paths instead of inherited descriptors, and nothing at which it
    would stop itself, for nobody lets it go on."""
    return replace(launch, kernel=kernel, initrd=initrd, wiring=Wiring.by_hand(), spans=False)
