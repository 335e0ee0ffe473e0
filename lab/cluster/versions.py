# SPDX-License-Identifier: GPL-2.0-or-later
"""What two ends of a cluster must have in common, because they exchange pickled objects.

The lab itself is compared by a digest of its sources as well: two checkouts of one version differ.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import lab
from lab import files
from lab.errors import InfraError
from lab.guest.qemu import Qemu

PACKAGES = ("dask", "distributed", "cloudpickle", "msgpack", "pydantic")
"""Those whose objects, or whose protocol, go over the wire."""

Versions = Mapping[str, str]


def require_distributed() -> None:
    """InfraError that says how to install it, if dask.distributed is not there."""
    try:
        version("distributed")
    except PackageNotFoundError:
        raise InfraError(
            "dask.distributed is not installed; trials on other machines go through it",
            hint="pip install 'faultlab[cluster]', or in a checkout: pip install -e '.[cluster]'",
        ) from None


@functools.cache
def own_versions() -> Versions:
    """Of this process."""
    found = {
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "faultlab": f"{lab.__version__} (sources {source_digest()})",
    }
    return found | {name: version(name) for name in PACKAGES}


def with_qemu(versions: Versions, qemu: Qemu) -> Versions:
    """With QEMU's, which the numbers of the virtual clock depend on: all that boots guests needs the same."""
    return {**versions, "qemu": ".".join(map(str, qemu.version))}


def source_digest(root: Path = Path(lab.__file__).parent) -> str:
    """12 hex digits over the lab's Python sources."""
    parts: list[str | bytes] = []
    for path in sorted(root.rglob("*.py")):
        parts += [str(path.relative_to(root)), path.read_bytes()]
    return files.sha256_text(*parts)[:12]


def differences(ours: Versions, theirs: object) -> str:
    """What the other end has that we have not, in one sentence; "" if nothing differs.

    Only what both were asked for is compared: a scheduler boots no guests, so its QEMU does not count.
    """
    if not isinstance(theirs, dict):
        return "does not say what it is: it was not started by `lab worker` or `lab scheduler`"
    wrong = [
        f"{name} {str(theirs.get(name, 'missing'))[:80]} (here {wanted})"
        for name, wanted in ours.items()
        if theirs.get(name) != wanted
    ]
    return f"has {', '.join(wrong)}" if wrong else ""
