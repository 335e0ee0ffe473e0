# SPDX-License-Identifier: GPL-2.0-or-later
"""A private apt: the machine's sources, keyrings and proxy, but state and cache of our own.

So the package index is as trusted as the machine's own, any user can refresh it, nothing is ever installed,
and what apt on the machine knows or has installed does not change what the lab sees.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from lab import files, log, proc
from lab.errors import InfraError

MAX_AGE = 24 * 3600.0
"""Seconds that a package index is taken as current."""

SOURCES = (Path("/etc/apt/sources.list"), Path("/etc/apt/sources.list.d"))

# Read after the machine's configuration. The hooks are cleared because they belong to the machine's own apt
# (they talk to desktop services or delete files); the index is fetched for amd64 only, without translations.
CONFIGURATION = """\
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Pre-Invoke;
#clear DPkg::Post-Invoke;
#clear DPkg::Pre-Install-Pkgs;
Dir::State "{root}/state";
Dir::State::status "{root}/state/status";
Dir::Cache "{root}/cache";
Dir::Cache::pkgcache "pkgcache.bin";
Dir::Cache::srcpkgcache "srcpkgcache.bin";
Dir::Log "{root}/log";
APT::Architecture "amd64";
#clear APT::Architectures;
APT::Architectures {{ "amd64"; }};
APT::Get::AllowUnauthenticated "false";
APT::Install-Recommends "false";
Acquire::AllowInsecureRepositories "false";
Acquire::AllowWeakRepositories "false";
Acquire::AllowDowngradeToInsecureRepositories "false";
Acquire::Languages "none";
Acquire::Retries "2";
Acquire::http::Timeout "20";
Acquire::https::Timeout "20";
"""


class AptRoot:
    """The private apt below the cache; `index_stamp` tells one state of its index from another."""

    name: Literal["configured", "every"] = "configured"
    folder = "apt"
    about = "the configured suites"

    def __init__(self) -> None:
        self.path = files.cache_dir(self.folder)
        self._stamp = self.path / "updated"
        self._unreachable = ""

    @property
    def index_stamp(self) -> float:
        """When the index was last refreshed, in seconds since the epoch; 0 if never."""
        try:
            return self._stamp.stat().st_mtime
        except OSError:
            return 0.0

    @property
    def current(self) -> bool:
        """Is the index younger than MAX_AGE and not older than the machine's list of sources?"""
        stamp = self.index_stamp
        return 0 <= time.time() - stamp < MAX_AGE and stamp >= _sources_changed()

    def expire(self) -> None:
        """Have the index refreshed at the next use, as when the mirror no longer has what it lists."""
        with contextlib.suppress(FileNotFoundError):
            os.utime(self._stamp, (1, 1))

    def refresh(self) -> bool:
        """Fetch the index unless it is current; False if that failed but an older one is there.

        Raises InfraError if there is no index at all. A failure is remembered for the life of this object.
        """
        if self.current:
            return True
        if self._unreachable:
            return False
        with files.locked(self.path / ".lock", what="the package index"):
            if self.current:
                return True
            self._make()
            with log.step(f"refreshing the index of {self.about}"):
                done = self._apt("apt-get", ["--error-on=any", "update"], timeout=300)
            if self._accepted(done):
                self._stamp.touch()
                os.utime(self._stamp)
                return True
            if "No space left on device" in done.errors:
                raise files.disk_error(self.path, OSError(errno.ENOSPC, ""))
            self._unreachable = _complaint(done.errors)
            return self._go_on_without()

    def _accepted(self, done: proc.Finished) -> bool:
        """Is the index that `apt-get update` left one that can be used?"""
        return done.code == 0

    def _go_on_without(self) -> bool:
        if not self.names("linux-image-"):
            raise InfraError(
                f"package index unreachable: {self._unreachable}",
                hint="check the network and /etc/apt/sources.list*; `apt-get update` as root must work too",
            )
        stamp = self.index_stamp
        age = f"{(time.time() - stamp) / 3600:.0f} hours old" if stamp > 1 else "of unknown age"
        log.info(f"package index unreachable ({self._unreachable}); going on with the one that is {age}")
        return False

    def query(self, arguments: Sequence[str]) -> str:
        """What `apt-cache` prints; an unknown package is not an error, it just prints nothing."""
        self._make()
        return self._apt("apt-cache", arguments, timeout=60).text

    def names(self, prefix: str) -> list[str]:
        """Names of all packages that begin with `prefix`, in the index as it is."""
        return sorted(set(self.query(["pkgnames", prefix]).split()))

    def targets(self, form: str) -> list[str]:
        """One line per package list in the index, as apt-get-indextargets(8) formats it."""
        self._make()
        arguments = ["indextargets", "--format", form, "Created-By: Packages"]
        return self._apt("apt-get", arguments, timeout=60).text.splitlines()

    def simulate(self, arguments: Sequence[str]) -> proc.Finished:
        """`apt-get` without installing: nothing is fetched, nothing written."""
        self._make()
        return self._apt("apt-get", ["--simulate", "--no-install-recommends", *arguments], timeout=60)

    def download(self, wanted: Sequence[str], into: Path, *, timeout: float) -> proc.Finished:
        """`apt-get download NAME=VERSION...` into a folder, bounded by `timeout` seconds."""
        self._make()
        return self._apt("apt-get", ["--quiet", "download", *wanted], timeout=timeout, cwd=into)

    def _configuration(self) -> str:
        return CONFIGURATION.format(root=self.path)

    def _make(self) -> None:
        text = self._configuration()
        configuration = self.path / "apt.conf"
        if configuration.exists() and configuration.read_text() == text:
            return
        for part in ("state/lists/partial", "cache/archives/partial", "log"):
            (self.path / part).mkdir(parents=True, exist_ok=True)
        files.write_whole(self.path / "state/status", "")
        files.write_whole(configuration, text)

    def _apt(
        self, program: str, arguments: Sequence[str], *, timeout: float, cwd: Path | None = None
    ) -> proc.Finished:
        path = proc.needed(program, package="apt", why="kernels are fetched as packages with it")
        argv = [path, "-c", str(self.path / "apt.conf"), *arguments]
        # Interrupted, apt's helpers leave temporary files behind; started by root, they are another user.
        with files.scratch(self.path / "tmp") as temporary:
            temporary.chmod(0o1777)
            env = {**os.environ, "TMPDIR": str(temporary)}
            return proc.run(argv, timeout=timeout, check=False, cwd=cwd, env=env)


def _sources_changed() -> float:
    paths = [path for path in SOURCES if path.exists()]
    paths += [path for top in paths if top.is_dir() for path in top.iterdir()]
    return max((path.stat().st_mtime for path in paths), default=0.0)


def _complaint(errors: str) -> str:
    """The first error apt told, without its prefix."""
    lines = [line for line in errors.splitlines() if line.startswith(("E:", "W:", "Err:"))]
    first = next((line for line in lines if line.startswith("E:")), lines[0] if lines else "")
    return first.partition(":")[2].strip() or "apt-get update failed without saying why"
