# SPDX-License-Identifier: GPL-2.0-or-later
"""What an option of the kernel depends on: read from its Kconfig file, to explain why it did not survive.

Coarse on purpose: the option's own `depends on`, and every `if` and `menu` around it and around the `source`
lines that lead to its file. What an option inherits from a symbol that it selects is not looked at.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

NOT_AN_OPTION = frozenset({"y", "n", "m", "if"})
MAX_FILE = 4 << 20
MAX_DEPTH = 8
"""Files that may include one another: deeper than any kernel's, and an end where they do so in a ring."""
BLOCK_ENDS = frozenset(
    (
        *("config", "menuconfig", "menu", "endmenu", "if", "endif", "choice", "endchoice"),
        *("source", "comment", "mainmenu", "endfile"),
    )
)


@dataclass(frozen=True)
class Entry:
    """One `config` block, or a line `source FILE`."""

    symbol: str
    path: str  # below the tree
    line: int
    prompt: bool  # can it be chosen at all?
    depends: tuple[str, ...]  # expressions, all of which must hold


@dataclass(frozen=True)
class KconfigFiles:
    """The Kconfig files of a tree that matter for x86."""

    tree: Path

    def find(self, symbol: str) -> tuple[Entry, ...]:
        """Where an option (without CONFIG_) is defined; () if the tree does not have it."""
        wanted = re.compile(rf"(?m)^\s*(?:menu)?config\s+{re.escape(symbol)}\s*$")
        found = []
        for path, text in self._texts.items():
            if wanted.search(text):
                around = self._around(path, MAX_DEPTH)
                found += [
                    replace(entry, depends=(*around, *entry.depends))
                    for entry in _entries(path, text)
                    if entry.symbol == symbol
                ]
        return tuple(found)

    def _around(self, path: str, depth: int) -> tuple[str, ...]:
        """Conditions of the `source` lines by which a file is reached."""
        for parent, text in self._texts.items():
            if depth and (
                f'"{path}"' in text or f'"{path.replace("arch/x86/", "arch/$(SRCARCH)/")}"' in text
            ):
                lines = (entry for entry in _entries(parent, text) if entry.symbol == f"source {path}")
                conditions = next((entry.depends for entry in lines), ())
                return tuple(dict.fromkeys((*self._around(parent, depth - 1), *conditions)))
        return ()

    @cached_property
    def _texts(self) -> Mapping[str, str]:
        found = {}
        for path in sorted(_walk(self.tree)):
            if path.stat().st_size <= MAX_FILE:
                found[str(path.relative_to(self.tree))] = path.read_text(errors="replace")
        return found


def _walk(tree: Path) -> Iterator[Path]:
    for folder, below, names in os.walk(tree):
        if Path(folder) == tree / "arch":
            below[:] = [name for name in below if name == "x86"]
        elif Path(folder) == tree:
            below[:] = [name for name in below if name not in ("Documentation", "tools", ".git")]
        for name in names:
            path = Path(folder, name)
            if name.startswith("Kconfig") and path.is_file() and not path.is_symlink():
                yield path


def _entries(path: str, text: str) -> Iterator[Entry]:
    """Walk one file line by line, with the conditions that surround each line."""
    around: list[tuple[str, list[str]]] = []  # ("if" or "menu", its conditions)
    symbol, line, prompt, depends = "", 0, False, list[str]()
    for number, words in [*_logical_lines(text), (0, "endfile")]:
        head, _, rest = words.partition(" ")
        outer = tuple(condition for _, conditions in around for condition in conditions)
        if head in BLOCK_ENDS and symbol:
            yield Entry(symbol, path, line, prompt, (*outer, *depends))
            symbol = ""
        if head in ("config", "menuconfig"):
            symbol, line, prompt, depends = rest.strip(), number, False, []
        elif head == "source":
            target = rest.strip('"').replace("$(SRCARCH)", "x86")
            yield Entry(f"source {target}", path, number, False, outer)
        elif head in ("if", "menu", "choice"):
            around.append((head, [rest] if head == "if" else []))
        elif head in ("endif", "endmenu", "endchoice"):
            while around and around.pop()[0] != head.removeprefix("end"):
                pass
        elif words.startswith("depends on "):
            (depends if symbol else around[-1][1] if around else []).append(words.removeprefix("depends on "))
        elif head in ("bool", "tristate", "int", "hex", "string", "prompt") and rest:
            prompt = True


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Number and words of each line outside help texts; continued lines joined, comments removed."""
    help_indent: int | None = None
    pending, begun = "", 0
    for number, raw in enumerate(text.expandtabs(8).splitlines(), 1):
        if not raw.strip():
            continue
        indent = len(raw) - len(raw.lstrip())
        if help_indent is not None:
            if help_indent < 0:
                help_indent = indent  # the first line of the text sets its indentation
            if indent >= help_indent > 0:
                continue
            help_indent = None
        words = " ".join(raw.split())
        if words in ("help", "---help---"):
            help_indent = -1
            continue
        if words.startswith("#") and not pending:
            continue
        begun = begun or number
        pending += words.removesuffix("\\").strip() + " "
        if not words.endswith("\\"):
            yield begun, pending.strip().partition(" # ")[0]
            pending, begun = "", 0


def explain(symbol: str, files: KconfigFiles, config: Mapping[str, str]) -> str:
    """Why an option (without CONFIG_) could not be had: what it depends on, with the values it has."""
    entries = files.find(symbol)
    if not entries:
        return "this version has no such option"
    entry = next((entry for entry in entries if entry.prompt), entries[0])
    where = f"{entry.path}:{entry.line}"
    if not entry.prompt:
        return f"it cannot be chosen, only other options turn it on ({where})"
    conditions = " && ".join(f"({c})" if "||" in c else c for c in dict.fromkeys(entry.depends))
    if not conditions:
        return f"another option decides it ({where})"
    names = dict.fromkeys(re.findall(r"\b[A-Z0-9_a-z]+\b", re.sub(r'"[^"]*"', "", conditions)))
    values = [f"{name}={config.get(f'CONFIG_{name}', 'n')}" for name in names if name not in NOT_AN_OPTION]
    return f"it depends on {conditions} ({', '.join(values)}; {where})"
