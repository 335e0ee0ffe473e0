# SPDX-License-Identifier: GPL-2.0-or-later
"""What must be rebuilt for a set of touched files: nothing, one directory's modules, or the whole kernel.

Pure: it reads kbuild Makefiles through a callable and decides. What it cannot prove to
stay inside one module directory is `Beyond`. One thing is taken for granted: a header that lies beside its
module's sources is included by no other directory.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

UNBUILT = re.compile(
    r"(Documentation|LICENSES|samples|tools|usr/include)/|(MAINTAINERS|CREDITS|COPYING|README|\.mailmap|\.gitignore)$"
    r"|.*/(\.gitignore|README[^/]*|[^/]*\.(rst|txt|md))$"
)
SHARED = re.compile(r"(include|scripts|certs)/|arch/\w+/include/|[^/]+$")
ReadMakefile = Callable[[str], str | None]
"""Text of the Makefile (or Kbuild) of a directory, or None if there is none."""


@dataclass(frozen=True)
class Nothing:
    """No file is touched that this kernel is built from."""

    reason: str


@dataclass(frozen=True)
class OneModule:
    """All that is touched ends up in these modules, which one directory makes."""

    directory: str
    modules: tuple[str, ...]  # names without .ko, as the Makefile writes them


@dataclass(frozen=True)
class Beyond:
    """The whole kernel would have to be built, because of these paths."""

    paths: tuple[str, ...]
    reason: str


Plan = Nothing | OneModule | Beyond


@dataclass(frozen=True)
class Directory:
    """What kbuild makes in one directory under one configuration."""

    modules: Mapping[str, frozenset[str]]  # module -> object names without .o
    built_in: frozenset[str]  # objects that go into vmlinux
    unbuilt: frozenset[str]  # objects that this configuration leaves out
    subdirectories: frozenset[str]


def plan(touched: Sequence[str], read_makefile: ReadMakefile, config: Mapping[str, str]) -> Plan:
    """Decide what must be rebuilt when `touched` change; `config` maps CONFIG_ names to y, m, ..."""
    relevant = [path for path in touched if not UNBUILT.match(path)]
    if not relevant:
        return Nothing("only documentation, tools and samples are touched")
    if shared := tuple(path for path in relevant if SHARED.match(path)):
        return Beyond(shared, "these are shared headers or parts of the build system")
    directories = {str(PurePosixPath(path).parent) for path in relevant}
    if len(directories) > 1:
        return Beyond(tuple(relevant), f"they lie in {len(directories)} directories")
    directory = directories.pop()
    text = read_makefile(directory)
    if text is None:
        return Beyond(tuple(relevant), f"{directory} has no Makefile that says which module they belong to")
    return _within(directory, relevant, parse_makefile(text, config))


def _within(directory: str, paths: Sequence[str], made: Directory) -> Plan:
    modules: set[str] = set()
    for path in paths:
        name = PurePosixPath(path).name
        stem, _, kind = name.rpartition(".")
        if kind in ("c", "S"):
            users = {module for module, objects in made.modules.items() if stem in objects}
            if stem in made.built_in:
                return Beyond((path,), "it is built into the kernel image, not into a module")
            # A file that is new may be named by the series' own change of the Makefile.
            if not users and stem not in made.unbuilt and f"{directory}/Makefile" not in paths:
                return Beyond((path,), "its Makefile does not say plainly what is made from it")
            modules |= users
        elif kind == "h" or name in ("Makefile", "Kbuild"):
            if made.built_in or made.subdirectories:
                return Beyond((path,), f"{directory} also makes other things than modules")
            modules |= made.modules.keys()
        else:
            return Beyond((path,), "the lab does not know what is made from this kind of file")
    if not modules:
        return Nothing("this configuration builds none of the files that are touched")
    return OneModule(directory, tuple(sorted(modules)))


def parse_makefile(text: str, config: Mapping[str, str]) -> Directory:
    """Evaluate the obj-*, NAME-y and NAME-objs lists of a kbuild Makefile.

    Conditionals are taken as true and make functions contribute nothing; a file that only those would name
    is in none of the sets, which `plan` takes as "cannot tell".
    """
    lists: dict[str, list[str]] = {}
    for line in text.replace("\\\n", " ").splitlines():
        match = re.match(r"\s*([\w$().-]+)\s*(?::|\+)?=\s*(.*)$", line.partition("#")[0])
        if match:
            key = re.sub(r"\$\((CONFIG_\w+)\)", lambda m: config.get(m[1], "n"), match[1])
            lists.setdefault(key, []).extend(match[2].split())
    modules = {
        item.removesuffix(".o"): _objects(item.removesuffix(".o"), lists)
        for item in lists.get("obj-m", [])
        if item.endswith(".o")
    }
    built = [
        item.removesuffix(".o") for item in _expanded(lists.get("obj-y", []), lists) if item.endswith(".o")
    ]
    built_in = frozenset().union(*[_objects(name, lists) for name in built])
    left_out = [item.removesuffix(".o") for item in lists.get("obj-n", []) if item.endswith(".o")]
    unbuilt = frozenset().union(*[_objects(name, lists) for name in left_out])
    below = [item for key in ("obj-y", "obj-m") for item in lists.get(key, []) if item.endswith("/")]
    return Directory(modules, built_in, unbuilt - built_in, frozenset(below))


def _expanded(items: Sequence[str], lists: Mapping[str, list[str]]) -> list[str]:
    """A list with its plain $(references) to other lists replaced by what those hold."""
    found: list[str] = []
    for item in items:
        match = re.fullmatch(r"\$\(([\w-]+)\)", item)
        found += lists.get(match[1], []) if match else [item]
    return found


def _objects(name: str, lists: Mapping[str, list[str]]) -> frozenset[str]:
    """Objects of a composite, or the one of the same name."""
    parts = [
        item for suffix in ("y", "m", "objs") for item in _expanded(lists.get(f"{name}-{suffix}", []), lists)
    ]
    objects = {item.removesuffix(".o") for item in parts if item.endswith(".o")}
    return frozenset(objects or {name})


def parse_config(text: str) -> dict[str, str]:
    """CONFIG_ names and values of a kernel configuration."""
    return dict(re.findall(r"(?m)^(CONFIG_\w+)=(.*)$", text))
