# SPDX-License-Identifier: GPL-2.0-or-later
"""In-guest C to static programs, built once per source, headers and compiler.

A program is found again by its C file, the *.h beside it and those of the shared folder, of which a case's
digest is made too (lab.spec.catalog). If anything else that it includes were edited, the old program would be
run: it is refused, by what the compiler says that it has read.

The same sources give the same bytes, in whichever folder they lie: no -march (the guest's CPU is not the
host's), no path and no time gets in.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from lab import files, log, proc
from lab.errors import InfraError, UserError

FLAGS = ("-O2", "-static", "-std=gnu11", "-Wall", "-Wextra")
COMPILE_SECONDS = 120.0

RULE = "program"
"""The target of the make rule in which gcc says what it has read."""

_ERROR = re.compile(r"^[^\n]*(?:\berror: |undefined reference to )[^\n]*", re.MULTILINE)


def build_workload(source: Path, include: Path) -> Path:
    """Compile one C file, with headers from `include` and from beside it; returns the program.

    Raises UserError with the compiler's first error, InfraError if gcc or the static C library is missing.
    """
    gcc = proc.needed("gcc", package="gcc libc6-dev", why="workloads are compiled on the host")
    try:
        key = files.sha256_text(*FLAGS, *_toolchain(gcc), *_parts(source, include))
    except OSError as error:
        raise UserError(f"cannot read {error.filename}: {error.strerror}") from error
    folder = files.cache_dir("workloads") / key
    program, seal = folder / source.stem, folder / "sha256"
    if folder.is_dir():
        if program.is_file() and seal.is_file() and seal.read_text() == files.sha256_file(program):
            return program
        log.info(f"{program} is damaged: it is compiled again")
        shutil.rmtree(folder, ignore_errors=True)
    with files.made_whole(folder) as building:
        _compile(gcc, source, include, output=building / source.stem, log=folder.with_suffix(".log"))
        files.write_whole(building / "sha256", files.sha256_file(building / source.stem))
    return program


def _toolchain(gcc: str) -> list[str]:
    """What decides the program beside the sources: compiler and static C library."""
    library = Path(proc.run([gcc, "-print-file-name=libc.a"], timeout=30, env={}).text.strip())
    if not library.is_file():
        raise InfraError(
            "the static C library is not installed; workloads need it", hint="apt-get install libc6-dev"
        )
    version = proc.run([gcc, "--version"], timeout=30, env={}).text.partition("\n")[0]
    return [version, files.sha256_file(library)]


def _sources(source: Path, include: Path) -> dict[str, Path]:
    """All that a program may be made of, beside the compiler's own headers."""
    shared = {f"include/{path.name}": path for path in sorted(include.glob("*.h"))}
    beside = {path.name: path for path in sorted(source.parent.glob("*.h"))}
    return {source.name: source, **shared, **beside}


def _parts(source: Path, include: Path) -> list[str | bytes]:
    return [part for name, path in _sources(source, include).items() for part in (name, path.read_bytes())]


def _compile(gcc: str, source: Path, include: Path, *, output: Path, log: Path) -> None:
    maps = [f"-ffile-prefix-map={source.parent}=.", f"-ffile-prefix-map={include}=include"]
    read = output.with_name(f"{output.name}.d")
    tied = ["-wrapper", ",".join(proc.tied())]  # what gcc itself starts would outlive a lab that is killed
    rule = ["-MMD", "-MT", RULE, "-MF", str(read)]
    argv = [gcc, *tied, *FLAGS, *maps, *rule, "-I", str(include), "-o", str(output), str(source)]
    done = proc.run(argv, timeout=COMPILE_SECONDS, check=False, env={"TMPDIR": str(output.parent)}, log=log)
    if done.code == 0:
        log.unlink(missing_ok=True)
        _check_read(read.read_text(errors="surrogateescape"), source, include)
        read.unlink()
        return
    done.check_room()
    first = _ERROR.search(done.text)
    words = first[0].strip() if first else f"gcc ended with status {done.code}"
    raise UserError(f"{source.name} does not compile: {words}", hint=f"all of gcc's output is in {log}")


def _check_read(rule: str, source: Path, include: Path) -> None:
    """Raises UserError for a file that gcc has read, and that the program is not found again by."""
    known = {path.resolve() for path in _sources(source, include).values()}
    words = re.findall(r"(?:\\.|[^\s\\])+", rule.removeprefix(f"{RULE}:").replace("\\\n", " "))
    for word in words:
        path = Path(re.sub(r"\\(.)", r"\1", word).replace("$$", "$"))
        if path.resolve() not in known:
            raise UserError(
                f"{source.name} includes {path}; if that were edited, the old program would be run",
                hint=f"a workload's headers are called NAME.h and lie in {source.parent} or in {include}",
            )
