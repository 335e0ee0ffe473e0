# SPDX-License-Identifier: GPL-2.0-or-later
"""What got worse in a night, as mails: one for each pair of kernels. They are written, never sent."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from lab import files
from lab.errors import InfraError
from lab.history.model import Entry
from lab.history.news import News, grouped
from lab.history.regressions import Regression
from lab.report.mail import Evidence, Kernel, Mail, mail_text, number_row, percent_change, tree_name
from lab.results.models import Trial
from lab.results.runfolder import RunFolder, read_record

MAX_LOG = 40
"""Lines of the kernel's complaint."""


def write_mails(news: News, folder: Path) -> list[Path]:
    """One file for each pair of kernels between which something got worse; [] if nothing did.

    Raises InfraError if they cannot be written.
    """
    written = []
    for number, found in enumerate(grouped(news.alarms), 1):
        mail = regression_mail(news, found)
        name = re.sub(r"[^A-Za-z0-9._+-]+", "-", f"{number:02d}-{found[0].cell.case}-{mail.bad.short}")[:100]
        path = folder / f"{name}.txt"
        files.write_whole(path, mail_text(mail))
        written.append(path)
    return written


def regression_mail(news: News, found: Sequence[Regression]) -> Mail:
    """The mail about regressions that have their two kernels in common; the first one names it."""
    first = found[0]
    cell = first.cell
    trial = _trial(news, first.now)
    environment = trial.environment if trial else None
    again = [one.command for one in found]
    several = len({one.cell.machine for one in found}) > 1
    return Mail(
        tree=tree_name(cell.kernel),
        verdict=_verdict(first),
        metric=_metric(first),
        good=_kernel(first.before, first),
        bad=_kernel(first.now, first),
        evidence=[_evidence(one, several) for one in found],
        details=[
            ("in testcase", ", ".join(dict.fromkeys(one.cell.case for one in found))),
            ("on test machine", ", ".join(dict.fromkeys(one.cell.machine for one in found))),
            ("with series", cell.series),
            ("kconfig", cell.kconfig),
            ("clock", ", ".join(dict.fromkeys(str(one.cell.clock) for one in found))),
            ("accelerator", environment.accelerator if environment else ""),
            ("QEMU", environment.qemu_version if environment else ""),
        ],
        log=_log(trial),
        reproduce=[*dict.fromkeys([*again, *(one.command_before for one in found if one.command_before)])],
        bisect=first.bisect,
        notes=[f"Note: {note}." for note in dict.fromkeys(one.note for one in found) if note],
        lab_version=environment.lab_version if environment else "",
    )


def _verdict(one: Regression) -> str:
    if one.change is not None:
        return f"{percent_change(one.change.change)} regression".strip()
    return str(one.now.outcome)


def _metric(one: Regression) -> str:
    if one.change is not None:
        return f"{one.cell.case}.{one.metric}"
    return f"{one.cell.case}: {one.signature[1] or one.now.reason or one.now.signature}"


def _kernel(entry: Entry | None, one: Regression) -> Kernel:
    if entry is None:
        return Kernel("n/a: the cell has no past")
    name = f"{entry.exact} + {one.cell.series}" if one.cell.series else entry.exact
    if one.before and one.before.exact == one.now.exact:  # its series is another one, under the same name
        return Kernel(f"{name} (kernel {entry.kernel_id})")
    return Kernel(name, entry.version, entry.commit)


def _evidence(one: Regression, several: bool) -> Evidence:
    where = f"{one.cell.case} [{one.cell.machine}]" if several else one.cell.case
    if one.change is not None:
        unit = "" if one.change.at.unit == "count" else f", {one.change.at.unit}"
        change = one.change
        return number_row(f"{where}.{one.metric}{unit}", change.before, change.after, change.change)
    before = str(one.before.outcome) if one.before else "n/a"
    return Evidence(f"{where} {one.signature[1]}".strip(), before, str(one.now.outcome), "")


def _trial(news: News, entry: Entry) -> Trial | None:
    """The trial with all that the index does not keep; None if it has become unreadable."""
    path = RunFolder(news.night.path.parent / entry.run).trial_path(entry.key) / "trial.json"
    try:
        return read_record(path, Trial)
    except InfraError:
        return None


def _log(trial: Trial | None) -> Sequence[str]:
    return trial.splats[0].excerpt.split("\n")[:MAX_LOG] if trial and trial.splats else ()
