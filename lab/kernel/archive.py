# SPDX-License-Identifier: GPL-2.0-or-later
"""Which kernels Debian's archive has, and which of them is meant.

The suites that the machine's apt is configured with come first. Only a version that they lack, or a list of
all that can be had, makes the lab fetch the index of every other suite of the same mirrors.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable
from pathlib import Path

from pydantic import ValidationError

from lab import files
from lab.errors import InfraError, UserError
from lab.kernel import kernel_packages
from lab.kernel.debversion import version_key
from lab.kernel.kernel_packages import IMAGE, METAPACKAGE, WANTED, Index, KernelPackages, index_kernels
from lab.kernel.packages import Package, PackageRoot
from lab.kernel.sources import HINT, Packaged
from lab.kernel.suites import EverySuite


def resolve(source: Packaged, *, with_build: bool = False) -> KernelPackages:
    """The packages that a source means now; what was learned from an index serves as long as that is current.

    `with_build` looks further for headers and source of the chosen version; `missing` tells what there is
    not. Raises UserError for a version that the archive does not have, or not whole, with the nearest ones.
    """
    configured = load_index(PackageRoot())
    if not source.wanted:
        return _stock(configured)
    found = newest(configured.kernels, source.wanted)
    if found is not None and not (with_build and found.missing):
        return found
    every = load_index(PackageRoot(EverySuite()))
    if found is not None:
        return newest((k for k in every.kernels if not k.missing), found.version) or found
    found = newest(every.kernels, source.wanted)
    if found is None:
        raise _not_there(source.wanted, every)
    return found


def source_package(wanted: str) -> Package:
    """The newest package with the kernel source of a series or version; UserError if there is none."""
    for root in (PackageRoot(), PackageRoot(EverySuite())):
        index = load_index(root)
        for package in index.sources:
            if fits(wanted, package.version):
                return package
    near = _nearest(wanted, {package.version.rpartition("-")[0] for package in index.sources})
    raise UserError(f"no suite has a source package of Linux {wanted}", hint=near)


def available(*, everywhere: bool) -> list[KernelPackages]:
    """Every kernel image of the configured suites, or of all suites of their mirrors, newest first."""
    return list(load_index(PackageRoot(EverySuite() if everywhere else None)).kernels)


def newest(kernels: Iterable[KernelPackages], wanted: str) -> KernelPackages | None:
    """The newest of these kernels, given newest first, that fits and can be booted."""
    return next((k for k in kernels if not k.lost and fits(wanted, k.version)), None)


def fits(wanted: str, version: str) -> bool:
    """Does a package's version belong to the wanted series, or is it the wanted one?"""
    upstream = version.rpartition("-")[0]
    return wanted in (version, upstream) or version.startswith((f"{wanted}.", f"{wanted}~rc"))


def load_index(root: PackageRoot) -> Index:
    """All kernels of the suites of `root`, read once per state of its index.

    When the index cannot be refreshed, what it said before is taken.
    """
    memory = root.apt.path / "kernels.json"
    known = _remembered(memory)
    if known is not None and root.apt.current and known.stamp == root.apt.index_stamp:
        return known
    try:
        root.apt.refresh()
    except InfraError:
        if known is None:
            raise
        return known
    found = _read(root)
    files.write_whole(memory, found.model_dump_json(exclude_defaults=True))
    return found


def _remembered(path: Path) -> Index | None:
    try:
        index = Index.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None  # absent or damaged: asked again
    return index if index.made_by == _own_digest() else None


def _own_digest() -> str:
    return files.sha256_file(Path(kernel_packages.__file__))


def _read(root: PackageRoot) -> Index:
    names = [name for name in root.names("linux-") if WANTED.match(name)]
    images = [name for name in names if IMAGE.fullmatch(name)]
    found = root.candidates(METAPACKAGE, *names)
    return index_kernels(found, root.suites(*images), stamp=root.apt.index_stamp, made_by=_own_digest())


def _stock(index: Index) -> KernelPackages:
    for kernel in index.kernels:
        if kernel.release == index.stock and not kernel.lost:
            return kernel
    raise InfraError(
        f"no configured suite has the image that {METAPACKAGE} depends on",
        hint=f"add Debian's main component to /etc/apt/sources.list.d, or name a kernel: {HINT}",
    )


def _not_there(wanted: str, index: Index) -> UserError:
    near = _nearest(wanted, {kernel.upstream for kernel in index.kernels if not kernel.lost})
    hint = f"{near}; `lab list kernels --available` shows all"
    broken = next((kernel for kernel in index.kernels if fits(wanted, kernel.version)), None)
    if broken is not None:
        gone = ", ".join(broken.lost)
        return UserError(
            f"Linux {broken.version} cannot be booted: the archive no longer has {gone}", hint=hint
        )
    return UserError(f"no suite of the mirror has Linux {wanted}", hint=hint)


def _nearest(wanted: str, known: Iterable[str]) -> str:
    """The versions before and after the wanted one."""
    ordered = sorted(known, key=version_key)
    at = bisect.bisect([version_key(version) for version in ordered], version_key(wanted))
    near = ordered[max(0, at - 1) : at + 1]
    return f"the nearest: {' and '.join(near)}" if near else "there is none"
