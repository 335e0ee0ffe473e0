# SPDX-License-Identifier: GPL-2.0-or-later
"""The service in the nested lab host, at the other end of a socket instead of a port."""

from __future__ import annotations

import json
import pickle
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from lab.campaign import inside
from lab.errors import UserError
from lab.guest.port import Messages, framed

LARGE = 3 << 20
released = threading.Event()


def slow(size: int) -> bytes:
    """A job that lasts until it is released."""
    assert released.wait(20)
    return bytes(size)


def refused() -> bytes:
    raise UserError("not that")


class Service:
    """The lab's end."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._messages = Messages()

    def send(self, message: bytes) -> None:
        self._connection.sendall(framed(message))

    def ask(self, function: Callable[..., bytes], *arguments: object) -> None:
        self.send(pickle.dumps((function, arguments)))

    def hear(self) -> bytes:
        while (message := self._messages.take()) is None:
            piece = self._connection.recv(1 << 16)
            assert piece, "the service is gone"
            self._messages.feed(piece)
        return message


@pytest.fixture
def service() -> Iterator[Service]:
    released.clear()
    ours, its = socket.socketpair()
    ours.settimeout(20)
    serving = threading.Thread(target=inside.serve, args=(its.fileno(),), daemon=True)
    serving.start()
    with its:
        with ours:
            talk = Service(ours)
            assert set(json.loads(talk.hear().removeprefix(inside.OK))) == {"kvm", "udmabuf"}
            yield talk
            released.set()
        serving.join(20)
        assert not serving.is_alive()  # the lab's end is its end


def test_pokes_are_answered_while_a_job_is_done(service: Service) -> None:
    """An empty message for each, before the job's answer, which is never torn apart by them."""
    service.ask(slow, LARGE)
    for _ in range(3):
        service.send(b"")
        assert service.hear() == b""
    released.set()
    poked = threading.Thread(target=lambda: [service.send(b"") for _ in range(50)])
    poked.start()
    heard = [service.hear() for _ in range(51)]
    poked.join()
    assert sorted(set(heard), key=len) == [b"", inside.OK + bytes(LARGE)]


def test_what_cannot_be_done_is_said(service: Service) -> None:
    """A job that is refused, one that breaks and one that is none: `no`, and the next one is done."""
    service.ask(refused)
    assert service.hear() == inside.NO + b"not that"
    service.ask(slow)
    assert b"TypeError" in service.hear()
    service.send(b"no pickle")
    assert service.hear().startswith(inside.NO)
    released.set()
    service.ask(slow, 2)
    assert service.hear() == inside.OK + bytes(2)
