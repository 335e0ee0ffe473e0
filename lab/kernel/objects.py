# SPDX-License-Identifier: GPL-2.0-or-later
"""The folder that kbuild writes its objects to, and how make is run over it.

One folder serves a tree and a configuration at all its revisions, so that make has as little to do as it can;
what was built is copied out of it. Inside the sandbox the source is always /src and the objects are always
/obj: compiler caches and reproducible builds need nothing else.

A series is a stranger's code that runs while it builds, and must not leave objects that others would take. It
builds in a copy of that folder, kept until another series needs one; `ccache` is shared by all, and its
builds read that and do not write to it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import ValidationError

from lab import files, proc
from lab.kernel.sandbox import Sandbox
from lab.kernel.toolchain import CCACHE_GIGABYTES, Toolchain
from lab.results.models import Record

SECONDS = 4 * 3600.0
"""How long one make may take; a distribution's configuration with debugging takes an hour on two cores."""

LAST_MOMENTS = 10.0
"""Seconds before a build was killed in which files may have been left half written."""

# The same bytes from the same source, whoever builds it and when.
REPRODUCIBLE = {
    "KBUILD_BUILD_TIMESTAMP": "1970-01-01",
    "KBUILD_BUILD_USER": "lab",
    "KBUILD_BUILD_HOST": "lab",
    "KBUILD_BUILD_VERSION": "1",
    "LOCALVERSION": "",
}


class LastBuilt(Record):
    """The source that a finished build was made from, and its configuration."""

    identity: str
    config: str  # its digest
    patched: tuple[str, ...]  # files that patches on top of the source have touched


@dataclass(frozen=True)
class ObjectTree:
    """Objects of the tree in `source` under one configuration, made by one toolchain."""

    source: Path
    kconfig: str
    toolchain: Toolchain
    series: str = ""
    """Who else's code may run here: a digest of a series and of the source under it; "" for nobody's."""

    @property
    def base(self) -> ObjectTree:
        """The objects that no series has touched."""
        return replace(self, series="")

    @property
    def folder(self) -> Path:
        key = files.sha256_text(
            str(self.source), self.kconfig, self.toolchain.version, str(self.toolchain.ccache)
        )
        return files.cache_dir("objects") / f"{key[:16]}-{'series' if self.series else 'base'}"

    @property
    def objects(self) -> Path:
        return self.folder / "obj"

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """These objects and those of the base, for this lab alone; what a killed build left half written is
        removed first."""
        self.base.objects.mkdir(parents=True, exist_ok=True)
        with files.locked(self.base.folder / "lock", what=f"the objects of {self.source}", seconds=SECONDS):
            for tree in (self.base, self):
                if tree._building.exists():
                    remove_half_written(tree.objects)
                    tree._building.unlink()
            yield

    @property
    def begun(self) -> bool:
        """Are there objects that only this series can have touched?"""
        try:
            return (self.folder / "series").read_text() == self.series
        except OSError:
            return False

    def begin(self) -> None:
        """Take the objects of the base in place of what another series left. The caller holds them."""
        if self.folder.exists():
            with files.scratch(self.folder) as gone:  # never a part of it under its name
                self.folder.rename(gone / self.folder.name)
        with files.made_whole(self.folder) as made:
            parts = [self.base.folder / name for name in ("obj", "stamps.json", "complete")]
            there = [str(path) for path in parts if path.exists()]
            proc.run(["cp", "-a", "--reflink=auto", "--", *there, str(made)], timeout=SECONDS)
            (made / "series").write_text(self.series)

    @property
    def _building(self) -> Path:
        return self.folder / "building"

    def make(
        self,
        targets: Sequence[str],
        *,
        log: Path | None = None,
        out: Path | None = None,
        stranger: bool = False,
        watch: Callable[[bytes], None] | None = None,
    ) -> proc.Finished:
        """Run make, whatever its status. Raises Interrupted; a later call goes on from the objects there are.

        `out` is mounted as /out. With `stranger` the compiler cache is only read.
        """
        jobs = f"-j{os.cpu_count() or 1}"
        argv = ["make", "-C", "/src", "O=/obj", jobs, "ARCH=x86_64", *self.toolchain.make_flags, *targets]
        self._building.touch()
        done = proc.run(
            self._sandbox(out, stranger).argv(argv), timeout=SECONDS, check=False, log=log, watch=watch
        )
        self._building.unlink()  # make ended by itself and has removed what it could not finish
        return done

    def run(self, command: Sequence[str], *, out: Path | None = None) -> proc.Finished:
        """A small program over /src, /obj and /out."""
        return proc.run(self._sandbox(out, stranger=True).argv(command), timeout=300, check=False)

    def _sandbox(self, out: Path | None, stranger: bool) -> Sandbox:
        readable, writable = {"/src": self.source}, {"/obj": self.objects}
        environment = dict(REPRODUCIBLE)
        if out is not None:
            writable["/out"] = out
        if self.toolchain.ccache:
            (readable if stranger else writable)["/ccache"] = files.cache_dir("ccache")
            environment |= ccache_settings(stranger)
        return Sandbox(readable, writable, chdir="/obj", environment=environment, root=self.toolchain.root)

    @property
    def complete(self) -> bool:
        """Has a build of everything ever come to its end here?"""
        return (self.folder / "complete").exists()

    @property
    def last_built(self) -> LastBuilt | None:
        """What the objects are of; None if that is not known, as while a build changes them."""
        try:
            return LastBuilt.model_validate_json((self.folder / "complete").read_bytes())
        except (OSError, ValidationError):
            return None

    def note_begun(self) -> None:
        """A build that ends early leaves objects of two sources."""
        if self.complete:
            files.write_whole(self.folder / "complete", "")

    def note_complete(self, built: LastBuilt) -> None:
        files.write_whole(self.folder / "complete", built.model_dump_json())
        (self.folder / "steps").unlink(missing_ok=True)

    @property
    def steps_before(self) -> int:
        """Steps of the build that was interrupted here."""
        with contextlib.suppress(OSError, ValueError):
            return int((self.folder / "steps").read_text())
        return 0

    def note_steps(self, steps: int) -> None:
        files.write_whole(self.folder / "steps", str(steps))

    def discard(self) -> None:
        """Remove all objects, also those with a series: the next build begins from nothing."""
        for tree in (self.base, replace(self, series="any")):
            shutil.rmtree(tree.folder, ignore_errors=True)


def ccache_settings(read_only: bool) -> Mapping[str, str]:
    """Depend mode takes the headers from the compiler's own list instead of running the preprocessor first,
    and compressing costs more than the room it saves: a build that finds nothing costs next to nothing."""
    settings = {"CCACHE_DIR": "/ccache", "CCACHE_MAXSIZE": f"{CCACHE_GIGABYTES}G"}
    settings |= {"CCACHE_DEPEND": "1", "CCACHE_NOCOMPRESS": "1"}
    settings |= {"CCACHE_TEMPDIR": "/tmp/ccache"}  # noqa: S108 - inside the sandbox
    if read_only:
        settings |= {"CCACHE_READONLY": "1", "CCACHE_NOSTATS": "1"}
    return settings


def remove_half_written(objects: Path) -> None:
    """Remove objects written in the last moments of a killed build.

    They may be cut off, yet make would take them as finished, being newer than their source.
    """
    found: list[tuple[float, Path]] = []
    for folder, _, names in os.walk(objects):
        for name in names:
            path = Path(folder, name)
            if not path.is_symlink() and path.is_file():
                found.append((path.stat().st_mtime, path))
    newest = max((when for when, _ in found), default=0.0)
    for when, path in found:
        if when >= newest - LAST_MOMENTS and _is_object(path):
            path.unlink()


def _is_object(path: Path) -> bool:
    if path.suffix in (".o", ".a", ".ko", ".so") or path.name.startswith((".tmp_vmlinux", "vmlinux")):
        return True
    with path.open("rb") as handle:
        return handle.read(4) == b"\x7fELF"
