# SPDX-License-Identifier: GPL-2.0-or-later
"""Which entries of a kernel's changelog are about what a case is about.

Entries are the subjects of commits, which begin with the subsystem by custom: "drm/ttm: ...", "[amd64] KVM:
...". A case names paths of the source in `touches`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

# Path of the kernel source -> how subjects of commits to it begin.
SUBJECTS = {
    "drivers/gpu/drm/ttm": r"drm/ttm",
    "include/drm/ttm": r"drm/ttm",
    "drivers/gpu/drm/drm_gem_ttm_helper": r"drm/(?:gem-)?ttm|drm/gem",
    "drivers/gpu/drm/drm_gem_vram_helper": r"drm/(?:gem-)?vram|drm/gem",
    "drivers/gpu/drm/drm_gem": r"drm/(?:gem|shmem|gem-shmem|shmem-helper|prime|vma)",
    "include/drm/drm_gem": r"drm/(?:gem|shmem|gem-shmem|shmem-helper)",
    "drivers/gpu/drm/drm_": r"drm(?:/(?:gem|prime|vma|client|fb-helper|fbdev|drv|managed))?:",
    "drivers/gpu/drm/qxl": r"drm/qxl",
    "drivers/gpu/drm/tiny": r"drm/(?:bochs|tiny|cirrus|simpledrm)",
    "drivers/gpu/drm/bochs": r"drm/(?:bochs|tiny)",
    "drivers/gpu/drm/virtio": r"drm/virtio",
    "drivers/gpu/drm/vgem": r"drm/vgem",
    "drivers/dma-buf/udmabuf": r"(?:dma-buf/)?udmabuf",
    "drivers/dma-buf": r"dma-?buf|dma-(?:fence|resv|heap)|udmabuf",
    "drivers/vfio": r"vfio",
    "virt/kvm": r"KVM",
    "arch/x86/kvm": r"KVM",
    "io_uring": r"io_uring",
}
GENERAL = (
    "drivers/gpu/drm/ttm",
    "drivers/gpu/drm/drm_gem",
    "drivers/gpu/drm/qxl",
    "drivers/gpu/drm/tiny",
    "drivers/gpu/drm/virtio",
    "drivers/gpu/drm/vgem",
    "drivers/dma-buf",
    "mm/memory",
    "mm/huge_memory",
    "virt/kvm",
    "drivers/vfio",
)
"""What the lab is about, for a case that names no paths."""

BEFORE = r"^(?:\[[a-z0-9,/ ]+\] )?(?:Revert \")?"
"""An architecture, as Debian writes it, and a revert."""


def about(entries: Iterable[str], paths: Sequence[str]) -> tuple[list[str], int]:
    """The entries about these paths of the source, and how many are about something else."""
    wanted = re.compile(BEFORE + "(?:" + "|".join(dict.fromkeys(map(_begins, paths or GENERAL))) + ")", re.I)
    found, others = [], 0
    for entry in entries:
        if wanted.match(entry):
            found.append(entry)
        else:
            others += 1
    return found, others


def _begins(path: str) -> str:
    """A pattern for the beginning of subjects of commits to a path, which may be a pattern itself."""
    plain = path.split("*")[0]
    if plain.startswith("mm/"):
        stem = re.escape(plain.removeprefix("mm/").removesuffix(".c"))
        return rf"mm(?:/{stem}\b|[:,] )|{stem}[:,] " if stem else r"mm\b"
    known = [start for start in SUBJECTS if plain.startswith(start)]
    if known:
        return SUBJECTS[max(known, key=len)]
    folder, _, name = plain.rpartition("/")
    word = name.partition(".")[0] or folder.rpartition("/")[2] or plain
    return re.escape(word) + r"\b"
