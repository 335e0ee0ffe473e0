# SPDX-License-Identifier: GPL-2.0-or-later
"""What must be rebuilt for a set of touched files: nothing, one directory's modules, modules of several
directories, or the whole kernel.

Pure: it reads kbuild Makefiles through a callable and decides. What it cannot prove to stay inside module
directories is `WholeKernel`. One thing is taken for granted: a header that lies beside its module's sources
is included by no other directory.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

# objtool and resolve_btfids work on every object, and libbpf's relo_core.c is in the kernel. Texts are input
# of generators as well: arch/x86/lib/x86-opcode-map.txt.
BUILT_TOOLS = r"tools/(arch|bpf|build|include|lib|objtool|scripts)/"
UNBUILT = re.compile(
    rf"(Documentation|LICENSES|samples|usr/include)/|(?!{BUILT_TOOLS})tools/"
    r"|(MAINTAINERS|CREDITS|COPYING|README|\.mailmap|\.gitignore)$"
    r"|.*/(\.gitignore|README[^/]*|[^/]*\.(rst|md))$"
)
SHARED = re.compile(rf"(include|scripts|certs)/|{BUILT_TOOLS}|arch/\w+/include/|[^/]+$")
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

    def __str__(self) -> str:
        return f"module{'s' if len(self.modules) > 1 else ''} {', '.join(self.modules)}"


@dataclass(frozen=True)
class Modules:
    """All that is touched ends up in modules, which several directories make."""

    parts: tuple[OneModule, ...]

    def __str__(self) -> str:
        return f"modules {', '.join(name for part in self.parts for name in part.modules)}"


@dataclass(frozen=True)
class WholeKernel:
    """Everything has to be built, because of these paths."""

    paths: tuple[str, ...]
    reason: str

    def __str__(self) -> str:
        return f"the whole kernel ({', '.join(self.paths[:3])}: {self.reason})"


Plan = Nothing | OneModule | Modules | WholeKernel


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
        return WholeKernel(shared, "these are shared headers or parts of the build system")
    by_directory: dict[str, list[str]] = {}
    for path in relevant:
        by_directory.setdefault(str(PurePosixPath(path).parent), []).append(path)
    parts: list[OneModule] = []
    for directory, paths in sorted(by_directory.items()):
        text = read_makefile(directory)
        if text is None:
            return WholeKernel(
                tuple(paths), f"{directory} has no Makefile that says which module they belong to"
            )
        part = _within(directory, paths, parse_makefile(text, config))
        if isinstance(part, WholeKernel):
            return part
        if isinstance(part, OneModule):
            parts.append(part)
    if not parts:
        return Nothing("this configuration builds none of the files that are touched")
    return parts[0] if len(parts) == 1 else Modules(tuple(parts))


def _within(directory: str, paths: Sequence[str], made: Directory) -> OneModule | WholeKernel | None:
    """What one directory makes of its touched files; None if it makes nothing of them."""
    modules: set[str] = set()
    for path in paths:
        name = PurePosixPath(path).name
        stem, _, kind = name.rpartition(".")
        if kind in ("c", "S"):
            users = {module for module, objects in made.modules.items() if stem in objects}
            if stem in made.built_in:
                return WholeKernel((path,), "it is built into the kernel image, not into a module")
            # A file that is new may be named by the series' own change of the Makefile.
            if not users and stem not in made.unbuilt and f"{directory}/Makefile" not in paths:
                return WholeKernel((path,), "its Makefile does not say plainly what is made from it")
            modules |= users
        elif kind == "h" or name in ("Makefile", "Kbuild"):
            if made.built_in or made.subdirectories:
                return WholeKernel((path,), f"{directory} also makes other things than modules")
            # Another directory's Makefile may name what lies here; this one may be changed to make something.
            if not made.modules and (kind != "h" or not made.unbuilt):
                return WholeKernel((path,), f"{directory} makes no module by its own Makefile as it was")
            modules |= made.modules.keys()
        else:
            return WholeKernel((path,), "the lab does not know what is made from this kind of file")
    if not modules:
        return None
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
