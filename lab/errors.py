# SPDX-License-Identifier: GPL-2.0-or-later
"""Every failure the lab can name, by whose turn it is to act.

    LabError
    +-- UserError         what was asked cannot be done as asked        exit 2
    |   +-- SpecError     a YAML file is wrong; carries every problem   exit 2
    +-- SeriesError       the series does not apply or does not build   exit 1
    +-- InfraError        the host, the mirror or the lab itself        exit 125
    +-- Interrupted       ^C or SIGTERM                                 exit 130

A message says what happened and to what; `hint` says what to do next.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class LabError(Exception):
    """A failure with a sentence for the user and the exit code that `lab` ends with."""

    exit_code = 125

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  -> {self.hint}" if self.hint else self.message


class UserError(LabError):
    """What was asked cannot be done as asked."""

    exit_code = 2


class SpecError(UserError):
    """One or more problems in YAML files, each as `file:line:column: text`."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class SeriesError(LabError):
    """The series is at fault: it does not apply to the base, or does not build on it.

    `stage` is "apply" or "build"; `evidence` holds the tool's own words.
    """

    exit_code = 1

    def __init__(self, message: str, *, stage: str, evidence: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.stage = stage
        self.evidence = evidence


class InfraError(LabError):
    """The host, the mirror or the lab itself failed; says nothing about a kernel."""


class Interrupted(LabError):
    """The user asked the lab to stop."""

    exit_code = 130

    def __init__(self, message: str = "interrupted") -> None:
        super().__init__(message)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A sentence with the nearest known names, or with all of them when none is near."""
    names = sorted(known)
    near = difflib.get_close_matches(word, names, n=3, cutoff=0.5)
    if near:
        return "did you mean " + " or ".join(near) + "?"
    return "known: " + ", ".join(names) if names else "none is known"
