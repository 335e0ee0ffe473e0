# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's arguments and the guest kernel's command line: pure functions of what was declared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from lab.results.models import Clock
from lab.spec.models import Gpu, Machine

Accelerator = Literal["tcg", "kvm"]


@dataclass(frozen=True)
class Wiring:
    """How the guest's two serial ports and the monitor are connected."""

    console: str  # a QEMU chardev, without its id
    channel: str
    monitor: str | None  # None: no QMP monitor
    written: tuple[int, ...] = ()  # descriptors that QEMU must be told of by -add-fd

    @classmethod
    def to_lab(cls, console: int, channel: int, monitor: int, *, one_way: bool = False) -> Wiring:
        """Descriptors whose other ends the lab holds: no path, no race, nothing left behind.

        `one_way`: console and channel are pipes that QEMU only writes to, else all are sockets.
        """
        kind = "file,path=/dev/fdset/{},append=on" if one_way else "socket,fd={}"
        return cls(
            console=kind.format(console),
            channel=kind.format(channel),
            monitor=f"socket,fd={monitor}",
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
        *machine_arguments(launch.machine),
        *accelerator_arguments(launch.accelerator, launch.clock),
        *cpu_arguments(launch.machine, launch.accelerator),
        *boot_arguments(launch),
        *[word for number, gpu in enumerate(launch.machine.gpus) for word in gpu_arguments(gpu, number)],
        *[word for number, disk in enumerate(launch.disks) for word in disk_arguments(disk, number)],
        *network_arguments(launch.ssh_port),
        *wiring_arguments(launch.wiring),
        *debugger_arguments(launch.gdb),
        *sandbox_arguments(),
    ]


def machine_arguments(machine: Machine) -> list[str]:
    return [
        "-machine",
        machine.machine,
        "-m",
        machine.memory,
        "-smp",
        "1",
        "-display",
        "none",
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


def gpu_arguments(gpu: Gpu, number: int) -> list[str]:
    options = {"romfile": "", **gpu.options}  # no VGA BIOS: nothing here reads it, and it costs boot time
    if gpu.device == "bochs-display":
        options.pop("romfile")
    memory: list[str] = []
    if gpu.vram is not None:
        memory = ["-object", f"memory-backend-ram,id=vram{number},size={gpu.vram}"]
        options["memdev"] = f"vram{number}"
    words = [gpu.device, *(f"{name}={_value(value)}" for name, value in options.items())]
    return [*memory, "-device", ",".join(words)]


def disk_arguments(disk: DiskFile, number: int) -> list[str]:
    """One virtio disk; disks are /dev/vda, /dev/vdb, ... in the order of the command line."""
    name = f"disk{number}"
    drive = ["if=none", f"id={name}", f"file={disk.file}", "format=raw"]
    if disk.bps is not None:
        drive.append(f"throttling.bps-total={disk.bps}")
    return ["-drive", ",".join(drive), "-device", f"virtio-blk-pci,drive={name},romfile="]


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
    """The same guest for a person's terminal: paths instead of inherited descriptors."""
    return replace(launch, kernel=kernel, initrd=initrd, wiring=Wiring.by_hand())
