# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian packages: what the index offers, files by digest, and their content without installing them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from lab import files, log, proc
from lab.errors import InfraError
from lab.kernel.aptroot import AptRoot
from lab.results.models import Record

SLOWEST = 100_000
"""Bytes per second: a download may take as long as at this speed, plus two minutes."""


class Package(Record):
    """One version of one binary package, as the signed index describes it."""

    name: str
    version: str
    architecture: str
    sha256: str
    size: int  # bytes of the .deb
    filename: str  # path below the mirror
    depends: str = ""
    index: Literal["configured", "every"] = "configured"  # which of the lab's indices lists it

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


def parse_packages(text: str, *, index: Literal["configured", "every"] = "configured") -> tuple[Package, ...]:
    """Packages from the stanzas that `apt-cache show` prints, in order; without a digest: left out."""
    found: dict[tuple[str, str], Package] = {}
    for stanza in re.split(r"\n\s*\n", text):
        fields = dict(re.findall(r"(?m)^([A-Za-z][A-Za-z0-9-]*): *(.*)$", stanza))
        digest = fields.get("SHA256", "")
        if not re.fullmatch(r"[0-9a-f]{64}", digest):
            continue
        if not {"Package", "Version", "Filename"} <= fields.keys():
            continue
        package = Package(
            name=fields["Package"],
            version=fields["Version"],
            architecture=fields.get("Architecture", ""),
            sha256=digest,
            size=int(fields["Size"]) if fields.get("Size", "").isdigit() else 0,
            filename=fields["Filename"],
            depends=fields.get("Depends", ""),
            index=index,
        )
        found.setdefault((package.name, package.version), package)
    return tuple(found.values())


class PackageRoot:
    """Packages of the suites that the machine's apt is configured with, or of those of another `apt`.

    Files can be fetched whichever index lists them.
    """

    def __init__(self, apt: AptRoot | None = None) -> None:
        self.apt = apt or AptRoot()
        self._folder = files.cache_dir("packages")

    def names(self, prefix: str) -> list[str]:
        """Names of all packages that begin with `prefix`."""
        self.apt.refresh()
        return self.apt.names(prefix)

    def candidates(self, *names: str) -> tuple[Package, ...]:
        """Every version that the index has of these packages; per package newest first."""
        self.apt.refresh()
        return parse_packages(self.apt.query(["show", *names]), index=self.apt.name) if names else ()

    def suites(self, *names: str) -> dict[tuple[str, str], str]:
        """(name, version) -> suite, for all versions of these packages."""
        self.apt.refresh()
        rows = [line.split("|") for line in self.apt.query(["madison", *names]).splitlines()]
        return {(r[0].strip(), r[1].strip()): _suite(r[2]) for r in reversed(rows) if len(r) == 3}

    def closure(self, names: Sequence[str]) -> tuple[Package, ...]:
        """The packages and all that they depend on, without recommended ones, dependencies first.

        Raises InfraError if the index cannot satisfy them.
        """
        self.apt.refresh()
        done = self.apt.simulate(["install", *names])
        chosen = re.findall(r"(?m)^Inst (\S+) \((\S+) ", done.text)
        if done.code != 0 or not chosen:
            why = done.errors.strip() or "nothing was chosen"
            raise InfraError(
                f"apt finds no way to install {' '.join(names)}: {why}",
                hint="do /etc/apt/sources.list* name Debian's main component?",
            )
        known = {(p.name, p.version): p for p in self.candidates(*[name for name, _ in chosen])}
        return tuple(known[name, version] for name, version in chosen)

    def cached(self, package: Package) -> bool:
        """Is the file here? Its content is checked only by `fetch`."""
        return self._path(package).is_file()

    def fetch(self, package: Package) -> Path:
        """The .deb, verified by its digest on every use; fetched if it is missing or corrupt."""
        return self.fetch_all([package])[0]

    def fetch_all(self, packages: Iterable[Package]) -> tuple[Path, ...]:
        """As `fetch`, for several at once with one call of apt."""
        wanted = tuple(packages)
        with files.locked(self._folder / ".lock", what="the package cache", seconds=3600):
            missing = [package for package in wanted if not self._intact(package)]
            for index in sorted({package.index for package in missing}):
                apt = self.apt if index == self.apt.name else _apt_root(index)
                self._download(apt, [package for package in missing if package.index == index])
        return tuple(self._path(package) for package in wanted)

    def _path(self, package: Package) -> Path:
        return self._folder / f"{package.sha256}.deb"

    def _intact(self, package: Package) -> bool:
        path = self._path(package)
        if not path.is_file():
            return False
        if files.sha256_file(path) == package.sha256:
            return True
        log.info(f"{path} ({package}) is corrupt: removed, will be fetched again")
        path.unlink()
        return False

    def _download(self, apt: AptRoot, packages: Sequence[Package]) -> None:
        size = sum(package.size for package in packages)
        apt.refresh()
        what = str(packages[0]) if len(packages) == 1 else f"{packages[0]} and {len(packages) - 1} more"
        with files.scratch(self._folder / "fetch") as folder:
            with log.step(f"fetching {what} ({size / 1e6:.1f} MB)"):
                wanted = [f"{package.name}={package.version}" for package in packages]
                done = apt.download(wanted, folder, timeout=120 + size / SLOWEST)
            if done.code != 0:
                raise self._failed(apt, what, done)
            self._keep(packages, folder)

    def _keep(self, packages: Sequence[Package], folder: Path) -> None:
        by_digest = {files.sha256_file(path): path for path in folder.glob("*.deb")}
        for package in packages:
            path = by_digest.get(package.sha256)
            if path is None:
                raise InfraError(
                    f"the mirror sent another {package} than its signed index promises",
                    hint="run the same command again; if it stays so, the mirror or a proxy is at fault",
                )
            path.chmod(0o644)
            path.replace(self._path(package))

    def _failed(self, apt: AptRoot, what: str, done: proc.Finished) -> InfraError:
        lines = done.errors.splitlines()
        said = " ".join([line for line in lines if line.startswith("E:")][:2] or lines[:2])
        if "404" in done.errors:
            apt.expire()
            hint = "the index was older than the mirror; run the same command again to refresh it"
        else:
            hint = "check the network and the disk; run the same command again"
        return InfraError(f"cannot fetch {what}: {said or 'apt-get did not say why'}", hint=hint)


def _apt_root(index: str) -> AptRoot:
    from lab.kernel.suites import EverySuite

    return EverySuite() if index == "every" else AptRoot()


def extract(debs: Iterable[Path], into: Path) -> None:
    """Unpack packages into a folder, as any user: the caller owns all, no set-id bits, no devices."""
    bash = proc.needed("bash", package="bash", why="packages are unpacked with it")
    tie = proc.quoted(proc.tied())
    script = (
        f'set -o pipefail; {tie} dpkg-deb --fsys-tarfile "$1"'
        f' | {tie} tar --extract --no-same-owner --no-same-permissions --exclude="./dev/*" --directory="$2"'
    )
    for deb in debs:
        proc.run([bash, "-c", script, "unpack", str(deb), str(into)], timeout=600)


def extract_file(deb: Path, member: str, into: Path) -> Path:
    """Unpack one file of a package into a folder; returns its path."""
    bash = proc.needed("bash", package="bash", why="packages are unpacked with it")
    tie = proc.quoted(proc.tied())
    script = f'set -o pipefail; {tie} dpkg-deb --fsys-tarfile "$1" | {tie} tar --extract --to-stdout "$2"'
    path = into / Path(member).name
    proc.run([bash, "-c", script, "unpack", str(deb), member], timeout=600, stdout_to=path)
    return path


def _suite(where: str) -> str:
    """`bookworm-security` from ` http://host/debian-security bookworm-security/main amd64 Packages`."""
    words = where.split()
    return words[1].partition("/")[0] if len(words) > 1 else ""
