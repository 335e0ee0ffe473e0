# SPDX-License-Identifier: GPL-2.0-or-later
"""Patches without which an old tree does not build with a new compiler: the table in kconfigs/fixes/."""

from __future__ import annotations

from pydantic import ValidationError

from lab import files
from lab.errors import SpecError
from lab.kernel.kconfig import version_tuple
from lab.kernel.series import Patch, read_series
from lab.results.models import Record


class Fix(Record):
    """One row: `first` and `last` are versions such as "5.10", both included."""

    patch: str  # file beside the table
    first: str
    last: str
    reason: str


def table() -> tuple[Fix, ...]:
    """All fixes. SpecError if a row is wrong."""
    import yaml

    path = files.shipped("kconfigs") / "fixes" / "table.yaml"
    try:
        rows = yaml.safe_load(path.read_text()) or []
        return tuple(Fix.model_validate(row) for row in rows)
    except (OSError, yaml.YAMLError, ValidationError, TypeError) as error:
        raise SpecError([f"{path}:1:1: {error}"]) from error


def fixes_for(version: str) -> tuple[Patch, ...]:
    """The patches for one version of Linux, in the order of the table."""
    at = version_tuple(version)
    wanted = [fix for fix in table() if version_tuple(fix.first) <= at <= version_tuple(fix.last)]
    return tuple(
        patch
        for fix in wanted
        for patch in read_series(files.shipped("kconfigs") / "fixes" / fix.patch).patches
    )
