# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's tracefs: instances of the lab's own."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from lab.errors import InfraError

TRACEFS = Path("/sys/kernel/tracing")


@contextlib.contextmanager
def own_instance(name: str, tracefs: Path = TRACEFS) -> Iterator[Path]:
    """An instance of this process's own, apart from whoever else traces; removed in every case.

    Those of labs that were killed are removed as well. InfraError, with the reason, where there can be none.
    """
    sweep_instances(tracefs)
    instance = tracefs / "instances" / f"faultlab-{os.getpid()}-{name}"
    try:
        instance.mkdir()
    except OSError as error:
        raise InfraError(f"tracefs: {error.strerror} ({instance.parent})") from error
    try:
        yield instance
    finally:
        with contextlib.suppress(OSError):
            instance.rmdir()


def sweep_instances(tracefs: Path = TRACEFS) -> None:
    """Remove the instances of labs that were killed."""
    for left in (tracefs / "instances").glob("faultlab-*-*"):
        if not Path("/proc", left.name.split("-")[1]).exists():
            with contextlib.suppress(OSError):
                left.rmdir()
