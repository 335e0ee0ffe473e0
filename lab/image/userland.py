# SPDX-License-Identifier: GPL-2.0-or-later
"""The unchanging part of a guest's root: programs out of packages with their libraries, PID 1, device nodes.

Nothing is installed on the host: packages are unpacked into the cache and only what the named programs
load (ELF NEEDED, followed to the end) goes into the archive.
"""

from __future__ import annotations

import re
import stat
from pathlib import Path

import lab
from lab import files, proc
from lab.errors import InfraError
from lab.image.cpio import Archive
from lab.kernel.packages import PackageRoot, extract
from lab.log import step
from lab.spec.models import Image

LIBRARY_FOLDERS = ("lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu", "lib", "usr/lib", "lib64", "usr/lib64")
INTERPRETER = "/lib64/ld-linux-x86-64.so.2"


def userland_archive(name: str, image: Image, init: Path) -> Path:
    """The cached cpio of an image definition with `init` as /init, made when its inputs changed."""
    definition = image.model_dump_json()
    key = files.sha256_text(lab.__version__, definition, files.sha256_file(init), _own_digest())
    archive = files.cache_dir("images") / f"{name}-{key[:20]}.cpio"
    with files.locked(archive.with_suffix(".lock"), what=f"image {name}"):
        if not files.intact(archive):
            with step(f"pack image {name}"), files.scratch(archive) as root:
                packages = PackageRoot()
                extract(packages.fetch_all(packages.closure(image.packages)), root)
                files.write_sealed(archive, _pack(image, root, init))
    return archive


def _own_digest() -> str:
    return files.sha256_file(Path(__file__))


def _pack(image: Image, root: Path, init: Path) -> bytes:
    archive = Archive()
    archive.file("/init", init.read_bytes(), 0o755)
    # PID 1 gets its console from this node, before it has mounted devtmpfs.
    archive.char_device("/dev/console", 5, 1)
    for folder in ("/proc", "/sys", "/tmp", "/run", "/lab/out", *image.folders):  # noqa: S108 - the guest's
        archive.folder(folder)
    for path, text in image.files.items():
        archive.file(path, text.encode())
    for program in image.programs:
        archive.file(program, _regular(root, program).read_bytes(), 0o755)
    for path in _libraries(root, image.programs):
        archive.file(path, _regular(root, path).read_bytes(), 0o755)
    if "/bin/busybox" in image.programs:
        for applet in _applets(_regular(root, "/bin/busybox")):
            if f"/bin/{applet}" not in image.programs:
                archive.symlink(f"/bin/{applet}", "busybox")
    return archive.packed()


def _applets(busybox: Path) -> list[str]:
    listed = proc.run([str(busybox), "--list"], timeout=10).text.split()
    return sorted(name for name in listed if re.fullmatch(r"[A-Za-z0-9_.\[-]+", name) and name != "busybox")


def _libraries(root: Path, programs: tuple[str, ...]) -> list[str]:
    """In-guest paths of all libraries that the programs load, with the dynamic loader."""
    found: dict[str, str] = {}
    queue = [_regular(root, program) for program in programs]
    dynamic = False
    while queue:
        for name in _needed(queue.pop()):
            dynamic = True
            if name not in found:
                path = _find_library(root, name)
                found[name] = path
                queue.append(_regular(root, path))
    if dynamic and INTERPRETER not in found.values():
        found[INTERPRETER] = INTERPRETER
    return sorted(set(found.values()))


def _needed(binary: Path) -> list[str]:
    """The NEEDED entries of an ELF file; empty for a static one."""
    readelf = proc.needed("readelf", package="binutils", why="it tells which libraries a guest program loads")
    text = proc.run([readelf, "-d", str(binary)], timeout=30).text
    return re.findall(r"\(NEEDED\)\s+Shared library: \[([^\]]+)\]", text)


def _find_library(root: Path, name: str) -> str:
    if name == Path(INTERPRETER).name:
        return INTERPRETER
    for folder in LIBRARY_FOLDERS:
        if (root / folder / name).is_symlink() or (root / folder / name).is_file():
            return f"/{folder}/{name}"
    raise InfraError(
        f"library {name} is in none of the image's packages", hint="add its package to the image's YAML"
    )


def _regular(root: Path, path: str) -> Path:
    """The regular file behind an in-guest path, links resolved inside `root` and never outside."""
    at = root / path.lstrip("/")
    for _ in range(16):
        # A merged-/usr package may have put it below usr/.
        if not at.is_symlink() and not at.exists():
            at = root / "usr" / at.relative_to(root)
        if not at.is_symlink():
            break
        target = at.readlink()
        at = root / str(target).lstrip("/") if target.is_absolute() else at.parent / target
    resolved = at.resolve()
    if not resolved.is_relative_to(root.resolve()) or not stat.S_ISREG(resolved.stat().st_mode):
        raise InfraError(f"{path} is not a file in the image's packages", hint="look at the image's YAML")
    return resolved
