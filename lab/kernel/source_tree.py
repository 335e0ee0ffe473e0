# SPDX-License-Identifier: GPL-2.0-or-later
"""Single directories of a kernel source package, unpacked once.

The package is one xz stream of 1.4 GB: reading through it takes seconds, keeping all of it a gigabyte.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from lab import files, log, proc
from lab.errors import InfraError
from lab.kernel.packages import Package, PackageRoot

DIGEST = "tree.sha256"
# $1 the package, $2 the archive in it, $3 the folder to fill, $4 the directory wanted
UNPACK = """\
set -o pipefail
{tie} dpkg-deb --fsys-tarfile "$1" | {tie} tar --extract --to-stdout "./usr/src/$2.tar.xz" \
 | {tie} xz -dc -T0 | {tie} tar --extract --no-same-owner --strip-components=1 --directory="$3" "$2/$4"
"""


def source_directory(package: Package, directory: str) -> Path | None:
    """A folder that holds `directory` at its place below the kernel tree; None if the source has none such.

    Checked by its digest on every use. The caller must not change it.
    """
    folder = files.cache_dir("sources") / package.sha256[:16] / directory.replace("/", "+")
    with files.locked(folder.with_name(f"{folder.name}.lock"), what=f"{directory} of {package}"):
        if not _intact(folder):
            deb = PackageRoot().fetch(package)
            with log.step(f"unpacking {directory} of {package}"), files.made_whole(folder) as building:
                _unpack(deb, package.name, directory, building)
    return folder / "tree" if (folder / "tree" / directory).is_dir() else None


def _unpack(deb: Path, archive: str, directory: str, into: Path) -> None:
    tree = into / "tree"
    tree.mkdir()
    bash = proc.needed("bash", package="bash", why="packages are unpacked with it")
    proc.needed("xz", package="xz-utils", why="kernel sources are packed with it")
    script = UNPACK.format(tie=proc.quoted(proc.tied()))
    argv = [bash, "-c", script, "unpack", str(deb), archive, str(tree), directory]
    done = proc.run(argv, timeout=600, check=False)
    if done.code != 0 and "Not found in archive" not in done.errors:
        done.check_room()
        raise InfraError(f"cannot unpack {deb}: {done.errors.strip()[-500:]}")
    (into / DIGEST).write_text(files.sha256_tree(tree))


def _intact(folder: Path) -> bool:
    if not folder.exists():
        return False
    try:
        if (folder / DIGEST).read_text() == files.sha256_tree(folder / "tree"):
            return True
    except OSError:
        pass
    log.info(f"{folder} is damaged: removed, will be unpacked again")
    shutil.rmtree(folder, ignore_errors=True)
    return False
