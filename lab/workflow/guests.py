# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests for people: run one command, or open a shell, in a kernel of one's choice.

The kernel's log is kept and scanned as in a trial, but there is no case and nothing is judged.
"""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import lab
from lab import proc
from lab.campaign.probe import choose
from lab.campaign.trial import boot_patience
from lab.errors import InfraError, LabError
from lab.guest.accelerator import Choice, Policy
from lab.guest.guest import KERNEL_DIED, Boot, End, Guest, booted, command_script
from lab.guest.prepare import Bench, prepare_boot
from lab.guest.shell import Keys, Shell, connected, free_port, make_keys
from lab.image.initramfs import Job
from lab.instrument.splats import scan
from lab.kernel.driver_build import with_drivers
from lab.kernel.kernel import Kernel
from lab.kernel.obtain import KCONFIG, obtain, obtain_steps
from lab.kernel.series import joined
from lab.results.models import Clock, RunRecord, Splat
from lab.results.runfolder import RunFolder, new_run_id
from lab.spec.catalog import Catalog
from lab.waiting import Deadline
from lab.workflow.patched import find_series

PORT_TRIES = 5
"""A port can be taken between finding it free and QEMU's bind."""

GDB_PATIENCE = 24 * 3600.0
"""Seconds a guest under a debugger may take to boot: a person is thinking."""


class GuestDied(LabError):
    """The kernel under test died while a command ran in it."""

    exit_code = 1


@dataclass(frozen=True)
class Wanted:
    """Which guest."""

    kernel: str = "stock"
    machine: str = "qxl"
    accelerator: Policy = "auto"
    gdb: bool = False
    kconfig: str = KCONFIG
    series: str = ""  # applied to the kernel, as patched.find_series takes it


@dataclass(frozen=True)
class Prepared:
    """A guest that could be started now, and the line that would do it by hand."""

    kernel: Kernel
    choice: Choice
    boot: Boot
    keys: Keys

    @property
    def script(self) -> str:
        return command_script(self.boot)

    @property
    def gdb_line(self) -> str:
        """What to type in another terminal when the guest waits for a debugger."""
        port = (self.boot.launch.gdb or "").rpartition(":")[2]
        return proc.quoted(["gdb", str(self.kernel.image), "-ex", f"target remote 127.0.0.1:{port}"])


def prepare_guest(wanted: Wanted) -> Prepared:
    """Everything up to the start: kernel, accelerator, image, a free port, keys."""
    bench = Bench.set_up()
    catalog = Catalog.load()
    machine = catalog.machine(wanted.machine)
    kernel = _kernel(wanted)
    kernel = with_drivers(kernel, catalog.drivers_for(None, machine))
    clock = Clock.FUNCTIONAL
    choice = choose(bench, kernel, wanted.accelerator, clock)
    keys = make_keys()
    boot = prepare_boot(
        bench,
        machine,
        kernel,
        Job("ssh", files=keys.guest_files),
        clock=clock,
        choice=choice,
        ssh_port=free_port(),
        gdb=f"tcp:127.0.0.1:{free_port()}" if wanted.gdb else None,
    )
    return Prepared(kernel, choice, boot, keys)


def _kernel(wanted: Wanted) -> Kernel:
    if not wanted.series:
        return obtain(wanted.kernel, with_build=False, kconfig=wanted.kconfig)
    series = joined(find_series(wanted.series, wanted.kernel, Path.cwd()))
    return obtain_steps(wanted.kernel, series, kconfig=wanted.kconfig)[-1]


@dataclass
class OpenGuest:
    """A guest with a connection. `splats()` reads its kernel log so far."""

    guest: Guest
    shell: Shell
    prepared: Prepared
    folder: Path

    def splats(self) -> tuple[Splat, ...]:
        return scan((self.folder / "console.log").read_bytes().decode(errors="replace"))


@contextlib.contextmanager
def open_guest(
    wanted: Wanted, *, command: Sequence[str] = (), announce: Callable[[Prepared], None] | None = None
) -> Iterator[OpenGuest]:
    """Boot a guest, wait until it serves, connect; its evidence is kept in a run folder.

    Raises GuestDied or InfraError, each with the folder where the console is.
    """
    for attempt in range(1, PORT_TRIES + 1):
        prepared = prepare_guest(wanted)
        run = _new_run(wanted, command)
        folder = run.trial_path("0001-guest")
        folder.mkdir(parents=True)
        run.add_kernel(prepared.kernel.record)
        with booted(prepared.boot, folder) as guest:
            if announce is not None:
                announce(prepared)
            if not _served(guest, prepared.kernel, wanted, folder) and attempt < PORT_TRIES:
                continue
            with _connection(guest, prepared, folder) as shell:
                yield OpenGuest(guest, shell, prepared, folder)
        run.write(run.read().model_copy(update={"finished": True}))
        return


def _new_run(wanted: Wanted, command: Sequence[str]) -> RunFolder:
    record = RunRecord(
        id=new_run_id("guest", wanted.kernel),
        workflow="guest",
        command=tuple(command),
        lab_version=lab.__version__,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        title=f"{wanted.kernel} on {wanted.machine}",
        base_source=wanted.kernel,
        accelerator=wanted.accelerator,
    )
    return RunFolder.create(record)


def _served(guest: Guest, kernel: Kernel, wanted: Wanted, folder: Path) -> bool:
    """Wait for the ready marker; False if another program took the port, so that another is tried."""
    accelerator = guest.boot.launch.accelerator
    patience, silence = boot_patience(kernel, accelerator)
    if wanted.gdb:
        patience = silence = GDB_PATIENCE
    end = guest.wait_ready(Deadline("boot", patience), silence=silence)
    if end is End.HAPPENED:
        return True
    if end is End.EXITED and "forwarding" in guest.streams.stderr:
        return False
    raise _death(guest, end, folder, "booting")


def _death(guest: Guest, end: End, folder: Path, doing: str) -> LabError:
    kept = f"the console is in {folder / 'console.log'}"
    tail = "\n  ".join(line.rstrip() for line in guest.streams.tail.splitlines()[-6:])
    failure = guest.streams.reader.failure
    if failure is not None:
        return InfraError(f"the guest could not do as ordered: {failure[1]}", hint=kept)
    if guest.killed_by:
        return InfraError(f"QEMU was ended from outside by {guest.killed_by} while {doing}", hint=kept)
    if guest.streams.stderr.strip():
        return InfraError(f"QEMU ended while {doing}: {guest.streams.stderr.strip()[-500:]}", hint=kept)
    if end in (End.PANIC, End.EXITED):
        return GuestDied(f"the guest's kernel died while {doing}:\n  {tail}", hint=kept)
    return InfraError(f"{end.value} while {doing}; the console ends with:\n  {tail}", hint=kept)


@contextlib.contextmanager
def _connection(guest: Guest, prepared: Prepared, folder: Path) -> Iterator[Shell]:
    def alive() -> None:
        if guest.exit_status is not None:
            guest.streams.finish()
            raise _death(guest, End.EXITED, folder, "running a command")
        if KERNEL_DIED.search(guest.streams.tail):
            guest.wait_end(Deadline("end of a panic", 10))
            raise _death(guest, End.PANIC, folder, "running a command")

    port = prepared.boot.launch.ssh_port
    assert port is not None
    with connected(port, prepared.keys, alive) as shell:
        yield shell
