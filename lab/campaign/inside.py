# SPDX-License-Identifier: GPL-2.0-or-later
"""What runs in the nested lab host: takes jobs from its port, one after the other, and answers each.

A job is a pickled function with its arguments. It comes from the lab that booted this guest and is trusted;
the answer goes the other way and is not: plain bytes, `ok` or `no` in front.
"""

from __future__ import annotations

import json
import os
import pickle
import tempfile
import threading
import traceback
from collections.abc import Sequence
from pathlib import Path
from queue import SimpleQueue

from pydantic import BaseModel, ConfigDict, Field

from lab import proc
from lab.campaign.parcel import pack
from lab.campaign.trial import failed, observe
from lab.campaign.work import Work
from lab.errors import InfraError, LabError, UserError
from lab.guest.accelerator import kvm_obstacle
from lab.guest.argv import PORT_NAME
from lab.guest.guest import Boot
from lab.guest.port import Messages, framed
from lab.guest.prepare import Bench
from lab.guest.privilege import udmabuf_obstacle
from lab.results.runfolder import write_record

PORTS = Path("/sys/class/virtio-ports")
OK, NO = b"ok", b"no"


def carry_out(bench: Bench, work: Work, boot: Boot) -> bytes:
    """Run one trial whose boot has been prepared; its folder as a parcel."""
    with tempfile.TemporaryDirectory(prefix="trial") as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "samples").mkdir()
        try:
            trial = observe(bench, work, boot, folder)
        except (InfraError, UserError) as error:  # here, because the evidence is here
            trial = failed(work, error)
        write_record(folder / "trial.json", trial)
        return pack(folder)


def command(argv: Sequence[str], seconds: float) -> bytes:
    """Run a program; status, stdout and stderr as JSON."""
    done = proc.run(argv, timeout=seconds, check=False)
    return json.dumps({"code": done.code, "stdout": done.text, "stderr": done.errors}).encode()


class About(BaseModel):
    """What the lab must know of this host before it gives it a job: what stands in the way of each, or ""."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    kvm: str = Field(max_length=1000)
    udmabuf: str = Field(max_length=1000)


def about() -> bytes:
    """The host's first word."""
    return About(kvm=kvm_obstacle(), udmabuf=udmabuf_obstacle()).model_dump_json().encode()


def answer(job: bytes) -> bytes:
    """Do the job; what it cannot do is said, and never ends the service."""
    try:
        function, arguments = pickle.loads(job)  # noqa: S301 - from the lab that booted this guest
        return OK + bytes(function(*arguments))
    except LabError as error:
        return NO + str(error).encode()
    except Exception:
        return NO + traceback.format_exc(limit=-4).encode()


def serve(port: int) -> None:
    """Answer jobs until the other end goes, and pokes, which are empty messages, while a job is done."""
    jobs: SimpleQueue[bytes | None] = SimpleQueue()
    turn = threading.Lock()

    def say(message: bytes) -> None:
        with turn:
            _write(port, framed(message))

    def listen() -> None:
        messages = Messages()
        try:
            while piece := os.read(port, 1 << 16):
                messages.feed(piece)
                while (message := messages.take()) is not None:
                    if message:
                        jobs.put(message)
                    else:
                        say(b"")
        finally:
            jobs.put(None)

    say(OK + about())
    threading.Thread(target=listen, daemon=True, name="listen").start()
    while (job := jobs.get()) is not None:
        say(answer(job))


def _write(port: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(port, left[: 1 << 16]) :]


def open_port(name: str = PORT_NAME) -> int:
    """The port of that name; udev, which makes links, does not run here."""
    for entry in PORTS.glob("*/name"):
        if entry.read_text().strip() == name:
            return os.open(f"/dev/{entry.parent.name}", os.O_RDWR | os.O_CLOEXEC)
    raise InfraError(f"this is no nested lab host: it has no port {name}", hint="`lab run --executor nested`")


if __name__ == "__main__":
    serve(open_port())
