# SPDX-License-Identifier: GPL-2.0-or-later
"""Facts about the machine that the lab runs on, for results and for planning."""

from __future__ import annotations

import os
from pathlib import Path


def host_kernel() -> str:
    about = os.uname()
    return f"{about.sysname} {about.release} {about.version}"


def host_cpu() -> str:
    """The processor's name as the kernel prints it."""
    for line in _lines("/proc/cpuinfo"):
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return os.uname().machine


def cpus() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0))


def available_memory() -> int:
    """Bytes that can be used without swapping (MemAvailable)."""
    for line in _lines("/proc/meminfo"):
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 1 << 30


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(errors="replace").splitlines()
    except OSError:
        return []
