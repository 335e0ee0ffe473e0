# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's argument list and the kernel's command line: what every guest must have, and what none may have."""

from __future__ import annotations

from dataclasses import replace

import pytest
from stand_ins import launch

from lab.guest.argv import Accelerator, DiskFile, by_hand, kernel_command_line, qemu_argv
from lab.results.models import Clock
from lab.spec.models import Gpu, Machine

QXL = Gpu(device="qxl-vga", driver="qxl", modules=("qxl",))
BOCHS = Gpu(device="bochs-display", options={"vgamem": "32M", "edid": False}, driver="b", modules=("b",))
LAUNCH = launch(Machine(title="two GPUs", machine="q35", memory="1G", gpus=(QXL, BOCHS)))


def values(argv: list[str], option: str) -> list[str]:
    """What follows each occurrence of an option."""
    return [argv[at + 1] for at, word in enumerate(argv) if word == option]


def test_declared_machine() -> None:
    """Machine type, memory and GPUs are those declared, on one CPU, and QEMU adds no device of its own."""
    argv = qemu_argv(LAUNCH)
    assert argv[0] == LAUNCH.qemu
    assert {"-nodefaults", "-no-user-config"} <= set(argv)
    assert values(argv, "-machine") == ["q35"]
    assert values(argv, "-m") == ["1G"]
    assert values(argv, "-smp") == ["1"]
    assert values(argv, "-vga") == ["none"]
    assert values(argv, "-device") == ["qxl-vga,romfile=", "bochs-display,vgamem=32M,edid=off"]


def test_boot_arguments_are_single_words() -> None:
    """The kernel's command line is one argument, however many words it has, and a reset ends QEMU."""
    argv = qemu_argv(LAUNCH)
    assert values(argv, "-append") == ["console=ttyS0 quiet"]
    assert (values(argv, "-kernel"), values(argv, "-initrd")) == (["KERNEL"], ["INITRD"])
    assert "-no-reboot" in argv


def test_every_guest_is_sandboxed() -> None:
    """QEMU's own system call filter is on and denies what a break-out would need."""
    (sandbox,) = values(qemu_argv(LAUNCH), "-sandbox")
    assert sandbox.split(",")[0] == "on"
    assert {"elevateprivileges=deny", "spawn=deny", "resourcecontrol=deny"} <= set(sandbox.split(","))


def test_no_network_unless_a_port_is_forwarded() -> None:
    """Without SSH there is no network device; with it, one port of loopback and nothing else."""
    assert not values(qemu_argv(LAUNCH), "-netdev")
    (netdev,) = values(qemu_argv(replace(LAUNCH, ssh_port=2222)), "-netdev")
    assert "restrict=on" in netdev.split(",")
    assert "hostfwd=tcp:127.0.0.1:2222-:22" in netdev.split(",")


@pytest.mark.parametrize(
    ("clock", "accelerator", "accel", "cpu"),
    [
        (Clock.VIRTUAL, "tcg", "tcg", "max"),
        (Clock.REAL, "tcg", "tcg", "max"),
        (Clock.REAL, "kvm", "kvm", "host"),
    ],
)
def test_accelerator(clock: Clock, accelerator: Accelerator, accel: str, cpu: str) -> None:
    """Only the virtual clock counts instructions and seeds random numbers; only KVM shows the host's CPU."""
    argv = qemu_argv(replace(LAUNCH, clock=clock, accelerator=accelerator))
    assert values(argv, "-accel") == [accel]
    assert values(argv, "-cpu") == [cpu]
    virtual = clock is Clock.VIRTUAL
    assert values(argv, "-icount") == (["shift=0,sleep=off"] if virtual else [])
    assert values(argv, "-seed") == (["1"] if virtual else [])


def test_declared_cpu_is_kept_under_kvm() -> None:
    """A machine that names its CPU gets that one, and not the host's."""
    machine = LAUNCH.machine.model_copy(update={"cpu": "Nehalem"})
    argv = qemu_argv(replace(LAUNCH, machine=machine, clock=Clock.REAL, accelerator="kvm"))
    assert values(argv, "-cpu") == ["Nehalem"]


def test_wiring_to_the_lab() -> None:
    """Console, channel and monitor are three inherited sockets, in this order of serial ports."""
    argv = qemu_argv(LAUNCH)
    assert values(argv, "-chardev") == [
        "socket,id=console,fd=3",
        "socket,id=channel,fd=4",
        "socket,id=monitor,fd=5",
    ]
    assert values(argv, "-serial") == ["chardev:console", "chardev:channel"]
    assert values(argv, "-mon") == ["chardev=monitor,mode=control"]


def test_by_hand_needs_nothing_of_the_lab() -> None:
    """The line for a person's terminal has paths instead of descriptors, no monitor, and the same machine;
    there is nothing at which the guest would stand still."""
    argv = qemu_argv(by_hand(replace(LAUNCH, spans=True), "/boot/vmlinuz", "/tmp/initrd"))
    assert not any("fd=" in word for word in argv)
    assert not values(argv, "-mon")
    assert values(argv, "-kernel") == ["/boot/vmlinuz"]
    assert values(argv, "-device") == values(qemu_argv(LAUNCH), "-device")


def test_debugger_waits() -> None:
    """With a debugger the guest stands still until it is told to go on; without, nothing listens."""
    argv = qemu_argv(replace(LAUNCH, gdb="unix:/run/gdb,server=on"))
    assert values(argv, "-gdb") == ["unix:/run/gdb,server=on"]
    assert "-S" in argv
    assert not {"-gdb", "-S"} & set(qemu_argv(LAUNCH))


@pytest.mark.parametrize("clock", [Clock.VIRTUAL, Clock.REAL])
@pytest.mark.parametrize("accelerator", ["tcg", "kvm"])
def test_command_line_that_every_kernel_gets(clock: Clock, accelerator: Accelerator) -> None:
    """The console is kept with times on it, panics end the guest, an oops is one, and the nonce is there."""
    words = kernel_command_line(clock, accelerator, "abc123").split()
    assert {"console=ttyS0", "printk.time=1", "panic=-1", "oops=panic", "lab.nonce=abc123"} <= set(words)
    assert len(words) == len(set(words))


def test_command_line_of_the_virtual_clock() -> None:
    """On the virtual clock addresses are the same in each boot; on the real one they are random."""
    fixed = {"nokaslr", "norandmaps"}
    assert fixed <= set(kernel_command_line(Clock.VIRTUAL, "tcg", "n").split())
    assert not fixed & set(kernel_command_line(Clock.REAL, "kvm", "n").split())


def test_emulation_needs_no_timer_check() -> None:
    """Under emulation the timer check is off, for it fails when the host is busy; KVM keeps it."""
    assert "no_timer_check" in kernel_command_line(Clock.REAL, "tcg", "n").split()
    assert "no_timer_check" not in kernel_command_line(Clock.REAL, "kvm", "n").split()


def test_extra_words_come_last() -> None:
    """What the caller adds comes behind all else, so that it wins."""
    assert kernel_command_line(Clock.REAL, "kvm", "n", ("panic=0", "quiet")).endswith(" panic=0 quiet")


def test_disks_are_virtio_in_order() -> None:
    """Each disk is a raw virtio disk, the first one first; only a disk that asks for it is throttled."""
    disks = (DiskFile(8 << 20, 300000, "/proc/self/fd/7"), DiskFile(1 << 20, None, "/proc/self/fd/8"))
    argv = qemu_argv(replace(LAUNCH, disks=disks))
    assert values(argv, "-drive") == [
        "if=none,id=disk0,file=/proc/self/fd/7,format=raw,throttling.bps-total=300000",
        "if=none,id=disk1,file=/proc/self/fd/8,format=raw",
    ]
    assert values(argv, "-device")[-2:] == [
        "virtio-blk-pci,drive=disk0,romfile=",
        "virtio-blk-pci,drive=disk1,romfile=",
    ]


def test_memory_of_a_gpu() -> None:
    """A GPU that is plain memory gets an object of its own, which is declared before it."""
    memory = Gpu(device="ivshmem-plain", driver="lab_gpu", modules=("lab_gpu",), vram="64M")
    argv = qemu_argv(replace(LAUNCH, machine=Machine(title="t", gpus=(QXL, memory))))
    assert values(argv, "-object") == ["memory-backend-ram,id=vram1,size=64M"]
    assert values(argv, "-device")[1] == "ivshmem-plain,romfile=,memdev=vram1"
    assert argv.index("-object") < argv.index("ivshmem-plain,romfile=,memdev=vram1")


def test_memory_that_qemu_can_share() -> None:
    """Memory for blob resources is a memfd, named to the machine, and as large as without."""
    machine = LAUNCH.machine.model_copy(update={"shared_memory": True})
    argv = qemu_argv(replace(LAUNCH, machine=machine))
    assert values(argv, "-machine") == ["q35,memory-backend=ram"]
    assert values(argv, "-object") == ["memory-backend-memfd,id=ram,size=1G,share=on"]
    assert values(argv, "-m") == ["1G"]


def test_no_display_unless_monitors_come_and_go() -> None:
    """A display that the lab is a client of, by a socket pair alone, or none at all."""
    assert values(qemu_argv(LAUNCH), "-display") == ["none"]
    assert values(qemu_argv(replace(LAUNCH, display=True)), "-display") == ["dbus,p2p=yes"]
