# SPDX-License-Identifier: GPL-2.0-or-later
"""The shipped workload, built and run on this machine: its BO kind memfd needs no GPU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lab import proc
from lab.results.models import Check, Clock
from lab.workload.ktap import Parsed, parse

TESTCASES = Path(__file__).parents[2] / "testcases"
FLAGS = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror"]


@dataclass(frozen=True)
class Report:
    """One run of the workload."""

    status: int
    stderr: str
    text: str
    parsed: Parsed
    samples: dict[str, list[str]] = field(default_factory=dict)

    @property
    def checks(self) -> dict[str, Check]:
        return {check.name: check for check in self.parsed.checks}

    @property
    def metrics(self) -> dict[str, int]:
        return {one.metric: int(one.value) for one in self.parsed.measurements}

    @property
    def failed(self) -> set[str]:
        return {check.name for check in self.parsed.checks if check.result == "not ok"}


BoTouch = Callable[..., Report]


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """bo_touch, compiled once, with warnings as errors."""
    path = tmp_path_factory.mktemp("workload") / "bo_touch"
    source, include = TESTCASES / "prefault" / "bo_touch.c", TESTCASES / "include"
    proc.run(["gcc", *FLAGS, "-I", str(include), "-o", str(path), str(source)], timeout=60)
    return path


@pytest.fixture
def bo_touch(program: Path, tmp_path: Path) -> BoTouch:
    """Runs bo_touch with the given arguments; small BOs of plain memory unless they say otherwise."""

    def run(*args: str, clock: str = "functional", more: dict[str, str] | None = None) -> Report:
        out = tmp_path / "out"
        out.mkdir(exist_ok=True)
        for old in out.iterdir():
            old.unlink()
        argv = [str(program), "--bo", "memfd", "--size", "1M", *args]
        env = {"LAB_OUT": str(out), "LAB_CLOCK": clock, **(more or {})}
        done = proc.run(argv, timeout=30, check=False, env=env)
        samples = {path.name: path.read_text().splitlines() for path in out.iterdir()}
        return Report(done.code, done.errors, done.text, parse(done.text, Clock(clock)), samples)

    return run
