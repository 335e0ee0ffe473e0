# SPDX-License-Identifier: GPL-2.0-or-later
"""The series that ship with the lab: `series.yaml` says of each mbox beside it what it does and for what.

A series names the releases that it was checked on, one by one: between two of them the code may look
different, and a range would claim what nobody has seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field, StringConstraints

from lab import files
from lab.errors import UserError, did_you_mean
from lab.spec.document import Document, Loc, Problem
from lab.spec.loader import load_document, shown, spec_error
from lab.spec.models import Declared

INDEX = "series.yaml"

MboxName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]*\.mbox$", max_length=64)]
Release = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]*\.(0|[1-9][0-9]*)$", max_length=8)]
"""A stable series of the kernel, "6.12": what `debian:6.12` names the newest version of."""


class ShippedSeries(Declared):
    """One mbox of the folder."""

    does: str = Field(description="what it changes, in a line")
    versions: tuple[Release, ...] = Field(
        min_length=1, description="releases of the kernel that it applies to and builds on"
    )
    onto: MboxName | None = Field(None, description="another mbox of the folder, to be applied first")


class SeriesFile(Declared):
    """What `series.yaml` holds."""

    series: dict[MboxName, ShippedSeries] = Field(min_length=1, description="by the name of the mbox")


@dataclass(frozen=True)
class SeriesIndex:
    """The series of one folder, by the name of their mbox."""

    folder: Path
    series: dict[str, ShippedSeries]

    def one(self, name: str) -> ShippedSeries:
        """The series of that name; UserError with the nearest names."""
        if name not in self.series:
            raise UserError(
                f"there is no series {name} in {shown(self.folder)}", hint=did_you_mean(name, self.series)
            )
        return self.series[name]

    def to_apply(self, name: str) -> tuple[Path, ...]:
        """The mboxes that make a plain kernel one with this series, in order."""
        onto = self.one(name).onto
        return tuple(self.folder / each for each in ([name] if onto is None else [onto, name]))


def load_index(folder: Path) -> SeriesIndex:
    """The index of a folder with series, checked against the mboxes that lie there.

    Raises SpecError with all that is wrong, UserError if there is no index to read.
    """
    path = folder / INDEX
    found, document = load_document(path, SeriesFile)
    present = {mbox.name for mbox in folder.glob("*.mbox")}
    if problems := _cross_check(found.series, present, document):
        raise spec_error(path, problems)
    return SeriesIndex(folder, found.series)


def shipped_indexes(root: Path | None = None) -> tuple[SeriesIndex, ...]:
    """The index of every topic that has series, by default of the testcases that ship with the lab.

    A topic is found by its folder: one without an index is an error, not a topic without series.
    """
    root = files.shipped("testcases") if root is None else root
    return tuple(load_index(folder) for folder in sorted(root.glob("*/series")))


def _cross_check(series: dict[str, ShippedSeries], present: set[str], document: Document) -> list[Problem]:
    problems: list[Problem] = []

    def tell(text: str, *loc: str | int) -> None:
        where: Loc = ("series", *loc)
        problems.append(Problem(document.mark(where, key=len(loc) == 1), text))

    for name in sorted(present - set(series)):
        tell(f"{name} lies in the folder, but the index does not have it")
    for name, one in series.items():
        if name not in present:
            tell(f"there is no file {name}; {did_you_mean(name, present)}", name)
        for index, version in enumerate(one.versions):
            if version in one.versions[:index]:
                tell(f"{version} is named twice", name, "versions", index)
        if one.onto is not None:
            for text in _onto(one, one.onto, series):
                tell(text, name, "onto")
    return problems


def _onto(one: ShippedSeries, onto: str, series: dict[str, ShippedSeries]) -> list[str]:
    """What is wrong with the series that this one is to be applied onto."""
    below = series.get(onto)
    if below is None:
        return [f"there is no series {onto}; {did_you_mean(onto, series)}"]
    if below.onto is not None:
        return [f"{onto} needs {below.onto} itself: put these two into one mbox"]
    missing = [version for version in one.versions if version not in below.versions]
    return [f"{onto} is not for {version}" for version in missing]
