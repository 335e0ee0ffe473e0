# SPDX-License-Identifier: GPL-2.0-or-later
"""A real scheduler and real workers on loopback, each a process of its own, and work for them."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stand_ins import kernel

from lab import proc
from lab.campaign.work import Work
from lab.guest.accelerator import Choice
from lab.results.models import Clock, PlannedTrial
from lab.spec.models import Case, Machine

SECONDS = 60.0
"""Until a service must have said that it is there, on a busy machine."""


@dataclass(frozen=True)
class Service:
    """One that has said that it is there."""

    found: str  # its address
    process: proc.Child
    log: Path


@contextlib.contextmanager
def running(folder: Path, *words: str, says: str) -> Iterator[Service]:
    """`lab WORDS` until the end of the block."""
    folder.mkdir()
    log = folder / "stderr"
    with log.open("wb") as errors:
        env = {**os.environ, "LAB_CACHE": str(folder / "cache"), "LAB_STATE": str(folder / "state")}
        child = proc.spawn([sys.executable, "-m", "lab", *words], stderr=errors, env=env)
    try:
        yield Service(until(log, says, child), child, log)
    finally:
        proc.kill_group(child, patience=5.0)


def until(log: Path, says: str, child: proc.Child) -> str:
    end = time.monotonic() + SECONDS
    while not (found := re.search(says, log.read_text())):
        assert child.poll() is None, log.read_text()
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.02)
    return found[1]


@contextlib.contextmanager
def scheduler(folder: Path, *words: str) -> Iterator[str]:
    """Its address."""
    says = r"scheduler: (\S+://\S+)\n"
    with running(folder, "scheduler", "--host", "127.0.0.1", "--port", "0", *words, says=says) as service:
        yield service.found


@contextlib.contextmanager
def worker(folder: Path, address: str, name: str, tags: str, *words: str) -> Iterator[Service]:
    tags = f"kvm=0,udmabuf=0,{tags}"
    typed = ("worker", "--scheduler", address, "--name", name, "--resources", tags, *words)
    with running(folder, *typed, says=rf"worker {name}: (\S+), ") as service:
        yield service


def work(clock: Clock = Clock.VIRTUAL, memory: str = "512M", accelerator: str = "tcg") -> Work:
    case = Case.model_validate({"title": "t", "question": "q", "machines": ("m",)}, strict=False)
    planned = PlannedTrial(number=1, key="0001-case", case="a/b", role="k", machine="m", clock=clock)
    machine = Machine(title="m", memory=memory)
    return Work(planned, case, machine, kernel(), Choice(accelerator, ""), None)  # type: ignore[arg-type]
