# SPDX-License-Identifier: GPL-2.0-or-later
"""What is new since the last night? Boots nothing; reads the history of all run folders."""

from __future__ import annotations

from lab import log
from lab.errors import InfraError, UserError
from lab.history.flakes import Flaking, flaking
from lab.history.index import Index
from lab.history.model import Night
from lab.history.news import News
from lab.history.passed_over import for_terminal
from lab.history.regressions import new_since
from lab.results.night import WORKFLOW, NightRecord, read_night
from lab.results.runfolder import RunFolder, all_runs
from lab.spec.versions import release_line, upstream_version


def news(name: str | None) -> News:
    """What is new in the run `name`, by default the newest night, against the nights before it.

    Raises UserError if the run is no night, InfraError if there is no night before it.
    """
    with Index.open() as index:
        damaged = bring_up_to_date(index)
        night, before = _night(index, name)
        found = new_since(index, night.run)
    about = _about(RunFolder(night.path))
    failed = about.failed_kernels if about else {}
    left = len(about.not_run) if about else 0
    return News(night, before, tuple(found), failed, left, damaged)


def flaky(name: str | None) -> list[Flaking]:
    """The cells of a night that fail now and then on one and the same kernel, and are not known to."""
    with Index.open() as index:
        bring_up_to_date(index)
        nights = index.nights()
        if not nights:
            raise InfraError("there is no night yet", hint="lab nightly")
        return flaking(index, _chosen(nights, name).run)


def bring_up_to_date(index: Index) -> tuple[str, ...]:
    """Take in what has changed on the disk; damaged files are told in short, all are returned."""
    damaged = index.refresh(all_runs()).damaged
    for line in for_terminal(damaged):
        log.info(line)
    return damaged


def _night(index: Index, name: str | None) -> tuple[Night, Night]:
    """The night, and the one before it."""
    nights = index.nights()
    if not nights:
        raise InfraError("there is no night yet, and two are needed", hint="lab nightly")
    night = _chosen(nights, name)
    earlier = nights[nights.index(night) + 1 :]
    if not earlier:
        raise InfraError(
            f"{night.run} is the first night: there is none to hold it against", hint="lab nightly, once more"
        )
    return night, earlier[0]


def _chosen(nights: list[Night], name: str | None) -> Night:
    if name is None:
        return nights[0]
    run = RunFolder.find(name).path.name
    found = next((night for night in nights if night.run == run), None)
    if found is None:
        raise UserError(
            f"run {run} is no night", hint=f"nights are made by `lab {WORKFLOW}`: {nights[0].run}"
        )
    return found


def _about(run: RunFolder) -> NightRecord | None:
    try:
        return read_night(run)
    except InfraError:
        return None


def range_of(version: str) -> str:
    """The release that a kernel's version belongs to, as a file of expectations writes it; "" if unknown.

    >>> range_of("6.12.43-1"), range_of("next")
    ('>=6.12,<6.13', '')
    """
    numbers = upstream_version(version)
    return f">={release_line(version)},<{numbers[0]}.{numbers[1] + 1}" if numbers else ""
