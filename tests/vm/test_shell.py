# SPDX-License-Identifier: GPL-2.0-or-later
"""`lab shell` on a terminal: it works as a shell, and the terminal is afterwards what it was before."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import adopt_orphans, descendants

from lab.results.runfolder import RunFolder

PATIENCE = 120.0
"""Seconds for whatever is waited for, on a machine that is busy with other things."""

LAB = (sys.executable, "-m", "lab")

PROMPT = r"# \x1b\[6n"
"""The guest's prompt, and its question where the cursor is."""


class Terminal:
    """A `lab` on a terminal of its own; we sit at the other end."""

    def __init__(self, *argv: str) -> None:
        self._ours, self._theirs = pty.openpty()
        self.before = termios.tcgetattr(self._theirs)
        self.shown = ""
        env = {**os.environ, "TERM": "xterm"}
        env.pop("CI", None)
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *argv], stdin=self._theirs, stdout=self._theirs, stderr=self._theirs, env=env
        )

    @property
    def settings(self) -> list[object]:
        return termios.tcgetattr(self._theirs)

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def until(self, pattern: str) -> re.Match[str]:
        """Wait until something that matches has appeared since the last match, and forget what was before."""
        end = time.monotonic() + PATIENCE
        while not (found := re.search(pattern, self.shown)):
            assert time.monotonic() < end, f"no {pattern} in: {self.shown[-2000:]}"
            assert self._read() or self.process.poll() is None, f"it ended: {self.shown[-2000:]}"
        self.shown = self.shown[found.end() :]
        return found

    def wait_for_program(self, name: str) -> None:
        """Wait until it runs a program of that name (as the kernel shows it: 15 characters)."""
        end = time.monotonic() + PATIENCE
        while name not in {one.name for one in descendants(self.process.pid)}:
            assert self.process.poll() is None, self.shown
            assert time.monotonic() < end, self.shown
            self._read(0.01)

    def ended(self) -> int:
        end = time.monotonic() + PATIENCE
        while self.process.poll() is None:
            assert time.monotonic() < end, self.shown[-2000:]
            self._read()
        while self._read():
            pass
        return self.process.returncode

    def _read(self, seconds: float = 0.1) -> bool:
        if not select.select([self._ours], [], [], seconds)[0]:
            return False
        self.shown += os.read(self._ours, 1 << 16).decode(errors="replace")
        return True

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._ours)
        os.close(self._theirs)


@contextlib.contextmanager
def terminal(*words: str) -> Iterator[Terminal]:
    made = Terminal(*LAB, *words)
    try:
        yield made
    finally:
        made.close()


def test_a_shell_runs_commands_and_gives_back_terminal_and_status(state: Path) -> None:
    """Commands work, ^C reaches the guest's program and not lab, `exit 7` is lab's exit code."""
    with terminal("shell") as shell:
        shell.until(PROMPT)
        assert shell.settings != shell.before  # raw: keys go to the guest
        shell.type("echo $((6 * 7)) on $(uname -n)\r")
        shell.until(r"\n42 on ")
        # Said by the program in the foreground itself: a ^C before a shell has handed the terminal over
        # is the shell's, and it goes on waiting for its program.
        shell.type("sh -c 'echo be\"\"gun; sleep 1000'\r")
        shell.until(r"begun")
        shell.type("\x03")
        shell.until(PROMPT)
        shell.type("exit 7\r")
        assert shell.ended() == 7
        assert shell.settings == shell.before


@pytest.mark.parametrize("key", ["booting", "serving"])
def test_ending_a_shell_from_outside_restores_the_terminal(state: Path, key: str) -> None:
    """^C while it boots, SIGTERM while it serves: 130, the cursor is shown, no key goes astray."""
    with terminal("shell") as shell:
        if key == "booting":
            shell.wait_for_program("qemu-system-x86")
            shell.type("\x03")
        else:
            shell.until(PROMPT)
            shell.process.send_signal(signal.SIGTERM)
        assert shell.ended() == 130
        assert shell.settings == shell.before
        assert "\x1b[?25l" not in shell.shown.rpartition("\x1b[?25h")[2]  # hidden last: never


@pytest.mark.skipif(shutil.which("gdb") is None, reason="gdb is not installed")
def test_a_debugger_can_take_the_guest_before_its_first_instruction(state: Path) -> None:
    """--gdb prints a line to type; gdb reads the first address, lets go, and the guest boots."""
    with terminal("shell", "--gdb") as shell:
        line = shell.until(r"gdb \S+ -ex 'target remote (127\.0\.0\.1:\d+)'")
        argv = ["gdb", "-batch", "-nx", "-ex", f"target remote {line[1]}", "-ex", "info registers rip"]
        said = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=60)
        assert re.search(r"rip +0xfff0\b", said.stdout), said.stdout + said.stderr  # x86's reset vector
        shell.until(PROMPT)
        shell.type("exit\r")
        assert shell.ended() == 0


def test_closing_the_terminal_ends_lab_in_order(state: Path) -> None:
    """The login shell is killed and its terminal gone: guests end, and what was finished is kept."""
    adopt_orphans()
    before = {one.pid for one in descendants(os.getpid())}
    login = Terminal("sh", "-c", '"$@"; true', "sh", *LAB, "run", "smoke/boot")
    try:
        login.wait_for_program("qemu-system-x86")
        login.process.kill()
    finally:
        login.close()
    end = time.monotonic() + 5
    while left := [one for one in descendants(os.getpid()) if one.pid not in before]:
        assert time.monotonic() < end, left
        time.sleep(0.01)
    assert RunFolder((state / "runs/latest").resolve()).read().interrupted
