# SPDX-License-Identifier: GPL-2.0-or-later
"""Running programs: bounded in time and output, stoppable, and gone with the lab."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from lab import proc, waiting
from lab.errors import InfraError, Interrupted


def _gone(pid: int, seconds: float = 2.0) -> bool:
    """Whether a process ends (or is a zombie, which nobody but its parent can bury) in this time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[0]
        except OSError:
            return True
        if state in "ZX":
            return True
        time.sleep(0.01)
    return False


def test_both_streams_and_the_status_are_told_apart() -> None:
    """What a program says on either stream, and how it ended."""
    done = proc.run(["sh", "-c", "echo out; echo err >&2; exit 3"], timeout=10, check=False)
    assert (done.text, done.errors, done.code) == ("out\n", "err\n", 3)


def test_a_failure_names_command_status_and_last_words() -> None:
    """With `check`, the message holds what a user needs to look into it."""
    with pytest.raises(InfraError, match=r"ended with status 3\n  the reason"):
        proc.run(["sh", "-c", "echo the reason >&2; exit 3"], timeout=10)


def test_a_missing_program_is_named_with_its_package() -> None:
    """`needed` says what to install."""
    with pytest.raises(InfraError, match="no-such-program is not installed; it does this") as caught:
        proc.needed("no-such-program", package="some-package", why="it does this")
    assert caught.value.hint == "apt-get install some-package"


@pytest.mark.parametrize(
    "words",
    [
        "tar: a/b: Cannot write: No space left on device",
        "cc1: out of memory: Cannot allocate memory",
        "gcc: fatal error: Killed signal terminated program cc1",
    ],
)
def test_a_host_without_room_is_blamed_for_what_it_did(words: str) -> None:
    """A full disk or memory is never taken for a fault of what was run."""
    with pytest.raises(InfraError, match="the host has no room left: " + re.escape(words)) as caught:
        proc.run(["sh", "-c", f"echo start; echo '{words}' >&2; exit 1"], timeout=10)
    assert "lab gc" in caught.value.hint


def test_data_reaches_stdin_even_if_it_is_not_read() -> None:
    """A program that ignores its input does not make the lab fail."""
    assert proc.run(["cat"], timeout=10, data=b"x" * 300_000).stdout == b"x" * 300_000
    assert proc.run(["true"], timeout=10, data=b"x" * 300_000).code == 0


def test_output_is_kept_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flood is read to its end and dropped beyond the bound."""
    monkeypatch.setattr(proc, "MAX_OUTPUT", 1000)
    done = proc.run(["sh", "-c", "head -c 1000000 /dev/zero; echo end >&2"], timeout=30)
    assert (len(done.stdout), done.errors) == (1000, "end\n")


def test_a_log_holds_both_streams_in_order(tmp_path: Path) -> None:
    """As it would look on a terminal."""
    log = tmp_path / "log"
    proc.run(["sh", "-c", "echo 1; echo 2 >&2; echo 3"], timeout=10, log=log)
    assert log.read_text() == "1\n2\n3\n"


def test_only_the_quiet_environment_is_passed_where_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's variables do not decide what a compiler makes."""
    monkeypatch.setenv("CFLAGS", "-O0")
    said = proc.run(["env"], timeout=10, env={"EXTRA": "1"}).text
    assert "CFLAGS" not in said
    assert "EXTRA=1" in said


def test_a_timeout_ends_the_program_and_all_that_it_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also a grandchild that ignores SIGTERM. The deadline passes once it runs, however late that is."""
    script = "trap '' TERM; sleep 1000 & echo $!; wait"
    seen: list[bytes] = []

    class OnceItSpoke(waiting.Deadline):
        @property
        def expired(self) -> bool:
            return bool(seen) if self.seconds == 900 else super().expired

    monkeypatch.setattr(proc, "Deadline", OnceItSpoke)
    start = time.monotonic()
    with pytest.raises(InfraError, match=r"did not end within 900 s"):
        proc.run(["sh", "-c", script], timeout=900, watch=seen.append)
    assert time.monotonic() - start < 100
    assert _gone(int(b"".join(seen)))


def test_the_user_s_wish_to_stop_ends_the_program() -> None:
    """Within a tick and the patience for SIGTERM."""
    threading.Timer(0.2, waiting.stop_requested.set).start()
    start = time.monotonic()
    try:
        with pytest.raises(Interrupted):
            proc.run(["sleep", "1000"], timeout=1000)
    finally:
        waiting.stop_requested.clear()
    assert time.monotonic() - start < 100


def test_a_stream_that_a_fugitive_holds_open_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon in a session of its own keeps our pipe; the program's end is still its end."""
    monkeypatch.setattr(proc, "LAST_WORDS", 1.0)
    start = time.monotonic()
    # Field 6 of stat is the session: the shell ends only when the daemon has one of its own.
    own = 'until [ "$(cut -d" " -f6 /proc/$pid/stat)" = "$pid" ]; do :; done'
    done = proc.run(["sh", "-c", f"setsid sleep 1000 & pid=$!; {own}; echo $pid"], timeout=60)
    fugitive = int(done.text)
    try:
        assert time.monotonic() - start < 100
        assert done.code == 0
    finally:
        os.kill(fugitive, signal.SIGKILL)


@pytest.mark.parametrize("pipeline", [False, True])
def test_nothing_outlives_a_lab_that_is_killed(pipeline: bool) -> None:
    """SIGKILL of the lab kills its child, and each part of a pipeline that is tied to its shell."""
    tie = proc.quoted(proc.tied())
    pids = [f"{tie} sh -c 'echo $$ >&2; exec sleep 1000'"] * 2
    script = " | ".join(pids) if pipeline else "echo $$ >&2; exec sleep 1000"
    start = f"proc.spawn(['bash', '-c', {script!r}], stderr=sys.stderr)"
    code = f"import sys\nfrom lab import proc\n{start}\ninput()"
    argv = [sys.executable, "-c", code]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as lab:
        assert lab.stderr is not None
        started = [int(lab.stderr.readline()) for _ in range(2 if pipeline else 1)]
        lab.kill()
    assert all(_gone(pid) for pid in started)


def test_a_child_of_a_lab_that_died_before_it_was_tied_does_not_start() -> None:
    """The moment between its start and its parent-death signal is no hole: it looks at its parent as well."""
    other = str(os.getpid() + 1)
    argv = ["/bin/sh", "-c", proc.UNLESS_ORPHAN, other, "echo", "hello"]
    done = subprocess.run(argv, check=False, capture_output=True)
    assert (done.returncode, done.stdout) == (1, b"")
