# SPDX-License-Identifier: GPL-2.0-or-later
"""QMP: one synchronous class in front of the asynchronous client, which lives in a thread of its own.

Everything that is said on the monitor is written to qmp.jsonl.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
import threading
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import IO, Any, TypeVar

from qemu.qmp import QMPClient, QMPError
from qemu.qmp.events import EventListener

from lab.errors import InfraError

T = TypeVar("T")

MAX_LOG = 4 << 20
"""Bytes of qmp.jsonl; a guest can make events, so the file is bounded."""

logging.getLogger("qemu.qmp").addHandler(logging.NullHandler())
logging.getLogger("qemu.qmp").propagate = False


class Monitor:
    """The monitor of one running QEMU, connected over a socket that the lab made."""

    def __init__(self, connection: socket.socket, log: Path) -> None:
        self._connection = connection
        self._log: IO[str] = log.open("w")
        self._logged = 0
        self._client = QMPClient("guest")
        self._listener = EventListener()
        self._loop = asyncio.new_event_loop()
        self._guard = threading.Lock()
        self.events: list[dict[str, Any]] = []
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name="qmp")
        self._thread.start()

    def connect(self, seconds: float) -> None:
        """Shake hands; InfraError if QEMU does not answer within `seconds`."""
        self._client.register_listener(self._listener)  # before connecting: no event is missed
        self._call(self._client.connect(self._connection), seconds, "the QMP greeting")
        self._loop.call_soon_threadsafe(lambda: self._loop.create_task(self._follow()))

    def execute(self, command: str, arguments: dict[str, object] | None = None, seconds: float = 5.0) -> Any:
        """Run one QMP command and return its result; InfraError if it fails or takes too long."""
        self._write({"execute": command, "arguments": arguments or {}})
        result = self._call(self._client.execute(command, arguments), seconds, f"QMP {command}")
        self._write({"return": result, "to": command})
        return result

    def give(self, handle: int, name: str) -> None:
        """Hand QEMU an open descriptor under a name; InfraError if QEMU does not take it."""
        # It goes with a blank in front of the command; asyncio has no call for that, the socket has.
        socket.send_fds(self._connection, [b" "], [handle])
        self.execute("getfd", {"fdname": name})

    def event(self, name: str) -> dict[str, Any] | None:
        """The first event of that name so far."""
        with self._guard:
            return next((event for event in self.events if event.get("event") == name), None)

    def count(self, name: str) -> int:
        """How many events of that name there were so far."""
        with self._guard:
            return sum(event.get("event") == name for event in self.events)

    def close(self) -> None:
        """Disconnect and end the thread. Safe at any time, also after QEMU died."""
        # disconnect() re-raises, once and by design, whatever ended the connection.
        with contextlib.suppress(InfraError, EOFError, OSError, QMPError):
            self._call(self._client.disconnect(), 2.0, "QMP disconnect")
        with contextlib.suppress(InfraError):
            self._call(self._finish(), 1.0, "end of QMP tasks")
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(2.0)
        if not self._thread.is_alive():
            self._loop.close()
        self._connection.close()
        with self._guard:
            self._log.close()

    async def _finish(self) -> None:
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _follow(self) -> None:
        async for event in self._listener:
            with self._guard:
                if len(self.events) < 10_000:
                    self.events.append(dict(event))
            self._write(dict(event))

    def _write(self, message: dict[str, Any]) -> None:
        line = json.dumps({"t": round(time.time(), 3), **message}) + "\n"
        with self._guard:
            self._logged += len(line)
            if self._logged <= MAX_LOG and not self._log.closed:
                self._log.write(line)

    def _call(self, work: Coroutine[Any, Any, T], seconds: float, what: str) -> T:
        async def bounded() -> T:
            async with asyncio.timeout(
                seconds
            ):  # in this task: `_finish` spares only the one that it runs in
                return await work

        future = asyncio.run_coroutine_threadsafe(bounded(), self._loop)
        try:
            return future.result(seconds + 1.0)
        except TimeoutError as error:
            future.cancel()
            raise InfraError(f"{what} did not come within {seconds:.0f} s") from error
        except QMPError as error:
            raise InfraError(f"{what} failed: {error}") from error
