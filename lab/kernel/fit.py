# SPDX-License-Identifier: GPL-2.0-or-later
"""Does a rebuilt module fit into the kernel it is meant for? vermagic and symbol versions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lab import proc
from lab.errors import InfraError, UserError
from lab.kernel.kernel import Kernel, module_name

Versions = Mapping[str, int]
"""Symbol name -> CRC over its type, as CONFIG_MODVERSIONS computes it."""


@dataclass(frozen=True)
class Export:
    """One line of Module.symvers."""

    crc: int
    module: str  # path of the module without .ko; "vmlinux" for the image


def read_symvers(path: Path) -> dict[str, Export]:
    """Exported symbols by name."""
    rows = (line.split("\t") for line in path.read_text().splitlines())
    return {row[1]: Export(int(row[0], 16), row[2]) for row in rows if len(row) >= 4}


def parse_modversions(text: str) -> dict[str, int]:
    """Imported symbols and their CRCs from `modprobe --dump-modversions`."""
    return {name: int(crc, 16) for crc, name in re.findall(r"(?m)^(0x[0-9a-f]+)\s+(\S+)$", text)}


def parse_undefined(text: str) -> dict[str, int]:
    """Imported symbols from `nm --undefined-only`, for kernels without CONFIG_MODVERSIONS: every CRC is 0."""
    return dict.fromkeys(re.findall(r"(?m)^ +U (\S+)$", text), 0)


def imports_command(module: str, *, versions: bool) -> list[str]:
    """What prints the imports of a module, for `parse_modversions` or else `parse_undefined`."""
    return ["modprobe", "--dump-modversions", module] if versions else ["nm", "--undefined-only", module]


def vermagic(module: Path) -> str:
    """What the module was built for; "" if it does not say."""
    match = re.search(rb"(?:^|\0)vermagic=([^\0]*)\0", module.read_bytes())
    return match[1].decode(errors="replace").strip() if match else ""


def misfitting_imports(imports: Versions, known: Mapping[str, Export]) -> list[str]:
    """Imported symbols that the kernel lacks or has in another version, sorted."""
    return sorted(name for name, crc in imports.items() if name not in known or known[name].crc != crc)


def changed_exports(owner: str, built: Mapping[str, Export], stock: Mapping[str, Export]) -> frozenset[str]:
    """Symbols that module `owner` (a path as in Module.symvers) exports in `stock` and not so in `built`."""
    return frozenset(
        name
        for name, export in stock.items()
        if export.module == owner and (name not in built or built[name].crc != export.crc)
    )


def users(changed: frozenset[str], imports: Iterable[tuple[str, Versions]]) -> dict[str, list[str]]:
    """Changed symbol -> modules that import it."""
    found: dict[str, list[str]] = {}
    for module, versions in imports:
        for name in sorted(changed & versions.keys()):
            found.setdefault(name, []).append(module)
    return found


def check_fit(base: Kernel, built: Path, *, exports: Path, known: Path, imports: Versions) -> None:
    """Raise unless a rebuilt module can take the place of the stock one beside all other stock modules.

    `exports` is the Module.symvers of the build, `known` that of the headers, `imports` what `built` asks
    for. InfraError: the build went wrong. UserError: the series changes an interface between modules.
    """
    name = module_name(built.name)
    stock = base.stock_module(name)
    if vermagic(built) != vermagic(stock):
        raise InfraError(
            f"{built.name} was built for [{vermagic(built)}], the stock module for [{vermagic(stock)}]",
            hint="headers and image are not of one version; please report this as a bug of the lab",
        )
    theirs, ours = read_symvers(known), read_symvers(exports)
    wrong = misfitting_imports({n: crc for n, crc in imports.items() if n not in ours}, theirs)
    if wrong:
        raise InfraError(
            f"{built.name} asks for other versions of {', '.join(wrong[:5])} than the kernel has"
        )
    _check_new_needs(base, name, {theirs[n].module for n in imports if n not in ours})
    _check_exports(base, name, ours, theirs)


def _check_new_needs(base: Kernel, name: str, owners: set[str]) -> None:
    """The order of loading was computed for the stock module: it must still be right."""
    needed = {module_name(owner) for owner in owners if owner != "vmlinux"}
    new = {m for m in needed - set(base.modules.needs[name]) - {name} if not base.modules.built_in(m)}
    if new:
        raise UserError(
            f"with the series, module {name} also needs {', '.join(sorted(new))}, unlike the stock one",
            hint="this version of the lab cannot rebuild the module index; a full kernel build is needed",
        )


def _check_exports(base: Kernel, name: str, ours: Mapping[str, Export], theirs: Mapping[str, Export]) -> None:
    owner = (base.modules.find(name) or "").removeprefix("kernel/").partition(".ko")[0]
    changed = changed_exports(owner, ours, theirs)
    if not changed:
        return
    broken = users(changed, ((user, _imports(base, user)) for user in base.modules.dependants(name)))
    if broken:
        told = "; ".join(
            f"{symbol} (used by {', '.join(who[:4])})" for symbol, who in list(broken.items())[:3]
        )
        raise UserError(
            f"the series changes what module {name} exports to stock modules: {told}",
            hint="those modules would have to be built too, which needs a full kernel build",
        )


def has_modversions(base: Kernel) -> bool:
    """Does the kernel tell symbols apart by CRCs over their types?"""
    return "\nCONFIG_MODVERSIONS=y\n" in base.config.read_text()


def _imports(base: Kernel, module: str) -> Versions:
    versions = has_modversions(base)
    program, *arguments = imports_command(str(base.stock_module(module)), versions=versions)
    package = "kmod" if versions else "binutils"
    path = proc.needed(program, package=package, why="it tells what a module imports")
    return (parse_modversions if versions else parse_undefined)(proc.run([path, *arguments], timeout=30).text)
