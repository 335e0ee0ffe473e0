# SPDX-License-Identifier: GPL-2.0-or-later
"""With which compiler modules of a packaged kernel are built: the host's, or that of a build root."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from lab import proc
from lab.errors import InfraError
from lab.kernel.buildroot import build_root
from lab.kernel.kernel import Kernel
from lab.kernel.sandbox import HOST, Sandbox


def module_tools(base: Kernel) -> tuple[Path, str]:
    """Whose programs build modules of `base`, and the versions of that compiler and its linker.

    The host's, if it has the compiler that the headers ask for and can run the kbuild tools that came with
    them; else those of a build root of the kernel's own suite, which is made if need be.
    """
    assert base.headers is not None
    path = base.headers / "usr/src" / f"linux-headers-{base.record.release}" / ".kernelvariables"
    match = re.search(r"\bgcc-[0-9]+\b", path.read_text())
    name = match[0] if match else "gcc"
    root, reason = HOST, unfit(base.headers, name)
    if reason:
        if base.suite is None:
            raise InfraError(
                f"modules of {base.record.name} cannot be built here: {reason}",
                hint=f"apt-get install {name}",
            )
        root = build_root(base.suite, name)
    there = Sandbox({}, {}, chdir="/", root=root)
    # The linker stands for all of binutils: assembler and strip decide a module's bytes as well.
    said = [proc.run(there.argv([program, "--version"]), timeout=20).text for program in (name, "ld")]
    return root, ", ".join(text.splitlines()[0] for text in said)


def unfit(headers: Path, compiler: str) -> str:
    """Why the host cannot build with these headers; "" if it can."""
    for program in ("make", compiler, "ld"):
        if proc.find(program) is None:
            return f"{program} is not installed"
    here = Sandbox({"/kernel": headers}, {}, chdir="/")
    for tool in _kbuild_tools(headers):
        inside = f"/kernel/{tool.relative_to(headers)}"
        said = proc.run(here.argv([inside, "--help"]), timeout=20, check=False).errors
        if "error while loading shared libraries" in said or "GLIBC_" in said:
            return (
                f"{tool.name} does not run: {said.strip().splitlines()[0].removeprefix(inside).lstrip(': ')}"
            )
    return ""


def _kbuild_tools(headers: Path) -> Iterator[Path]:
    """Programs that were built with the kernel and are run for every module.

    In Debian's packages the plain name is often a script that picks the one for the target.
    """
    for name in ("scripts/mod/modpost*", "tools/objtool/objtool*"):
        yield from headers.glob(f"usr/lib/linux-kbuild-*/{name}")
