# SPDX-License-Identifier: GPL-2.0-or-later
"""Running other programs. The only module that imports subprocess.

Every child gets a session of its own, so that ^C reaches the lab and not the child, and a parent-death
signal, so that nothing outlives a SIGKILL of the lab. The signal fires when the *thread* that started
the child ends: start long-lived children from a thread that outlives them.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from lab.errors import InfraError, Interrupted
from lab.waiting import Deadline, check_stop

MAX_OUTPUT = 16 << 20
"""Bytes kept of each of stdout and stderr of a finished program; the rest is read and dropped."""

LAST_WORDS = 5.0
"""Seconds in which what an ended program has said must be read: something that fled from its process group
may hold the streams open for ever."""

UNLESS_ORPHAN = 'test "$PPID" = "$0" && exec "$@"'
"""Run by sh once the parent-death signal is set: it also notices a lab that was killed before that."""

ENGLISH = {"LC_ALL": "C.UTF-8", "LANGUAGE": ""}
"""What programs say is read. LANGUAGE would win over LC_ALL in all of them that use gettext."""

QUIET_ENV = {**ENGLISH, "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"}


Child = subprocess.Popen[bytes]
PIPE = subprocess.PIPE


STARVED = re.compile(
    r"[^\n]*(?:No space left on device|Cannot allocate memory|Killed signal terminated program)[^\n]*"
)
"""What tools say when the host has run out of disk or memory."""


@dataclass(frozen=True)
class Finished:
    """A program that ran to its end."""

    argv: tuple[str, ...]
    code: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        return self.stdout.decode(errors="replace")

    @property
    def errors(self) -> str:
        return self.stderr.decode(errors="replace")

    def check_room(self) -> None:
        """InfraError if it says that the host ran out of disk or memory: then nothing else is to blame."""
        found = STARVED.search(self.errors) or STARVED.search(self.text)
        if found:
            raise InfraError(
                f"the host has no room left: {found[0].strip()}",
                hint="`lab gc` frees disk; LAB_CACHE and LAB_STATE move the lab's folders to another one",
            )


def find(program: str) -> str | None:
    """The path of a program, also in the sbin folders that a user's PATH may lack."""
    return shutil.which(program, path=os.environ.get("PATH", "") + ":" + QUIET_ENV["PATH"])


def needed(program: str, *, package: str, why: str) -> str:
    """The path of a program, or InfraError naming the Debian package that has it."""
    path = find(program)
    if path is None:
        raise InfraError(f"{program} is not installed; {why}", hint=f"apt-get install {package}")
    return path


def quoted(argv: Sequence[str]) -> str:
    """The command as one could paste it into a shell."""
    return shlex.join(argv)


def tied(*become: str) -> list[str]:
    """What to put before a command so that it dies with the process that starts it.

    `spawn` does so for a child; each part of a shell's pipeline needs it as well, because the signal does not
    reach grandchildren. `become` are setpriv's options for changing the user.
    """
    setpriv = needed("setpriv", package="util-linux", why="children are tied to the lab's life with it")
    return [setpriv, "--pdeathsig", "KILL", *become, "--"]


def spawn(
    argv: Sequence[str],
    *,
    stdin: int | IO[bytes] = subprocess.DEVNULL,
    stdout: int | IO[bytes] | None = subprocess.DEVNULL,
    stderr: int | IO[bytes] | None = subprocess.DEVNULL,
    pass_fds: Sequence[int] = (),
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    user: tuple[int, int] | None = None,
) -> Child:
    """Start a program that dies with the calling thread; `user` is (uid, gid) to become, as root.

    Raises InfraError if it cannot be started.
    """
    become = []
    if user is not None:
        become = [f"--reuid={user[0]}", f"--regid={user[1]}", "--clear-groups", "--no-new-privs"]
    try:
        return subprocess.Popen(
            [*tied(*become), "/bin/sh", "-c", UNLESS_ORPHAN, str(os.getpid()), *argv],
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            pass_fds=tuple(pass_fds),
            env=dict(env) if env is not None else None,
            cwd=cwd,
            start_new_session=True,
        )
    except OSError as error:
        raise InfraError(f"cannot start {argv[0]}: {error}") from error


def kill_group(child: Child, *, patience: float = 0.0) -> int:
    """End a child and all it started: SIGTERM, `patience` seconds later SIGKILL; returns its status."""
    if child.poll() is None and patience > 0:
        _signal_group(child, signal.SIGTERM)
        deadline = Deadline("end of child", patience)
        while child.poll() is None and not deadline.expired:
            time.sleep(min(0.02, deadline.remaining))
    _signal_group(child, signal.SIGKILL)
    return child.wait()


def _signal_group(child: Child, number: signal.Signals) -> None:
    try:
        os.killpg(child.pid, number)
    except (ProcessLookupError, PermissionError):
        # Gone, or it changed its user while we are not root: the direct child is still ours to wait for.
        if child.poll() is None:
            child.send_signal(number)


def run(
    argv: Sequence[str],
    *,
    timeout: float,
    check: bool = True,
    data: bytes | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    log: Path | None = None,
    stdout_to: Path | None = None,
    watch: Callable[[bytes], None] | None = None,
) -> Finished:
    """Run a program to its end and return what it said.

    Both streams are kept up to MAX_OUTPUT bytes; `log` receives them joined, in order, as well;
    `stdout_to` sends stdout to a file instead; `watch` sees stdout as it arrives, on another thread.
    Raises InfraError if it cannot be started, takes longer than `timeout` seconds, or (`check`) ends with
    another status than 0; Interrupted on ^C.
    """
    environment = {**(os.environ if env is None else QUIET_ENV | dict(env)), **ENGLISH}
    with _maybe_open(log) as log_file, _maybe_open(stdout_to) as out_file:
        child = spawn(
            argv,
            stdin=PIPE if data is not None else subprocess.DEVNULL,
            stdout=out_file if out_file is not None else PIPE,
            stderr=subprocess.STDOUT if log is not None else PIPE,
            env=environment,
            cwd=cwd,
        )
        out, err = _Drain(child.stdout, log_file, watch), _Drain(child.stderr, None)
        feeder = _feed(child, data)
        try:
            _wait(child, Deadline(quoted(argv), timeout))
        finally:
            kill_group(child)
            for part in (out, err, feeder):
                part.join(LAST_WORDS)
    done = Finished(tuple(argv), child.returncode, bytes(out.kept), bytes(err.kept))
    if check and done.code != 0:
        done.check_room()
        tail = (done.errors or done.text).strip().splitlines()[-12:]
        raise InfraError(f"{quoted(argv)} ended with status {done.code}\n  " + "\n  ".join(tail))
    return done


def _wait(child: Child, deadline: Deadline) -> None:
    """Wait for the end; on a passed deadline or the user's wish, ask the child to end before raising."""
    try:
        while child.poll() is None:
            check_stop()
            if deadline.expired:
                raise InfraError(f"{deadline.name} did not end within {deadline.seconds:.0f} s")
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(deadline.slice())
    except (InfraError, Interrupted):
        kill_group(child, patience=1.0)
        raise


class _maybe_open:
    """A file opened for writing, or None."""

    def __init__(self, path: Path | None) -> None:
        self._file = path.open("wb", buffering=0) if path is not None else None

    def __enter__(self) -> IO[bytes] | None:
        return self._file

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()


class _Drain(threading.Thread):
    """Reads a stream to its end, keeps the first MAX_OUTPUT bytes, copies all to a file if asked."""

    def __init__(
        self, stream: IO[bytes] | None, copy: IO[bytes] | None, watch: Callable[[bytes], None] | None = None
    ) -> None:
        super().__init__(daemon=True)
        self.kept = bytearray()
        self._stream, self._copy, self._watch = stream, copy, watch
        self.start()

    def run(self) -> None:
        if self._stream is None:
            return
        with self._stream:
            while chunk := os.read(self._stream.fileno(), 1 << 16):
                self.kept += chunk[: MAX_OUTPUT - len(self.kept)]
                if self._copy is not None:
                    with contextlib.suppress(OSError):  # a full disk: the child must not block for it
                        self._copy.write(chunk)
                if self._watch is not None:
                    self._watch(chunk)


def _feed(child: Child, data: bytes | None) -> threading.Thread:
    def write() -> None:
        if data is None or child.stdin is None:
            return
        try:
            with child.stdin:
                child.stdin.write(data)
        except BrokenPipeError:
            return  # it ended without reading all; its status tells why

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    return thread
