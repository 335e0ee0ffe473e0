# SPDX-License-Identifier: GPL-2.0-or-later
"""From the packages of an index to the kernels that they make up. Pure: it only groups what apt told."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from lab.kernel.debversion import version_key
from lab.kernel.packages import Package
from lab.results.models import Record

METAPACKAGE = "linux-image-amd64"
# 6.1.0-56, 6.1.0-0.deb11.52, 6.12.117+deb12, 7.3; no flavour (cloud, rt), no -dbg. Unsigned ones are what the
# archive has before, and sometimes instead of, the signed one; guests check no signature.
IMAGE = re.compile(
    r"linux-(?:image|binary-unsigned)-(?P<abi>[0-9]+\.[0-9][0-9A-Za-z.+~]*(?:-[0-9][0-9a-z.]*)?)-amd64(?:-unsigned)?"
)
WANTED = re.compile(r"linux-(image|binary|modules|base|headers|kbuild|source)-(unsigned-)?[0-9]")
# From 6.19 on an image package is empty and depends on these.
SPLIT = ("base", "binary", "modules")


class KernelPackages(Record):
    """The packages of one kernel; the parts needed to build modules are None where the index lacks them."""

    release: str
    version: str
    suite: str = ""
    image: Package
    parts: tuple[Package, ...] = ()  # the others that it is unpacked from
    lost: tuple[str, ...] = ()  # names of those that the archive has no more: it cannot be booted
    headers: Package | None = None
    headers_common: Package | None = None
    kbuild: Package | None = None
    source: Package | None = None

    @property
    def boot(self) -> tuple[Package, ...]:
        """All packages that it is unpacked from."""
        return (self.image, *self.parts)

    @property
    def tools(self) -> list[Package]:
        """What modules from outside are built with, as far as it is to be had."""
        return [one for one in (self.headers, self.headers_common, self.kbuild) if one is not None]

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

    @property
    def upstream(self) -> str:
        """6.12.117 for 6.12.117-1~deb12u1."""
        return self.version.rpartition("-")[0]

    def row(self) -> dict[str, object]:
        """For `lab list kernels`: how to name it, and what can be done with it."""
        lacking = [part for part in self.missing if part in ("common headers", "kbuild tools")]
        return {
            "kernel": f"debian:{self.version}",
            "release": self.release,
            "suite": self.suite,
            "image": "unusable" if self.lost else "complete",
            "headers": "none" if self.headers is None else "incomplete" if lacking else "complete",
            "source": "none" if self.source is None else "complete",
            "missing": ", ".join((*self.lost, *(lacking if self.headers else ()))),
        }


class Index(Record):
    """All kernels of some suites."""

    stamp: float  # of the package index that it was made from
    made_by: str  # digest of the code that made it
    kernels: tuple[KernelPackages, ...]  # newest first
    stock: str  # release of the image that the metapackage depends on; "" if there is no metapackage
    sources: tuple[Package, ...]  # linux-source-*, newest first


def index_kernels(
    found: Iterable[Package],
    suites: Mapping[tuple[str, str], str],
    *,
    stamp: float = 0.0,
    made_by: str = "",
) -> Index:
    """Group packages into kernels, newest first; `suites` maps name and version to a suite."""
    packages = tuple(found)
    by_name: dict[str, list[Package]] = {}
    for package in packages:
        by_name.setdefault(package.name, []).append(package)
    kernels: dict[tuple[str, str], KernelPackages] = {}
    for package in sorted(packages, key=lambda p: "unsigned" in p.name):
        match = IMAGE.fullmatch(package.name)
        # A metapackage such as linux-image-6.12-amd64 depends on an image; it is none.
        if match is None or package.depends.startswith("linux-image-"):
            continue
        known = kernels.get((match["abi"], package.version))
        if known is None or known.lost:
            kernels[match["abi"], package.version] = _kernel(match["abi"], package, by_name, suites)
    meta = by_name.get(METAPACKAGE, [])
    depends = re.match(r"linux-image-(\S+)", meta[0].depends) if meta else None
    sources = [p for p in packages if re.fullmatch(r"linux-source-[0-9]+\.[0-9]+", p.name)]
    return Index(
        stamp=stamp,
        made_by=made_by,
        kernels=tuple(sorted(kernels.values(), key=lambda k: version_key(k.version), reverse=True)),
        stock=depends[1] if depends else "",
        sources=tuple(sorted(sources, key=lambda p: version_key(p.version), reverse=True)),
    )


def _kernel(
    abi: str,
    image: Package,
    by_name: Mapping[str, list[Package]],
    suites: Mapping[tuple[str, str], str],
) -> KernelPackages:
    series = re.match(r"[0-9]+\.[0-9]+", image.version)
    headers = _same_version(f"linux-headers-{abi}-amd64", image, by_name)
    parts, lost = _parts(abi, image, by_name)
    return KernelPackages(
        release=f"{abi}-amd64",
        version=image.version,
        suite=suites.get((image.name, image.version), ""),
        image=image,
        parts=parts,
        lost=lost,
        headers=headers,
        headers_common=_same_version(f"linux-headers-{abi}-common", image, by_name),
        kbuild=_kbuild(headers, by_name),
        source=_same_version(f"linux-source-{series[0]}", image, by_name) if series else None,
    )


def _same_version(name: str, image: Package, by_name: Mapping[str, list[Package]]) -> Package | None:
    return next((p for p in by_name.get(name, []) if p.version == image.version), None)


def _parts(
    abi: str, image: Package, by_name: Mapping[str, list[Package]]
) -> tuple[tuple[Package, ...], tuple[str, ...]]:
    """The packages beside the image's own that it is unpacked from, and the names of those that are gone."""
    if image.name.startswith("linux-binary-unsigned-"):
        names = [f"linux-{part}-{abi}-amd64" for part in SPLIT if part != "binary"]
    elif f"linux-binary-{abi}-amd64" in image.depends:
        names = [f"linux-{part}-{abi}-amd64" for part in SPLIT]
    else:
        return (), ()
    found = {name: _same_version(name, image, by_name) for name in names}
    return (
        tuple(package for package in found.values() if package is not None),
        tuple(name for name, package in found.items() if package is None),
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
