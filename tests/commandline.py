# SPDX-License-Identifier: GPL-2.0-or-later
"""The `lab` command inside this process: quick, for all that boots no guest."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab.cli.main import run_command_line


@dataclass(frozen=True)
class Said:
    """What a command left behind."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """All of stdout as one JSON value."""
        return json.loads(self.stdout)

    def check_refusal(self, code: int, *words: str) -> None:
        """A clear message and nothing else: no traceback, nothing on stdout, these words on stderr."""
        assert self.code == code, self.stderr
        assert self.stdout == ""
        assert "Traceback" not in self.stderr
        for word in words:
            assert word in self.stderr


class CommandLine:
    """Calls `lab WORDS`, and keeps stdout and stderr apart as two terminals would."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capfd = monkeypatch, capfd

    def __call__(self, *words: str | Path) -> Said:
        self._monkeypatch.setattr(sys, "argv", ["lab", *map(str, words)])
        self._capfd.readouterr()
        code = run_command_line()
        said = self._capfd.readouterr()
        return Said(code, said.out, said.err)
