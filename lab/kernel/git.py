# SPDX-License-Identifier: GPL-2.0-or-later
"""How git is called: asked about what is the user's, with his configuration, or on its own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from lab import proc

ASK_SECONDS = 120

# Questions must neither refresh the user's index nor start what his configuration names.
QUIET = (
    *("-c", "core.fsmonitor=false", "-c", "core.untrackedCache=false", "-c", "core.hooksPath=/dev/null"),
    *("-c", "gc.auto=0", "-c", "maintenance.auto=false"),
)
ASKING = {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"}
ALONE = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null", "HOME": "/nonexistent"}
"""Environment (of `proc.run`, with nothing else) in which nobody's configuration counts."""


def program() -> str:
    """The path of git, or InfraError naming its package."""
    return proc.needed("git", package="git", why="kernel trees are read and patches applied with it")


def ask(path: Path, *arguments: str) -> str | None:
    """What git says about the user's repository at `path`, which it must not change; None if it fails."""
    done = asked(path, arguments)
    return done.text if done.code == 0 else None


def asked(path: Path, arguments: Sequence[str], stdout_to: Path | None = None) -> proc.Finished:
    """The same, with how it ended; what it says goes to a file if it may be much."""
    argv = [program(), *QUIET, "-C", str(path), *arguments]
    environment = {**inherited(), **ASKING}
    return proc.run(argv, timeout=ASK_SECONDS, check=False, env=environment, stdout_to=stdout_to)


def inherited() -> dict[str, str]:
    """The environment without what a git hook or a script may have set for its own repository."""
    return {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
