# SPDX-License-Identifier: GPL-2.0-or-later
"""Jobs under which workers died: they are not carried round the cluster until no worker is left."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from lab.campaign.work import Work
from lab.errors import InfraError

DEATHS = 2
"""So many workers may die under a job; then it is in quarantine."""


class Quarantine:
    """For one run; a case is told from others by its name, its machine and its kernel."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._known: dict[tuple[str, str, str], str] = {}

    def check(self, work: Work) -> None:
        """InfraError if it is in."""
        with self._guard:
            known = self._known.get(_kind(work))
        if known:
            raise InfraError(known)

    def take(self, work: Work, dead: Sequence[str]) -> InfraError:
        """Put it in; returns what is said of it."""
        why = (
            f"in quarantine: {len(dead)} workers died while they ran {work.planned.case} on "
            f"{work.planned.machine} and kernel {work.kernel.record.id}: {', '.join(dead)}"
        )
        with self._guard:
            self._known[_kind(work)] = why
        return InfraError(why)


def _kind(work: Work) -> tuple[str, str, str]:
    return (work.planned.case, work.planned.machine, work.kernel.record.id)
