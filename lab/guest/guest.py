# SPDX-License-Identifier: GPL-2.0-or-later
"""One running guest: started, waited for with deadlines, and ended in every case.

Order of every wait: has the user asked to stop, is QEMU dead, did the kernel die, has the guest broken the
protocol, is the deadline over. So a dead guest is noticed at once and never mistaken for a slow one.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

from lab import proc
from lab.errors import InfraError
from lab.guest.argv import Launch, Wiring, by_hand, qemu_argv
from lab.guest.monitor import Monitor
from lab.guest.privilege import Confinement, confined
from lab.guest.streams import Streams, Wire, pipe
from lab.guest.vfio.hold import passed_through
from lab.image.initramfs import ORDERS, Initramfs
from lab.waiting import TICK, Deadline, check_stop

KERNEL_DIED = re.compile(r"^\[ *\d+\.\d+\](?:\[ *[TC]\d+\])? Kernel panic - not syncing", re.MULTILINE)


class End(Enum):
    """Why a wait on a guest came to its end."""

    HAPPENED = "what was waited for happened"
    EXITED = "QEMU ended"
    PANIC = "the kernel panicked"
    PROTOCOL = "the guest broke the channel's protocol"
    DEADLINE = "the deadline passed"
    SILENCE = "the guest said nothing for too long"


@dataclass(frozen=True)
class Boot:
    """What to start. Paths are the host's; `launch` has placeholders for descriptors filled in here."""

    launch: Launch
    kernel: Path
    initramfs: Initramfs
    nonce: str


class Guest:
    """A started QEMU. Use `booted(...)`, which ends it in every case."""

    def __init__(self, boot: Boot, folder: Path) -> None:
        self.folder = folder
        self.boot = boot
        self.started = time.monotonic()
        self.ready_seconds: float | None = None
        self.ready_uptime: float | None = None
        self._ready = re.compile(rf"^LAB-READY {re.escape(boot.nonce)} (\d+\.\d+)\r?$", re.MULTILINE)
        self.argv: tuple[str, ...] = ()
        self._monitor: Monitor | None = None
        self.pinned: tuple[int, ...] = ()  # the host's processors of its virtual CPUs (lab.guest.pinning)
        self.attend: Callable[[], None] = lambda: None
        """Called again and again while the guest is waited for: for whoever must answer it."""
        self.process, self.streams, self._monitor_socket = self._start()

    def _start(self) -> tuple[proc.Child, Streams, socket.socket]:
        serial = pipe if self.boot.launch.one_way else socket.socketpair
        console, theirs_console = serial()
        channel, theirs_channel = serial()
        sockets = [socket.socketpair() for _ in range(2 if self.boot.launch.wiring.port else 1)]
        monitor, *port = (pair[0] for pair in sockets)
        ours = [console, channel, monitor, *port]
        theirs = [theirs_console, theirs_channel, *(pair[1] for pair in sockets)]
        opened = [os.open(self.boot.kernel, os.O_RDONLY), self.boot.initramfs.joined()]
        opened += [_empty_file(disk.size) for disk in self.boot.launch.disks]
        opened += [os.open(share.path, os.O_RDONLY | os.O_DIRECTORY) for share in self.boot.launch.shares]
        try:
            confinement = confined(self.boot.launch)
            launch = _with_descriptors(self.boot.launch, theirs, *opened)
            self.argv = tuple(qemu_argv(launch))
            process = _spawn(confinement, self.argv, [*(end.fileno() for end in theirs), *opened])
        except BaseException:
            for end in ours:
                end.close()
            raise
        finally:
            for handle in opened:
                os.close(handle)
            for end in theirs:
                end.close()
        assert process.stderr is not None
        streams = Streams(console, channel, process.stderr, self.folder / "console.log", *port)
        return process, streams, monitor

    # ---- waiting -------------------------------------------------------------------------------

    def wait_ready(self, deadline: Deadline, *, silence: float) -> End:
        """Wait for this guest's own ready marker; `silence`: the longest pause of the console, seconds."""

        def ready() -> bool:
            found = self._ready.search(self.streams.tail)
            if found:
                self.ready_seconds = time.monotonic() - self.started
                self.ready_uptime = float(found[1])
            return found is not None

        return self._wait(ready, deadline, silence)

    def wait_end(self, deadline: Deadline) -> End:
        """Wait until the guest said goodbye on the channel and QEMU ended."""
        return self._wait(
            lambda: self.streams.reader.done and self.process.poll() is not None, deadline, None
        )

    def wait_until(
        self, happened: Callable[[], bool], deadline: Deadline, *, silence: float | None = None
    ) -> End:
        """Wait until `happened` says so; it is asked each time that the guest said something, which may not
        be silent for `silence` seconds."""
        return self._wait(happened, deadline, silence)

    def _wait(self, happened: Callable[[], bool], deadline: Deadline, silence: float | None) -> End:
        begun = time.monotonic()
        while True:
            check_stop()
            exited = self.process.poll() is not None
            if exited:
                self.streams.finish()  # all that it ever said has been read before it is judged
            if happened():
                return End.HAPPENED
            if exited:
                return End.EXITED
            self.attend()
            if self.streams.channel_error is not None:
                return End.PROTOCOL
            if KERNEL_DIED.search(self.streams.tail):
                return self._after_panic()
            if deadline.expired:
                return End.DEADLINE
            heard = max(begun, self.streams.last_word)
            if silence is not None and time.monotonic() - heard > silence:
                return End.SILENCE
            with self.streams.changed:
                self.streams.changed.wait(min(TICK / 4, deadline.slice()))

    def _after_panic(self) -> End:
        """Let the dying kernel print its trace and reset (panic=-1), at most 10 seconds."""
        deadline = Deadline("end of a panic", 10)
        while self.process.poll() is None and not deadline.expired:
            check_stop()
            time.sleep(deadline.slice() / 4)
        return End.PANIC

    @property
    def monitor(self) -> Monitor:
        """The connected monitor. Connected on first use only: on the virtual clock nothing may disturb."""
        return self._monitor if self._monitor is not None else self.connect_monitor(5.0)

    def connect_monitor(self, seconds: float) -> Monitor:
        """Connect the monitor now; QEMU may take `seconds` to greet. InfraError if it does not."""
        if self._monitor is None:
            self._monitor = Monitor(self._monitor_socket, self.folder / "qmp.jsonl")
            self._monitor.connect(seconds)
        return self._monitor

    # ---- ending --------------------------------------------------------------------------------

    @property
    def exit_status(self) -> int | None:
        """QEMU's status; negative for a signal; None while it runs."""
        return self.process.poll()

    def ended_within(self, seconds: float) -> bool:
        """Does QEMU end by itself, now or soon?"""
        deadline = Deadline("end of QEMU", seconds)
        while self.process.poll() is None and not deadline.expired:
            time.sleep(deadline.slice() / 4)
        return self.process.poll() is not None

    @property
    def killed_by(self) -> str:
        """The name of the signal that ended QEMU, or "" (asked only before `end`)."""
        status = self.process.poll()
        return signal.Signals(-status).name if status is not None and status < 0 else ""

    def where(self) -> str:
        """What the virtual CPU is doing, for the report of a hang; "" if QEMU cannot tell."""
        try:
            text = str(self.monitor.execute("human-monitor-command", {"command-line": "info registers"}, 2.0))
        except InfraError:
            return ""
        found = re.search(r"\b([RE]IP=[0-9a-f]+)", text)
        return f"virtual CPU at {found[1]}, {'halted' if 'HLT=1' in text else 'running'}" if found else ""

    def end(self) -> None:
        """End QEMU if it runs, read what is left, close everything. Safe to call twice."""
        if self.process.poll() is None:
            proc.kill_group(self.process)
        if self._monitor is not None:
            self._monitor.close()
        self._monitor_socket.close()
        self.streams.finish()


def _empty_file(size: int) -> int:
    """An anonymous file of zeros, in the host's memory as far as it is written to."""
    handle = os.memfd_create("disk")
    os.ftruncate(handle, size)
    return handle


def _with_descriptors(
    launch: Launch, theirs: Sequence[Wire], kernel: int, initrd: int, *others: int
) -> Launch:
    disks, shares = others[: len(launch.disks)], others[len(launch.disks) :]
    return replace(
        launch,
        # Through /proc, so that QEMU's unprivileged user needs no way into the lab's cache folders.
        kernel=f"/proc/self/fd/{kernel}",
        initrd=f"/proc/self/fd/{initrd}",
        wiring=Wiring.to_lab(*(end.fileno() for end in theirs), one_way=launch.one_way),
        disks=tuple(
            replace(disk, file=f"/proc/self/fd/{handle}")
            for disk, handle in zip(launch.disks, disks, strict=True)
        ),
        shares=tuple(
            replace(share, export=f"/proc/self/fd/{handle}")
            for share, handle in zip(launch.shares, shares, strict=True)
        ),
    )


def _spawn(confinement: Confinement, argv: tuple[str, ...], inherited: list[int]) -> proc.Child:
    return proc.spawn(
        [*confinement.prefix, *argv],
        stderr=proc.PIPE,
        pass_fds=inherited,
        env=proc.QUIET_ENV,
        cwd=Path("/"),
        user=confinement.user,
    )


@contextlib.contextmanager
def booted(boot: Boot, folder: Path) -> Iterator[Guest]:
    """Start a guest, write qemu.cmd, and end it whatever happens. A device of the host's that its machine has
    is taken for that time, and given back."""
    with passed_through(boot.launch.machine) as machine:
        boot = replace(boot, launch=replace(boot.launch, machine=machine))
        write_command(boot, folder)
        guest = Guest(boot, folder)
        try:
            yield guest
        finally:
            guest.end()


def write_command(boot: Boot, folder: Path) -> None:
    """qemu.cmd: a script that boots the same guest by hand, console on the terminal."""
    (folder / ORDERS).write_bytes(boot.initramfs.orders)
    (folder / "qemu.cmd").write_text(command_script(boot))
    (folder / "qemu.cmd").chmod(0o755)


def command_script(boot: Boot) -> str:
    """The text of qemu.cmd; it joins the initramfs from the cached parts and the orders beside it."""
    hand = by_hand(boot.launch, str(boot.kernel), "INITRD")
    line = proc.quoted(qemu_argv(hand)).replace("-initrd INITRD", '-initrd "$made/initrd"')
    for disk in hand.disks:
        line = line.replace(f"file={disk.file},", f'file="$made/{disk.file}",')
    parts = proc.quoted([str(part) for part in boot.initramfs.cached])
    disks = "".join(f'truncate -s {disk.size} "$made/{disk.file}"\n' for disk in hand.disks)
    return (
        "#!/bin/sh\n"
        "# Boots this guest by hand; leave with ctrl-a x or by powering off. Frames go to ./channel.out.\n"
        "made=$(mktemp -d) && trap 'rm -rf \"$made\"' EXIT\n"
        f'cat {parts} "$(dirname "$0")/{ORDERS}" > "$made/initrd"\n'
        f"{disks}{line}\n"
    )
