# SPDX-License-Identifier: GPL-2.0-or-later
"""How far a kernel build is: objects done of objects expected, and the time left.

What is expected was learned from an earlier build of the same kind (lab.kernel.forecast). Pure, but for
`Memory`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError

from lab import files
from lab.results.models import Record

STEP = re.compile(rb"^  [A-Z][A-Z0-9_-]+ ")
"""One line of a quiet build: `  CC [M]  drivers/gpu/drm/ttm/ttm_bo_vm.o`."""

ENOUGH = 0.05
"""The part of a build after which its own pace tells more than that of the earlier one."""

PACE_STEPS = 20
"""Steps before which a build has no pace: its first seconds go by in reading Makefiles."""


class Learned(Record):
    """A finished build."""

    steps: int
    seconds: float


class Progress:
    """Counts the steps in a build's output as it arrives.

    `done_before` are the steps of the same build before it was interrupted.
    """

    def __init__(
        self,
        tell: Callable[[str], None],
        learned: Learned | None,
        *,
        done_before: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.steps = 0
        self._tell, self._learned, self._before, self._clock = tell, learned, done_before, clock
        self._rest = b""
        self._started = clock()
        if learned is not None:
            tell(self.text())

    @property
    def seconds(self) -> float:
        return self._clock() - self._started

    def feed(self, output: bytes) -> None:
        """Take the next piece of the output, which may end in the middle of a line."""
        *lines, self._rest = (self._rest + output).split(b"\n")
        self._rest = self._rest[-4096:]
        found = sum(1 for line in lines if STEP.match(line))
        if found:
            self.steps += found
            self._tell(self.text())

    def text(self) -> str:
        """`812 of 1710 objects, 4 min left`; without anything learned, only what is done."""
        done = self._before + self.steps
        if self._learned is None or done > self._learned.steps:
            return f"{done} objects"
        left = self._seconds_left(self._learned)
        return f"{done} of {self._learned.steps} objects, {duration(left)} left"

    def _seconds_left(self, learned: Learned) -> float:
        if self.steps >= max(ENOUGH * learned.steps, PACE_STEPS):
            return (learned.steps - self._before - self.steps) * self.seconds / self.steps
        expected = learned.seconds * (1 - self._before / learned.steps)
        return max(expected - self.seconds, 0)


def duration(seconds: float) -> str:
    """`40 s`, `4 min`."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


class Memory:
    """What the last build of a kind took: one small file for each kind."""

    def __init__(self, kind: str) -> None:
        self._path: Path = files.cache_dir("objects") / "learned" / f"{files.sha256_text(kind)[:16]}.json"

    def recall(self) -> Learned | None:
        try:
            learned = Learned.model_validate_json(self._path.read_bytes())
        except (OSError, ValidationError):
            return None
        return learned if learned.steps > 0 else None

    def keep(self, learned: Learned) -> None:
        files.write_whole(self._path, learned.model_dump_json() + "\n")
