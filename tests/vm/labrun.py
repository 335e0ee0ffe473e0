# SPDX-License-Identifier: GPL-2.0-or-later
"""The `lab` command in a process of its own, and what it left in its run folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab import proc
from lab.results.models import RunRecord, Trial, Verdict
from lab.results.runfolder import RunFolder

SECONDS = 600.0
"""The longest that one `lab` may take; far beyond what a busy machine needs."""


@dataclass(frozen=True)
class Ran:
    """A `lab` command that ended."""

    code: int
    stdout: str
    stderr: str
    state: Path  # its LAB_STATE

    @property
    def run(self) -> RunFolder:
        """The run that it made."""
        return RunFolder((self.state / "runs" / "latest").resolve())

    @property
    def record(self) -> RunRecord:
        return self.run.read()

    @property
    def verdict(self) -> Verdict:
        """What the run folder says; the test fails if it says nothing."""
        verdict = self.record.verdict
        assert verdict is not None, self.stderr
        return verdict

    @property
    def trials(self) -> list[Trial]:
        return self.run.trials()

    @property
    def trial(self) -> Trial:
        """The only trial."""
        (only,) = self.trials
        return only

    @property
    def by_case(self) -> dict[str, Trial]:
        """The trials by what their case is called within its topic."""
        return {trial.case.partition("/")[2]: trial for trial in self.trials}

    def file(self, trial: Trial, name: str) -> Path:
        """A file of a trial's evidence."""
        return self.run.trial_path(trial.key) / name


def metrics(trial: Trial) -> dict[str, float]:
    """The value of each metric by its name."""
    return {one.metric: one.value for one in trial.measurements}


def failed_checks(trial: Trial) -> set[str]:
    """The names of the checks that are `not ok`."""
    return {check.name for check in trial.checks if check.result == "not ok"}


Lab = Callable[..., Ran]


def run_lab(
    *words: str | Path,
    state: Path,
    seconds: float = SECONDS,
    folder: Path | None = None,
    program: tuple[str, ...] = ("-m", "lab"),
) -> Ran:
    """Run `lab WORDS` to its end in a process of its own, in `folder`."""
    argv = [sys.executable, *program, *map(str, words)]
    done = proc.run(
        argv, timeout=seconds, check=False, cwd=folder, env={**os.environ, "LAB_STATE": str(state)}
    )
    return Ran(done.code, done.text, done.errors, state)


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The LAB_STATE of this test, also for what it calls in this process."""
    folder = tmp_path / "state"
    monkeypatch.setenv("LAB_STATE", str(folder))
    return folder


@pytest.fixture
def two_processors() -> Iterator[None]:
    """Two guests at most at a time, however many this host has room for."""
    usable = os.sched_getaffinity(0)
    os.sched_setaffinity(0, set(sorted(usable)[:2]))
    yield
    os.sched_setaffinity(0, usable)


@pytest.fixture
def lab(state: Path) -> Lab:
    """Runs `lab WORDS` with this test's state folder."""

    def run(*words: str | Path) -> Ran:
        return run_lab(*words, state=state)

    return run
