# SPDX-License-Identifier: GPL-2.0-or-later
"""`ci/nightly.yaml`: kernels x configurations x machines x cases that a night runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from lab.spec.models import Declared, Name

SHIPPED = "nightly.yaml"
"""The matrix below ci/ that is taken where none is named."""

STOCK = "stock"
"""In `series`: the kernel as it is."""

Text = Annotated[str, StringConstraints(pattern=r"^\S", max_length=512)]
Pattern = Annotated[str, StringConstraints(pattern=r"^[^\s]+$", max_length=512)]
"""A name, or one with `*` and `?` in it."""
Why = Annotated[str, StringConstraints(pattern=r"^\S", max_length=200)]


class MatrixKernel(Declared):
    """One kernel, as it is and with series."""

    kernel: Text = Field(
        description="as --kernel takes it: stock, debian:6.12, tree:PATH@REV, ...; or newest, the newest "
        "package that can be used"
    )
    series: tuple[Text, ...] = Field(
        (STOCK,),
        min_length=1,
        description="stock: without one; TOPIC/NAME of shipped series; an mbox, relative to this file",
    )


class CellRule(Declared):
    """Which cells a rule is for: all that its patterns fit; a key that is absent fits each."""

    kernel: Pattern | None = Field(None, description="the kernel as it is named here; * stands for anything")
    series: Pattern | None = Field(None, description="the series, stock where there is none")
    configuration: Pattern | None = Field(None, description="of a kernel that the lab builds")
    machine: Pattern | None = None
    case: Pattern | None = None


class Excluded(CellRule):
    """Cells that are not run."""

    why: Why | None = Field(None, description="for whoever wonders")


class Limit(CellRule):
    """Bounds for some cells; of several that fit, the last one that has the key counts."""

    timeout: float | None = Field(
        None, gt=0, le=3600, description="seconds for the workload; absent: the case's own"
    )
    trials: int | None = Field(None, ge=1, le=1000, description="boots of each cell; absent: the matrix's")


class Priority(CellRule):
    """Cells that are run earlier, or later; of several that fit, the last one counts."""

    priority: int = Field(ge=-1000, le=1000, description="larger is earlier; without one it is 0")


class Included(Declared):
    """Cells beside those of the product. A cell that can never run is an error here."""

    kernel: Text
    series: Text = STOCK
    configuration: Text | None = Field(None, description="absent: each of the matrix's")
    machine: Name | None = Field(None, description="absent: the case's own")
    cases: tuple[Pattern, ...] = Field(min_length=1)


class Matrix(Declared):
    """What a night runs: every kernel, with every series and configuration, on every machine, every case."""

    title: Text = "nightly"
    kernels: tuple[MatrixKernel, ...] = Field(min_length=1)
    configurations: tuple[Text, ...] = Field(
        ("lean+drm",),
        min_length=1,
        description="what kernels are built with (--kconfig); packages have theirs",
    )
    machines: tuple[Name, ...] | None = Field(
        None, min_length=1, description="every case on each of them; absent: each case's own machines"
    )
    cases: tuple[Pattern, ...] = Field(
        min_length=1, description="names, topics, names with *, paths of YAML files relative to this one"
    )
    clock: Literal["virtual", "real"] = "virtual"
    trials: int = Field(1, ge=1, le=1000, description="boots of each cell")
    include: tuple[Included, ...] = ()
    exclude: tuple[Excluded, ...] = ()
    limits: tuple[Limit, ...] = ()
    priorities: tuple[Priority, ...] = ()


def is_mbox(series: str) -> bool:
    """Is it a file, not the name of a shipped series?"""
    return Path(series).suffix in (".mbox", ".patch", ".mbx")
