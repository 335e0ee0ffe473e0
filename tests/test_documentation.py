# SPDX-License-Identifier: GPL-2.0-or-later
"""What the pages say that can be checked: links lead somewhere, commands and options exist."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from lab.cli.main import COMMANDS
from lab.cli.main import lab as command_line

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("testcases/*/README.md")])
LINE = re.compile(r"(?:^|`|bin/|\$)lab ((?:[a-z]+|--)(?: [^`\n]*)?)", re.MULTILINE)


@pytest.fixture(params=PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def page(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link of a page names a file of the project."""
    targets = re.findall(r"\]\(([^)#\s]+)\)", page.read_text())
    dead = [t for t in targets if "://" not in t and not (page.parent / t).exists()]
    assert dead == []


def test_commands_exist(page: Path) -> None:
    """Every `lab COMMAND --option` that a page shows can be typed."""
    assert [wrong for line in LINE.findall(page.read_text()) if (wrong := problem(line))] == []


def problem(line: str) -> str:
    """What is wrong with the words behind `lab`; "" if nothing."""
    words = re.split(r"\s{2,}|\s--\s", line)[
        0
    ].split()  # behind two spaces stands a remark, behind -- a command
    name = words[0]
    if name not in COMMANDS:
        return f"no command: lab {line}"
    command = command_line.get_command(click.Context(command_line), name)
    assert command is not None
    known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    unknown = [word for word in words if word.startswith("--") and word not in known]
    return f"lab {name} has no {unknown[0]}" if unknown and not isinstance(command, click.Group) else ""


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("validate x.mbox --base debian:6.12", ""),
        ("run smoke/boot --kernel K    one case --not-an-option", ""),
        ("run -- uname --all", ""),
        ("judge x", "no command"),
        ("run --kernle K", "has no --kernle"),
    ],
)
def test_the_check_itself(line: str, wrong: str) -> None:
    """A command or an option that does not exist is found, and a remark is not taken for one."""
    assert wrong in problem(line)
    assert bool(wrong) == bool(problem(line))
