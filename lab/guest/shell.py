# SPDX-License-Identifier: GPL-2.0-or-later
"""Commands in a guest over SSH: a key and a pinned host key for each guest, on one forwarded port."""

from __future__ import annotations

import base64
import contextlib
import io
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab.errors import InfraError
from lab.waiting import TICK, Deadline, check_stop

if TYPE_CHECKING:
    import paramiko

MAX_OUTPUT = 64 << 20
"""Bytes of stdout, and of stderr, that a captured command may give; the rest is read and dropped."""


REPLY_SECONDS = 60.0
"""The longest that the guest's sshd may take to begin a command."""


@dataclass(frozen=True)
class Keys:
    """One guest's keys, made for it alone."""

    host_private: bytes  # OpenSSH PEM
    host_public: str  # "ssh-ed25519 AAAA..."
    client_private: str
    client_public: str

    @property
    def guest_files(self) -> dict[str, bytes]:
        """What goes into the guest's initramfs."""
        return {
            "/lab/host_key": self.host_private,
            "/lab/authorized_keys": f"{self.client_public}\n".encode(),
        }


def make_keys() -> Keys:
    host, client = _ed25519(), _ed25519()
    return Keys(host[0], host[1], client[0].decode(), client[1])


def _ed25519() -> tuple[bytes, str]:
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.OpenSSH, form.NoEncryption())
    public = key.public_key().public_bytes(form.Encoding.OpenSSH, form.PublicFormat.OpenSSH)
    return private, public.decode()


def free_port() -> int:
    """A TCP port on loopback that nobody has at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Ran:
    """A command that ended in the guest."""

    status: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        """stdout as text, without the newlines at its end."""
        return self.stdout.decode(errors="replace").rstrip("\n")


class Shell:
    """One SSH connection to a guest. `alive` raises if the guest is dead; it is asked in every wait."""

    def __init__(self, port: int, keys: Keys, alive: Callable[[], None], *, seconds: float) -> None:
        import paramiko

        # While the guest's sshd wakes up, paramiko logs tracebacks of attempts that we repeat.
        logging.getLogger("paramiko").setLevel(logging.CRITICAL)
        self._alive = alive
        deadline = Deadline("SSH connection", seconds)
        problem: Exception | None = None
        while not deadline.expired:
            alive()
            check_stop()
            self._client = paramiko.SSHClient()
            try:
                _connect(self._client, port, keys, deadline.remaining)
                return
            except paramiko.BadHostKeyException as error:
                self._client.close()
                raise InfraError(
                    f"port {port} answers with another host key than this guest's",
                    hint="another program took the port; run the command again",
                ) from error
            except (paramiko.SSHException, OSError, EOFError) as error:
                problem = error
                self._client.close()
                time.sleep(TICK)
        raise InfraError(f"no SSH connection to the guest within {seconds:.0f} s: {problem}")

    def open(self, command: str | None, *, terminal: tuple[int, int] | None = None) -> paramiko.Channel:
        """A channel that runs `command` (None: a login shell), with a terminal of that (columns, rows)."""
        import paramiko

        transport = self._client.get_transport()
        try:
            if transport is None:
                raise EOFError
            channel = transport.open_session(timeout=REPLY_SECONDS)
            with _closed_unless_done(channel, REPLY_SECONDS):
                if terminal is not None:
                    channel.get_pty("xterm-256color", *terminal)
                if command is None:
                    channel.invoke_shell()
                else:
                    channel.exec_command(command)
        except (paramiko.SSHException, OSError, EOFError) as error:
            self._alive()
            raise InfraError("the SSH connection to the guest is gone") from error
        channel.settimeout(0.0)
        return channel

    def run(self, command: str, *, timeout: float, data: bytes = b"") -> Ran:
        """Run a shell command to its end. InfraError on `timeout` seconds or a dead guest."""
        kept: dict[str, bytearray] = {"out": bytearray(), "err": bytearray()}

        def keep(stream: str) -> Callable[[bytes], None]:
            def take(piece: bytes) -> None:
                kept[stream] += piece[: MAX_OUTPUT - len(kept[stream])]

            return take

        with contextlib.closing(self.open(command)) as channel:
            if not data:
                channel.shutdown_write()
            status = self.follow(channel, keep("out"), keep("err"), Deadline("command", timeout), data)
        return Ran(status, bytes(kept["out"]), bytes(kept["err"]))

    def follow(
        self,
        channel: paramiko.Channel,
        out: Callable[[bytes], None],
        err: Callable[[bytes], None],
        deadline: Deadline,
        data: bytes = b"",
    ) -> int:
        """Pass on both streams, read together, until the command ends; returns its status."""
        while True:
            go_on(deadline)
            moved = False
            for ready, read, take in (
                (channel.recv_ready, channel.recv, out),
                (channel.recv_stderr_ready, channel.recv_stderr, err),
            ):
                if ready():  # not `while`: a guest can say more than `take` gets rid of
                    take(read(1 << 16))
                    moved = True
            if data and channel.send_ready():
                data = _fed(channel, data)
                moved = True
            if not moved:
                drained = not channel.recv_ready() and not channel.recv_stderr_ready()
                if drained and channel.exit_status_ready() and (channel.eof_received or channel.closed):
                    return channel.recv_exit_status()
                self._alive()
                if channel.closed and not channel.exit_status_ready():
                    raise InfraError("the guest closed the connection in the middle of a command")
                channel.status_event.wait(0.01)

    def close(self) -> None:
        self._client.close()


def go_on(deadline: Deadline) -> None:
    """Raise if the user wants to stop, or the command that is followed has had its time."""
    check_stop()
    if deadline.expired:
        raise InfraError(f"the command did not end within {deadline.seconds:.0f} s")


@contextlib.contextmanager
def _closed_unless_done(channel: paramiko.Channel, seconds: float) -> Iterator[None]:
    """Close the channel if what is asked of it is not answered: without that, paramiko waits for ever."""
    closing = threading.Timer(seconds, channel.close)
    closing.daemon = True
    closing.start()
    try:
        yield
    finally:
        closing.cancel()


def _fed(channel: paramiko.Channel, data: bytes) -> bytes:
    """Hand some of its stdin to a command; returns what is left."""
    try:
        data = data[channel.send(data[: 1 << 15]) :]
        if not data:
            channel.shutdown_write()
    except OSError:  # it ended without reading all of it: its status tells why
        return b""
    return data


def _connect(client: paramiko.SSHClient, port: int, keys: Keys, seconds: float) -> None:
    import paramiko

    kind, text = keys.host_public.split()[:2]
    pinned = paramiko.PKey.from_type_string(kind, base64.b64decode(text))
    client.get_host_keys().add(f"[127.0.0.1]:{port}", kind, pinned)
    client.set_missing_host_key_policy(paramiko.RejectPolicy())
    # One generous attempt rather than many short ones: `timeout` also bounds the key exchange, which
    # takes seconds under emulation.
    patience = max(1.0, min(60.0, seconds))
    client.connect(
        "127.0.0.1",
        port,
        username="root",
        pkey=paramiko.Ed25519Key.from_private_key(io.StringIO(keys.client_private)),
        allow_agent=False,
        look_for_keys=False,
        timeout=patience,
        banner_timeout=patience,
        auth_timeout=patience,
    )


@contextlib.contextmanager
def connected(port: int, keys: Keys, alive: Callable[[], None], *, seconds: float = 90) -> Iterator[Shell]:
    shell = Shell(port, keys, alive, seconds=seconds)
    try:
        yield shell
    finally:
        shell.close()
