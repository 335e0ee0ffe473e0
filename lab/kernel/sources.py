# SPDX-License-Identifier: GPL-2.0-or-later
"""From what the user writes (`stock`, `debian:6.12`) to the packages of one kernel version.

Another kind of source (a git tree, a tarball, another suite) is another branch in `parse_source`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from lab import files
from lab.errors import InfraError, UserError, did_you_mean
from lab.kernel.debversion import version_key
from lab.kernel.packages import Package, PackageRoot
from lab.results.models import Record

METAPACKAGE = "linux-image-amd64"
# 6.1.0-56, 6.12.117+deb12, 7.3~rc7; neither a flavour (cloud, rt) nor -dbg nor -unsigned.
IMAGE = re.compile(r"linux-image-(?P<abi>[0-9]+\.[0-9][0-9A-Za-z.+~]*(?:-[0-9]+)?)-amd64")
SYNTAX = "write stock, debian:6.12 (newest of a series), debian:6.12.117 or a full package version"


@dataclass(frozen=True)
class KernelSource:
    """A kernel as asked for; `wanted` is a series or version, "" for the distribution's own choice."""

    kind: Literal["stock", "debian"]
    wanted: str = ""

    def __str__(self) -> str:
        return f"{self.kind}:{self.wanted}" if self.wanted else self.kind


class KernelPackages(Record):
    """The packages of one kernel; the parts needed to build modules are None where the index lacks them."""

    release: str
    version: str
    suite: str = ""
    image: Package
    headers: Package | None = None
    headers_common: Package | None = None
    kbuild: Package | None = None
    source: Package | None = None

    @property
    def missing(self) -> tuple[str, ...]:
        """Which of the parts needed for building modules are not to be had in this version."""
        parts = {
            "headers": self.headers,
            "common headers": self.headers_common,
            "kbuild tools": self.kbuild,
            "source": self.source,
        }
        return tuple(name for name, package in parts.items() if package is None)

    def row(self) -> dict[str, object]:
        """For `lab list kernels`: how to name it, and whether modules of it can be built."""
        return {
            "kernel": f"debian:{self.version}",
            "release": self.release,
            "suite": self.suite,
            "modules": f"no {', '.join(self.missing)}" if self.missing else "can be built",
        }


class Resolution(Record):
    """What a source text meant under one state of the index."""

    index_stamp: float
    packages: KernelPackages


def parse_source(text: str) -> KernelSource:
    """Understand a kernel source; UserError says what can be written."""
    if text == "stock":
        return KernelSource("stock")
    kind, colon, wanted = text.partition(":")
    if kind == "debian" and re.fullmatch(r"[0-9]+\.[0-9][0-9A-Za-z.+~-]*", wanted):
        return KernelSource("debian", wanted)
    if kind == "debian" and colon:
        raise UserError(f"{wanted or 'nothing'} is no kernel version (in --kernel {text})", hint=SYNTAX)
    raise UserError(f"unknown kernel source {text}", hint=SYNTAX)


def resolve(source: KernelSource, root: PackageRoot) -> KernelPackages:
    """The packages that a source means now.

    An answer is kept and used again while the index is the same, and when the index cannot be had any more.
    Raises UserError for a version the index does not have, with the nearest ones it has.
    """
    memory = root.apt.path / "resolved" / f"{source.kind}-{source.wanted}.json"
    known = _remembered(memory)
    if known is not None and root.apt.current and known.index_stamp == root.apt.index_stamp:
        return known.packages
    try:
        root.apt.refresh()
    except InfraError:
        if known is None:
            raise
        return known.packages
    found = _select(source, _all_kernels(root))
    remembered = Resolution(index_stamp=root.apt.index_stamp, packages=found)
    files.write_whole(memory, remembered.model_dump_json(indent=2) + "\n")
    return found


def available() -> list[KernelPackages]:
    """Every kernel image of the configured suites, newest first."""
    return list(_all_kernels(PackageRoot()).kernels)


def _remembered(path: Path) -> Resolution | None:
    try:
        return Resolution.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None  # absent or damaged: asked again


@dataclass(frozen=True)
class Index:
    """All kernels of the configured suites."""

    kernels: tuple[KernelPackages, ...]  # newest first
    stock: str  # release of the image that the metapackage depends on; "" if there is no metapackage


def _all_kernels(root: PackageRoot) -> Index:
    names = root.names("linux-")
    images = [name for name in names if IMAGE.fullmatch(name)]
    parts = [name for name in names if re.match(r"linux-(headers|kbuild|source)-[0-9]", name)]
    return index_kernels(root.candidates(METAPACKAGE, *images, *parts), root.suites(*images))


def index_kernels(found: Iterable[Package], suites: Mapping[tuple[str, str], str]) -> Index:
    """Group packages into kernels, newest first."""
    packages = tuple(found)
    by_name: dict[str, list[Package]] = {}
    for package in packages:
        by_name.setdefault(package.name, []).append(package)
    kernels = []
    for package in packages:
        match = IMAGE.fullmatch(package.name)
        # A metapackage such as linux-image-6.12-amd64 depends on an image; it is none.
        if match is None or package.depends.startswith("linux-image-"):
            continue
        kernels.append(_kernel(match["abi"], package, by_name, suites))
    kernels.sort(key=lambda kernel: version_key(kernel.version), reverse=True)
    meta = by_name.get(METAPACKAGE, [])
    depends = re.match(r"linux-image-(\S+)", meta[0].depends) if meta else None
    return Index(tuple(kernels), depends[1] if depends else "")


def _kernel(
    abi: str,
    image: Package,
    by_name: Mapping[str, list[Package]],
    suites: Mapping[tuple[str, str], str],
) -> KernelPackages:
    def same_version(name: str) -> Package | None:
        return next((p for p in by_name.get(name, []) if p.version == image.version), None)

    series = re.match(r"[0-9]+\.[0-9]+", image.version)
    headers = same_version(f"linux-headers-{abi}-amd64")
    return KernelPackages(
        release=f"{abi}-amd64",
        version=image.version,
        suite=suites.get((image.name, image.version), ""),
        image=image,
        headers=headers,
        headers_common=same_version(f"linux-headers-{abi}-common"),
        kbuild=_kbuild(headers, by_name),
        source=same_version(f"linux-source-{series[0]}") if series else None,
    )


def _kbuild(headers: Package | None, by_name: Mapping[str, list[Package]]) -> Package | None:
    """The build tools that the headers depend on: their own version, or the oldest newer one they accept.

    Up to 6.1 one linux-kbuild package serves a whole series and the archive keeps only the last ones.
    """
    match = re.search(r"\b(linux-kbuild-[^ ,]+)(?: \((>=|=) ([^)]+)\))?", headers.depends if headers else "")
    if headers is None or match is None:
        return None
    name, relation, least = match[1], match[2] or ">=", match[3] or headers.version
    fitting = [
        p
        for p in by_name.get(name, [])
        if p.version == least or (relation == ">=" and version_key(p.version) > version_key(least))
    ]
    return min(fitting, key=lambda p: version_key(p.version), default=None)


def _select(source: KernelSource, index: Index) -> KernelPackages:
    if source.kind == "stock":
        for kernel in index.kernels:
            if kernel.release == index.stock:
                return kernel
        raise InfraError(
            f"no configured suite has the image that {METAPACKAGE} depends on",
            hint="add Debian's main component to /etc/apt/sources.list.d, or name a kernel: " + SYNTAX,
        )
    for kernel in index.kernels:
        if _fits(source.wanted, kernel.version):
            return kernel
    versions = {kernel.version.rpartition("-")[0] for kernel in index.kernels}
    raise UserError(
        f"no configured suite has Linux {source.wanted}",
        hint=did_you_mean(source.wanted, versions) + "; `lab list kernels` shows all",
    )


def _fits(wanted: str, version: str) -> bool:
    upstream = version.rpartition("-")[0]
    return wanted in (version, upstream) or version.startswith(wanted + ".")
