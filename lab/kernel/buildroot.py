# SPDX-License-Identifier: GPL-2.0-or-later
"""Build roots: the compiler and tools of another suite, for kernels that the host's cannot build.

Made once by mmdebstrap, which needs no root, and entered through the same sandbox as every build. A root is
an unpacked archive that belongs to the user: no device, no foreign owner, nothing that `rm` could not remove.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from lab import files, log, proc
from lab.errors import InfraError
from lab.kernel.suites import Suite
from lab.kernel.toolchain import LIBRARIES, NEEDED

# What a kernel and its modules ask for beside the compiler: the programs of `toolchain`, and what kbuild's
# own tools are linked with.
PACKAGES = (*(name for name in NEEDED.values() if name != "gcc"), *LIBRARIES.values())
BESIDE = ("libc6-dev", "zlib1g", "xz-utils", "ccache")
LEFT_OUT = (
    "./dev",
    "./proc",
    "./sys",
    "./run",
    "./var",
    "./tmp",
    "./boot",
    "./usr/share/doc",
    "./usr/share/man",
)
SECONDS = 1800
"""How long making one may take: some 150 MB are fetched and unpacked."""


def build_root(suite: Suite, compiler: str = "gcc") -> Path:
    """The root of a suite with `compiler` ("gcc-14") as its gcc, made when it is first asked for.

    Raises InfraError if mmdebstrap is missing or fails.
    """
    if not re.fullmatch(r"gcc(-[0-9]+)?", compiler):
        raise InfraError(f"the kernel asks for the compiler {compiler}; the lab knows GCC only")
    include = sorted({compiler, *PACKAGES, *BESIDE})
    key = files.sha256_text(suite.name, suite.sources, *include)
    root = files.cache_dir("buildroots") / f"{suite.name}-{compiler}-{key[:12]}"
    with files.locked(
        root.with_name(f"{root.name}.lock"), what=f"the build root of {suite.name}", seconds=SECONDS
    ):
        if not root.exists():
            with (
                log.step(f"making the build root of {suite.name} ({compiler})"),
                files.made_whole(root) as made,
            ):
                _make(suite, include, made)
                _point_at(compiler, made)
    return root


def _make(suite: Suite, include: Sequence[str], into: Path) -> None:
    mmdebstrap = proc.needed(
        "mmdebstrap", package="mmdebstrap", why="build roots of other suites are made with it"
    )
    tar = proc.needed("tar", package="tar", why="build roots are unpacked with it")
    archive, listed = into / "root.tar", into / "apt.sources"
    listed.write_text(suite.sources)
    argv = [mmdebstrap, "--quiet", "--variant=essential", f"--include={','.join(include)}"]
    argv += [f"--aptopt={option}" for option in _machines_apt_options()]
    argv += ["--architectures=amd64", "--format=tar", suite.name, str(archive), str(listed)]
    done = proc.run(argv, timeout=SECONDS, check=False)
    if done.code != 0:
        said = [line for line in done.errors.splitlines() if line.startswith("E: ")] or ["it gave no reason"]
        raise InfraError(
            f"mmdebstrap cannot make a build root of {suite.name}: {said[0].removeprefix('E: ')}",
            hint="is the network reachable? Users other than root need user namespaces and uidmap",
        )
    left_out = [f"--exclude={name}" for name in LEFT_OUT]
    unpack = [tar, "--extract", "--no-same-owner", "--no-same-permissions", *left_out]
    done = proc.run([*unpack, f"--file={archive}", f"--directory={into}"], timeout=600, check=False)
    if done.code != 0:
        raise InfraError(
            f"cannot unpack the build root: {done.errors.strip()[:300]}", hint="is the disk full?"
        )
    archive.unlink()
    listed.unlink()


def _machines_apt_options() -> list[str]:
    """How the machine's own apt reaches its mirror (proxies, certificates, how it treats old indices).

    mmdebstrap starts from apt's defaults: a mirror behind a proxy, or one that is a snapshot whose
    indices have expired, would fail although the machine's apt is content with it.
    """
    kept = ("Acquire::Check-Valid-Until", "Acquire::Check-Date", "Acquire::http", "Acquire::https")
    dumped = proc.run(["apt-config", "dump", "--format", '%f "%v";%n', *kept], timeout=30, check=False).text
    return [line for line in dumped.splitlines() if line.startswith(kept) and not line.endswith(' "";')]


def _point_at(compiler: str, root: Path) -> None:
    """Let `gcc` mean the compiler, as the package gcc would for the suite's default one."""
    gcc = root / "usr/bin/gcc"
    if not gcc.exists():
        gcc.symlink_to(f"x86_64-linux-gnu-{compiler}")
    if not shutil.which("gcc", path=str(root / "usr/bin")):
        raise InfraError(f"the build root has no {compiler}", hint=f"remove {root}; it is made again")
