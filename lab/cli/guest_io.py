# SPDX-License-Identifier: GPL-2.0-or-later
"""Between the user's terminal and a command in a guest."""

from __future__ import annotations

import contextlib
import os
import select
import shlex
import shutil
import sys
import termios
import tty
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TextIO

import click

from lab.errors import InfraError, UserError
from lab.guest.shell import go_on
from lab.waiting import TICK, Deadline, check_stop
from lab.workflow.guests import OpenGuest, Prepared, Wanted, open_guest, prepare_guest

if TYPE_CHECKING:
    import paramiko

STATUS_SECONDS = 10.0
"""How long after the end of a shell's output its exit status may take."""

MAX_STDIN = 64 << 20
"""Bytes of our stdin that are handed to a guest's command."""


def run_command(wanted: Wanted, words: Sequence[str], *, timeout: float, dry_run: bool, stdin: TextIO) -> int:
    """Run one command; its output goes to our stdout and stderr as it comes."""
    if dry_run:
        click.echo(prepare_guest(wanted).script, nl=False)
        return 0
    data = b"" if stdin.isatty() or not _has_input(stdin) else _all_of(stdin.fileno(), timeout)
    with (
        open_guest(wanted, command=words) as opened,
        contextlib.closing(opened.shell.open(shlex.join(words))) as channel,
    ):
        if not data:
            channel.shutdown_write()
        deadline = Deadline("command", timeout)
        out, err = (_writer(handle, lambda: go_on(deadline)) for handle in (1, 2))
        status = opened.shell.follow(channel, out, err, deadline, data)
        _warn(opened)
    return status


def _has_input(stdin: TextIO) -> bool:
    """Whether stdin can be read to an end: a file or a pipe that has been given, not an idle one."""
    try:
        return bool(select.select([stdin], [], [], 0)[0])
    except (OSError, ValueError):
        return False


def _all_of(handle: int, seconds: float) -> bytes:
    """What can be read to its end. UserError if it is too much, InfraError if its end does not come."""
    data = bytearray()
    deadline = Deadline("stdin", seconds)
    while True:
        check_stop()
        if deadline.expired:
            raise InfraError(
                f"stdin did not end within {seconds:.0f} s", hint="if COMMAND needs none, add `</dev/null`"
            )
        if not select.select([handle], [], [], deadline.slice())[0]:
            continue
        piece = os.read(handle, 1 << 16)
        if not piece:
            return bytes(data)
        data += piece
        if len(data) > MAX_STDIN:
            raise UserError(
                f"stdin has more than {MAX_STDIN >> 20} MiB, which is all that COMMAND can be given",
                hint="give it less, for example the start: `head -c 64M`",
            )


def _writer(handle: int, go_on: Callable[[], None]) -> Callable[[bytes], None]:
    """Writes all of a piece to our stdout or stderr; `go_on` raises if there is no longer any wish to."""

    def write(piece: bytes) -> None:
        while piece:
            go_on()
            # So much a pipe takes at once if it takes anything: who reads it must not hold us up.
            if select.select([], [handle], [], TICK)[1]:
                piece = piece[os.write(handle, piece[: select.PIPE_BUF]) :]

    return write


def _warn(opened: OpenGuest) -> None:
    for splat in opened.splats():
        click.echo(f"lab: kernel log: {splat.title} ({opened.folder / 'console.log'}:{splat.line})", err=True)


def interactive(wanted: Wanted, *, dry_run: bool) -> int:
    """A login shell on the user's terminal."""
    if dry_run:
        click.echo(prepare_guest(wanted).script, nl=False)
        return 0
    if not sys.stdin.isatty():
        raise UserError("`lab shell` needs a terminal", hint="use `lab run -- COMMAND` in scripts")
    with open_guest(wanted, announce=_announce) as opened:
        size = shutil.get_terminal_size()
        with (
            contextlib.closing(opened.shell.open(None, terminal=(size.columns, size.lines))) as channel,
            _raw_terminal(),
        ):
            status = _relay(channel, opened)
        _warn(opened)
    return status


def _announce(prepared: Prepared) -> None:
    if prepared.boot.launch.gdb is not None:
        click.echo(
            f"the guest waits for a debugger; in another terminal type:\n  {prepared.gdb_line}", err=True
        )


@contextlib.contextmanager
def _raw_terminal() -> Iterator[None]:
    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setraw(sys.stdin)
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def _relay(channel: paramiko.Channel, opened: OpenGuest) -> int:
    write = _writer(1, check_stop)
    while True:
        check_stop()
        ready = select.select([sys.stdin, channel], [], [], TICK)[0]
        if channel in ready:
            piece = channel.recv(1 << 16)
            if not piece:
                break
            write(piece)
        if sys.stdin in ready:
            typed = os.read(sys.stdin.fileno(), 1 << 12)
            if typed:
                channel.sendall(typed)
        if not ready and opened.guest.exit_status is not None:
            raise InfraError("the guest ended", hint=f"its console is in {opened.folder / 'console.log'}")
    # The end of the output may come before the status does.
    if channel.status_event.wait(STATUS_SECONDS) and channel.exit_status_ready():
        return channel.recv_exit_status()
    raise InfraError("the guest's shell ended without a status", hint=f"see {opened.folder / 'console.log'}")
