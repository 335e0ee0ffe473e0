# SPDX-License-Identifier: GPL-2.0-or-later
"""The index of every suite of the mirrors that the machine's apt is configured with.

Kept apart from the index of the configured suites: it is large, and only few commands need it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from lab import files, log, proc
from lab.errors import InfraError
from lab.kernel.aptroot import SOURCES, AptRoot
from lab.results.models import Record

RELEASES = ("bullseye", "bookworm", "trixie", "forky")
"""Debian's releases with kernels of 5.10 and later; the next one joins them when it is named."""

SUITES = {
    "Debian": (
        *(
            f"{name}{kind}"
            for name in RELEASES
            for kind in ("", "-updates", "-proposed-updates", "-backports")
        ),
        *("sid", "experimental"),
    ),
    "Debian-Security": tuple(f"{name}-security" for name in RELEASES),
}
"""By the label of the archive that has them."""

ASK_AGAIN = 30 * 24 * 3600.0
"""Seconds until a suite that the mirror did not have is asked for again."""

FORMAT = "$(ORIGIN)|$(LABEL)|$(REPO_URI)"
ABSENT = re.compile(
    r"E: The repository '\S+ (?P<suite>\S+) (?:In)?Release' "
    r"(?P<why>does not have a Release file|is not signed)\."
    r"|E: Release file for \S+/dists/(?P<expired>\S+)/(?:In)?Release is expired .*"
)


@dataclass(frozen=True)
class Suite:
    """Where programs of a packaged kernel's own age come from: all that a build root is made of."""

    name: str  # "trixie", also for a kernel of trixie-backports
    sources: str  # in the format of apt's .sources files


@dataclass(frozen=True)
class Mirror:
    """One archive that the machine is configured with."""

    uri: str
    label: str
    signed_by: str  # as deb822 writes it; "": the keyrings that apt trusts for all

    def stanza(self, suites: Iterable[str]) -> str:
        """A deb822 source for these suites."""
        key = f"Signed-By: {self.signed_by}\n" if self.signed_by else ""
        return f"Types: deb\nURIs: {self.uri}\nSuites: {' '.join(suites)}\nComponents: main\n{key}"


def tools_of(suite: str) -> Suite:
    """Where the compiler and tools that a kernel of `suite` was built with come from."""
    name = (
        "sid" if suite == "experimental" else next((r for r in RELEASES if suite.startswith(f"{r}-")), suite)
    )
    every = EverySuite()
    kinds = ("", "-updates", "-backports", "-security") if name in RELEASES else ("",)
    wanted = [f"{name}{kind}" for kind in kinds if f"{name}{kind}" not in every.absent]
    stanzas = [
        mirror.stanza(found)
        for mirror in _mirrors()
        if (found := [suite for suite in wanted if suite in SUITES[mirror.label]])
    ]
    return Suite(name, "\n".join(stanzas))


class Absent(Record):
    """Suites that a mirror does not have, with apt's reason."""

    suites: dict[str, str]


class EverySuite(AptRoot):
    """As AptRoot, for all suites with kernels instead of the configured ones."""

    name = "every"
    folder = "apt-every-suite"
    about = "every suite of the mirror"

    def refresh(self) -> bool:
        if not self.current:
            self._write_sources()
        return super().refresh()

    def _configuration(self) -> str:
        parts = f'Dir::Etc::sourcelist "/dev/null";\nDir::Etc::sourceparts "{self.path}/sources.list.d";\n'
        # One copy of an index of 100 MB is enough.
        return super()._configuration() + parts + 'Dir::Cache::srcpkgcache "";\n'

    def _write_sources(self) -> None:
        mirrors = _mirrors()
        if not mirrors:
            raise InfraError(
                "none of apt's sources is a mirror of Debian",
                hint="add one to /etc/apt/sources.list.d, or use tree:, git:, tarball: or image:",
            )
        absent = self.absent
        stanzas = []
        for mirror in mirrors:
            suites = [suite for suite in SUITES[mirror.label] if suite not in absent]
            stanzas.append(mirror.stanza(suites))
        files.write_whole(self.path / "sources.list.d/mirrors.sources", "\n".join(stanzas))

    @property
    def absent(self) -> Mapping[str, str]:
        """Suites that the mirror is known to lack, with the reason."""
        path = self.path / "absent.json"
        try:
            if time.time() - path.stat().st_mtime > ASK_AGAIN:
                return {}
            return Absent.model_validate_json(path.read_bytes()).suites
        except (OSError, ValidationError):
            return {}

    def _accepted(self, done: proc.Finished) -> bool:
        """A suite that the mirror lacks is remembered and left out; any other complaint is a failure."""
        if done.code == 0:
            return True
        complaints = [line for line in done.errors.splitlines() if line.startswith("E:")]
        absent = absent_suites(complaints)
        if len(absent) != len(complaints) or not self.names("linux-image-"):
            return False
        log.info(f"not on the mirror: {', '.join(absent)}")
        known = Absent(suites={**self.absent, **absent})
        files.write_whole(self.path / "absent.json", known.model_dump_json(indent=1) + "\n")
        return True


def absent_suites(complaints: Iterable[str]) -> dict[str, str]:
    """Suite -> reason, from those lines of apt that say of a suite that it cannot be had."""
    found = {}
    for line in complaints:
        if match := ABSENT.fullmatch(line.strip()):
            found[match["suite"] or match["expired"]] = match["why"] or "is expired"
    return found


def _mirrors() -> list[Mirror]:
    """The archives of Debian's own among the configured ones; the first of each kind."""
    configured = AptRoot()
    configured.refresh()
    keys = signing_keys(_source_texts())
    found: dict[str, Mirror] = {}
    for line in configured.targets(FORMAT):
        origin, label, uri = line.split("|")
        if origin == "Debian" and label in SUITES:
            found.setdefault(label, Mirror(uri, label, keys.get(uri.rstrip("/"), "")))
    return list(found.values())


def _source_texts() -> Iterable[tuple[bool, str]]:
    """(is deb822, text) of each of apt's source files."""
    for top in SOURCES:
        paths = sorted(top.iterdir()) if top.is_dir() else [top] if top.is_file() else []
        for path in paths:
            if path.suffix in (".list", ".sources"):
                yield path.suffix == ".sources", Path(path).read_text(errors="replace")


def signing_keys(texts: Iterable[tuple[bool, str]]) -> dict[str, str]:
    """URI without a slash at its end -> its Signed-By, as deb822 writes it, from apt's sources."""
    found: dict[str, str] = {}
    for modern, text in texts:
        if modern:
            for stanza in re.split(r"\n\s*\n", text):
                plain = "".join(line for line in stanza.splitlines(keepends=True) if not line.startswith("#"))
                fields = dict(re.findall(r"(?m)^([A-Za-z-]+):[ \t]*(.*(?:\n[ \t].*)*)", plain))
                lowered = {name.lower(): value for name, value in fields.items()}
                for uri in lowered.get("uris", "").split():
                    if "signed-by" in lowered:
                        found.setdefault(uri.rstrip("/"), lowered["signed-by"].rstrip())
        else:
            for options, uri in re.findall(r"(?m)^[ \t]*deb[ \t]+\[([^\]]*)\][ \t]+(\S+)", text):
                if match := re.search(r"\bsigned-by=(\S+)", options):
                    found.setdefault(uri.rstrip("/"), match[1].replace(",", " "))
    return found
