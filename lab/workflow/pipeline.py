# SPDX-License-Identifier: GPL-2.0-or-later
"""What `lab ci` writes."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from lab.cluster import gitlab
from lab.errors import UserError
from lab.workflow.night_plan import plan


def gitlab_pipeline(matrix: Path, project: Path, without: Iterable[str] = ()) -> tuple[str, int]:
    """A child pipeline for the cells of a matrix file, and how many jobs it has. Names are looked up now:
    `newest` is what it is today. `without`: tags that no runner has.

    Raises SpecError for what is wrong in the file, UserError if it lies outside of the project, or if the
    pipeline would be too large.
    """
    planned = plan(matrix)
    folder = os.path.relpath(matrix.resolve().parent, project.resolve())
    if folder.startswith(".."):
        raise UserError(
            f"{matrix} lies outside of {project}, where runners do not find it", hint="run it in the project"
        )
    parts = gitlab.split(planned.loaded, planned.plan, planned.machines, frozenset(without))
    return gitlab.pipeline(planned.loaded, parts, folder), len(parts)
