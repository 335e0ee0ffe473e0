# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest as a test in Python sees it."""

from __future__ import annotations

import contextlib
import itertools
import shlex
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from lab.errors import LabError, UserError
from lab.guest.accelerator import Policy
from lab.guest.shell import Ran
from lab.instrument.splats import scan
from lab.kernel.obtain import KCONFIG
from lab.kernel.sources import default_source
from lab.report.clean import last_lines
from lab.results.models import KernelRecord, Splat
from lab.waiting import Deadline, check_stop
from lab.workflow.guests import OpenGuest, Wanted, open_guest

COMMAND_SECONDS = 60.0
SETTLE_SECONDS = 10.0
"""How long a marker may take from the guest's serial port to us; past it, what has arrived is judged."""

SHOWN_LINES = 15


def wanted_by(config: pytest.Config, mark: pytest.Mark | None) -> list[Wanted]:
    """The guests a test asks for, one for each machine: by its marker `lab`, else by the options."""
    asked = dict(mark.kwargs) if mark is not None else {}
    kernel = asked.pop("kernel", None) or config.getoption("lab_kernel")
    kernel = kernel or default_source(config.invocation_params.dir)
    machines = asked.pop("machine", None) or config.getoption("lab_machine") or ["qxl"]
    if asked or (mark is not None and mark.args):
        raise pytest.UsageError("the marker lab takes the keywords kernel and machine, and nothing else")
    names = [machines] if isinstance(machines, str) else list(dict.fromkeys(machines))
    accelerator: Policy = config.getoption("lab_accel") if config.getoption("lab_accel") else "auto"
    kconfig = config.getoption("lab_kconfig") or KCONFIG
    return [Wanted(kernel, machine, accelerator, kconfig=kconfig) for machine in names]


def name_of(wanted: Wanted) -> str:
    """How a test's id names its guest."""
    return wanted.machine if wanted.kernel == "stock" else f"{wanted.kernel}-{wanted.machine}"


@contextlib.contextmanager
def booted_for(wanted: Wanted) -> Iterator[LabGuest]:
    """Boot; a guest that does not come up is the test's error, told without the lab's own traceback."""
    with contextlib.ExitStack() as stack:
        try:
            opened = stack.enter_context(open_guest(wanted))
        except LabError as error:
            pytest.fail(f"no guest: {error}", pytrace=False)
        yield LabGuest(opened, wanted)


class LabGuest:
    """A running guest.

    `kernel` is its kernel, `machine` the name of its preset, `folder` where console.log and qemu.cmd are.
    """

    def __init__(self, opened: OpenGuest, wanted: Wanted) -> None:
        self.kernel: KernelRecord = opened.prepared.kernel.record
        self.machine: str = wanted.machine
        self.folder: Path = opened.folder
        self._opened = opened
        self._marks = itertools.count(1)
        self._from = 0  # byte of the console log where the test began

    def run(
        self, command: str | Sequence[str], *, timeout: float = COMMAND_SECONDS, data: bytes = b""
    ) -> Ran:
        """Run a shell command, or a list of words, with `data` as its stdin.

        Raises GuestDied if the kernel dies meanwhile, InfraError after `timeout` seconds.
        """
        text = command if isinstance(command, str) else shlex.join(command)
        return self._opened.shell.run(text, timeout=timeout, data=data)

    def put(self, content: bytes, path: str, *, mode: int = 0o644) -> None:
        """Write a file in the guest; UserError if the guest cannot."""
        name = shlex.quote(path)
        self._needed(f"cat > {name} && chmod {mode:o} {name}", f"cannot write {path}", content)

    def get(self, path: str) -> bytes:
        """Read a file of the guest (at most 64 MiB); UserError if the guest cannot."""
        return self._needed(f"cat {shlex.quote(path)}", f"cannot read {path}").stdout

    def _needed(self, command: str, failure: str, data: bytes = b"") -> Ran:
        ran = self.run(command, data=data)
        if ran.status != 0:
            why = ran.stderr.decode(errors="replace").strip()
            raise UserError(f"{failure} in the guest: {why or f'status {ran.status}'}")
        return ran

    def splats(self) -> tuple[Splat, ...]:
        """Complaints of the kernel since the test began (with `guest`: since the boot)."""
        self._settle()
        console = self._console()
        before = console[: self._from].count(b"\n")
        found = scan(console[self._from :].decode(errors="replace"))
        return tuple(splat.model_copy(update={"line": splat.line + before}) for splat in found)

    def _console(self) -> bytes:
        return (self.folder / "console.log").read_bytes()

    def _settle(self) -> None:
        """Wait until all that the kernel has printed is here: a marker printed after it has arrived."""
        marker = f"LAB-SEEN {next(self._marks)}"
        try:
            self.run(f"echo '{marker}' > /dev/console", timeout=SETTLE_SECONDS)
        except LabError:
            return  # a dead guest has been read to its end
        deadline = Deadline("console", SETTLE_SECONDS)
        while marker not in self._opened.guest.streams.tail and not deadline.expired:
            check_stop()
            time.sleep(deadline.slice() / 10)

    # ---- for the plugin ------------------------------------------------------------------------

    def begin_test(self) -> None:
        """From here on the kernel log belongs to another test."""
        self._settle()
        self._from = len(self._console())

    def fail_on_splats(self) -> None:
        """Fail the test that is running if the kernel has complained."""
        if self.splats():
            pytest.fail(f"the guest's kernel complained:\n{self.evidence()}", pytrace=False)

    def evidence(self) -> str:
        """What the kernel complained about, the end of the console, and where all of it is."""
        titles = [f"  {splat.title} (console.log line {splat.line})" for splat in self.splats()]
        console = last_lines(self.folder / "console.log", lines=SHOWN_LINES, width=160)
        return "\n".join([*titles, "last lines of the console:", *console, f"guest: {self.folder}"])

    def properties(self) -> list[tuple[str, object]]:
        """For JUnit: what the test ran on."""
        about = {"kernel": self.kernel.name, "machine": self.machine, "guest": str(self.folder)}
        return list(about.items())
