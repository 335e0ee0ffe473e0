# SPDX-License-Identifier: GPL-2.0-or-later
"""The house of docs/architecture.md, read from the sources: who may import whom, how large things may be."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LAB = ROOT / "lab"

FLOORS = (
    {"cli", "pytest_plugin", "__main__"},
    {"workflow"},
    {"cluster"},
    {"campaign"},
    {"site"},
    {"history"},
    {"compare", "report", "bisect"},
    {"guest"},
    {"workload", "instrument"},
    {"kernel", "image"},
    {"spec", "results"},
    {"errors", "waiting", "log", "proc", "files", "host", "__init__"},
)
"""From the top; each floor imports only from the floors below it."""

JUDGES = {"compare", "report", "bisect", "history"}
MAY_JUDGES_IMPORT = {"results", "errors", "waiting", "log", "files"} | JUDGES
"""Judging needs a run folder only: no guest, no kernel, no other program."""

SAME_FLOOR = {
    ("cli", "pytest_plugin"): "the plugin is another way to type the same commands",
    ("pytest_plugin", "cli"): "the plugin is another way to type the same commands",
    ("__main__", "cli"): "`python -m lab` is the command",
    ("report", "compare"): "a report says in words what was compared",
    (
        "image",
        "kernel",
    ): "an initramfs packs a kernel's modules, and programs from packages as kernels come in",
}
BASE_ORDER = ("__init__", "errors", "waiting", "log", "files", "proc", "host")
"""Within the ground floor, each imports only what stands before it."""

MAX_MODULE = 300
MAX_FUNCTION = 50


def modules() -> list[Path]:
    return sorted(LAB.rglob("*.py"))


def part_of(path: Path, lab: Path = LAB) -> str:
    """`guest` for lab/guest/qemu.py, `errors` for lab/errors.py."""
    return path.relative_to(lab).parts[0].removesuffix(".py")


def imported(source: str) -> Iterator[tuple[int, str]]:
    """Line and dotted name of every import, also those inside functions; `from lab import x` is lab.x."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import"
            if node.module == "lab":
                yield from ((node.lineno, f"lab.{alias.name}") for alias in node.names)
            else:
                yield node.lineno, node.module or ""


def floor(part: str) -> int:
    return next(index for index, parts in enumerate(FLOORS) if part in parts)


def forbidden(part: str, other: str) -> str:
    """Why `part` may not import `other`; "" if it may."""
    if part == other:
        return ""
    if floor(other) < floor(part):
        return f"{other} stands above {part}"
    if floor(other) == len(FLOORS) - 1 == floor(part):
        return "" if BASE_ORDER.index(other) < BASE_ORDER.index(part) else f"{other} stands beside {part}"
    if floor(other) == floor(part) and (part, other) not in SAME_FLOOR:
        return f"{other} stands beside {part}"
    if part in JUDGES and other not in MAY_JUDGES_IMPORT:
        return f"{part} judges from results alone"
    return ""


def test_every_part_has_a_floor():
    """A new package must be given its place."""
    assert {part_of(path) for path in modules()} <= set().union(*FLOORS)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down(path):
    """No module imports from above or from beside."""
    wrong = []
    for line, name in imported(path.read_text()):
        if name == "lab" or not name.startswith("lab."):
            continue
        other = name.split(".")[1]
        other = "__init__" if other == "__version__" else other
        if reason := forbidden(part_of(path), other):
            wrong.append(f"{path.relative_to(ROOT)}:{line}: imports {name}: {reason}")
    assert wrong == []


def test_no_two_modules_import_each_other():
    """Inside a package, too, imports form no circle."""
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in modules()}
    graph = {
        name: {found for _, found in imported(path.read_text()) if found in names and found != name}
        for name, path in names.items()
    }
    while leaves := [name for name, needs in graph.items() if not needs & graph.keys()]:
        for name in leaves:
            del graph[name]
    assert graph == {}


def test_only_proc_starts_programs():
    """Every child is bound to the lab's life by lab.proc."""
    users = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in modules()
        for line, name in imported(path.read_text())
        if name.split(".")[0] in ("subprocess", "multiprocessing", "pty") and path.name != "proc.py"
    ]
    # A guest handle holds the Popen that lab.proc gave it; naming its type starts nothing.
    assert [user for user in users if not _only_for_types(user)] == []


def _only_for_types(user: str) -> bool:
    name, _, line = user.rpartition(":")
    tree = ast.parse((ROOT / name).read_text())
    return any(
        isinstance(node, ast.If)
        and "TYPE_CHECKING" in ast.unparse(node.test)
        and node.lineno < int(line) <= (node.end_lineno or 0)
        for node in ast.walk(tree)
    )


def test_only_the_command_line_exits():
    """What goes wrong below is an exception that can be caught."""
    exits = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in modules()
        if part_of(path) not in FLOORS[0]
        for node in ast.walk(ast.parse(path.read_text()))
        if ast.unparse(node) in ("sys.exit", "os._exit", "SystemExit")
        and isinstance(node, ast.Attribute | ast.Name)
    ]
    assert exits == []


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_sizes(path):
    """A module fits into one reading, a function on one screen."""
    source = path.read_text()
    assert source.count("\n") <= MAX_MODULE
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno + 1 <= MAX_FUNCTION, node.name


def sources() -> list[Path]:
    kinds = {".py", ".c", ".h", ".sh", ".yaml", ".config"}
    folders = [ROOT / name for name in ("lab", "tests", "images", "testcases", "kconfigs", "bench", "ci")]
    return [path for folder in folders for path in sorted(folder.rglob("*")) if path.suffix in kinds]


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_licence_is_named(path):
    """The first lines of every source say under which licence it is."""
    head = "\n".join(path.read_text().splitlines()[:3])
    assert (
        "SPDX-License-Identifier: GPL-2.0-or-later" in head or "SPDX-License-Identifier: GPL-2.0-only" in head
    )


@pytest.mark.parametrize(
    ("part", "other", "allowed"),
    [
        ("cli", "workflow", True),
        ("workflow", "cli", False),
        ("guest", "campaign", False),
        ("guest", "workload", True),
        ("workload", "instrument", False),
        ("compare", "results", True),
        ("compare", "guest", False),
        ("report", "kernel", False),
        ("compare", "report", False),
        ("proc", "waiting", True),
        ("waiting", "proc", False),
        ("errors", "spec", False),
        ("pytest_plugin", "cli", True),
        ("kernel", "image", False),
    ],
)
def test_the_rule_itself(part, other, allowed):
    """The rule refuses what it is there to refuse."""
    assert (forbidden(part, other) == "") is allowed


def test_hidden_imports_are_seen():
    """An import inside a function, or by `from lab import`, counts."""
    source = (
        "def f():\n    from lab import cli\n    import lab.guest.qemu\nfrom lab.spec.models import Case\n"
    )
    assert sorted(imported(source)) == [(2, "lab.cli"), (3, "lab.guest.qemu"), (4, "lab.spec.models")]
