# SPDX-License-Identifier: GPL-2.0-or-later
"""A place to run compilers on strangers' source: bubblewrap, without network, home or anything to write to.

Inside, /usr is the host's or that of a build root, read-only. What else is there has the same path for base
and patched, so that equal sources give equal bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from lab import proc
from lab.errors import InfraError

TOP_LEVEL = ("bin", "sbin", "lib", "lib64", "lib32", "libx32")
HOST = Path("/")


@dataclass(frozen=True)
class Sandbox:
    """What a command sees, beside programs and libraries, and where it may write: paths inside -> outside."""

    readable: Mapping[str, Path]
    writable: Mapping[str, Path]
    chdir: str
    environment: Mapping[str, str] = field(default_factory=dict)
    root: Path = HOST  # whose programs and libraries: the host's, or a build root's
    mounts: Sequence[str] = ()  # further options of bwrap

    def argv(self, command: Sequence[str]) -> list[str]:
        """The command line that runs `command` in here; raises InfraError if there can be no sandbox."""
        options = [_bwrap(), *_system(self.root)]
        for inside, outside in self.readable.items():
            options += ["--ro-bind", str(outside), inside]
        for inside, outside in self.writable.items():
            options += ["--bind", str(outside), inside]
        options += [*self.mounts, "--chdir", self.chdir, *_isolation()]
        for name, value in self.environment.items():
            options += ["--setenv", name, value]
        return [*options, "--", *command]


def at_its_place(headers: Path, tree: str, build: Path, directory: str) -> list[str]:
    """Options that show `build` also as `directory` of the kernel tree, which is `tree` below the headers.

    Trace headers include themselves by that path. Where the headers have files of their own there (arch/),
    nothing can be mounted, and nothing is.
    """
    top = Path(tree) / directory.partition("/")[0]
    (headers / top).mkdir(exist_ok=True)  # an empty folder, to mount on
    if any((headers / top).iterdir()):
        return []
    return ["--tmpfs", f"/kernel/{top}", "--bind", str(build), f"/kernel/{tree}/{directory}"]


def _system(root: Path) -> list[str]:
    """Programs and libraries below `root`, read-only, whether /bin and /lib are links into /usr or not."""
    options = ["--ro-bind", str(root / "usr"), "/usr"]
    for name in TOP_LEVEL:
        path = root / name
        if path.is_symlink():
            options += ["--symlink", str(path.readlink()), f"/{name}"]
        elif path.is_dir():
            options += ["--ro-bind", str(path), f"/{name}"]
    return [*options, "--ro-bind-try", str(root / "etc/alternatives"), "/etc/alternatives"]


def _isolation() -> list[str]:
    return [
        *("--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"),  # noqa: S108 - inside the sandbox
        *("--unshare-all", "--die-with-parent", "--new-session", "--clearenv"),
        *("--setenv", "PATH", "/usr/bin:/usr/sbin:/bin:/sbin"),
        *("--setenv", "HOME", "/tmp"),  # noqa: S108 - inside the sandbox
        *("--setenv", "LC_ALL", "C.UTF-8"),
    ]


def check() -> None:
    """Raise InfraError, with what to do, if builds cannot be confined here."""
    _bwrap()


@cache
def _bwrap() -> str:
    """The path of bwrap, once it has been seen to work."""
    bwrap = proc.needed("bwrap", package="bubblewrap", why="patches are compiled in its sandbox")
    done = proc.run([bwrap, *_system(HOST), *_isolation(), "--", "true"], timeout=20, check=False)
    if done.code != 0:
        raise InfraError(
            f"bubblewrap cannot make a sandbox here: {done.errors.strip()}",
            hint="turn user namespaces on: `sysctl kernel.unprivileged_userns_clone=1` (Debian), "
            "`kernel.apparmor_restrict_unprivileged_userns=0` (Ubuntu); a container must allow them",
        )
    return bwrap
