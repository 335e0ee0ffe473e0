# SPDX-License-Identifier: GPL-2.0-or-later
"""What a night brought, as text for a terminal and as JSON for scripts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lab.compare.words import counted
from lab.history.model import Entry, Night
from lab.history.regressions import Kind, Regression
from lab.report.clean import one_line, plain
from lab.report.layout import TABLE, paragraph

HEADS: dict[Kind, str] = {
    "broken": "Newly broken",
    "signature": "Complaints that no earlier night has",
    "worse": "Worse",
    "moved": "Changed, but not by the kernel alone",
    "better": "Better",
    "fixed": "Mended, or expected now",
    "varies": "Different with one and the same kernel: so much they vary by themselves",
}

MAX_TOLD = 50
"""Of one kind; more are counted. --json has them all."""


@dataclass(frozen=True, slots=True)
class News:
    """What a night brought."""

    night: Night
    before: Night  # the night before it
    new: tuple[Regression, ...]
    failed_kernels: dict[str, str]  # role -> why it could not be had or built: its cells were not run
    not_run: int  # planned trials that were left out
    damaged: tuple[str, ...]  # one sentence for each file that was passed over

    @property
    def alarms(self) -> list[Regression]:
        return [one for one in self.new if one.alarm]

    @property
    def exit_code(self) -> int:
        return 1 if self.alarms else 0


def news_text(news: News) -> str:
    """Plain ASCII; commands stand on lines of their own, however long."""
    alarms = len(news.alarms)
    head = f"{counted(alarms, 'new regression')}" if alarms else "no new regression"
    night = news.night.run + ("" if news.night.finished else " (not finished)")
    lines = [f"{head} in {night}", f"since {news.before.run}"]
    for kind, title in HEADS.items():
        found = [one for one in news.new if one.kind == kind]
        if found:
            lines += ["", f"{title} ({len(found)})"]
            lines += [line for one in found[:MAX_TOLD] for line in _told(one)]
            if len(found) > MAX_TOLD:
                lines.append(f"  and {len(found) - MAX_TOLD} more: --json has them all")
    if news.failed_kernels or news.not_run:
        lines += ["", "Not known"]
    for role, why in news.failed_kernels.items():
        lines += paragraph(f"kernel {role} could not be had: {why}", first="  ", rest="    ", width=TABLE)
    if news.not_run:
        lines.append(f"  {counted(news.not_run, 'planned trial')} not run: the cells are as they were")
    return "".join(f"{plain(line)}\n" for line in lines)


def _told(one: Regression) -> list[str]:
    if one.kind == "varies":  # no two kernels to compare
        return paragraph(f"{one.cell.label}: {one.what}", first="  ", rest="    ", width=TABLE)
    return _regression(one)


def _regression(one: Regression) -> list[str]:
    lines = paragraph(one.cell.label, first="  ", rest="    ", width=TABLE)
    lines += paragraph(one.what, first="    ", width=TABLE)
    if one.note:
        lines += paragraph(f"note: {one.note}", first="    ", width=TABLE)
    sides = (("before", one.before), ("now", one.now))
    lines += [f"    {name:7} {_side(entry)}" for name, entry in sides if entry is not None]
    commands = {
        "again": one.command,
        "before": one.command_before,
        "compare": one.compare,
        "bisect": one.bisect,
    }
    return [*lines, *(f"    {name + ':':8} {text}" for name, text in commands.items() if text)]


def _side(entry: Entry) -> str:
    commit = f", commit {entry.commit[:12]}" if entry.commit else ""
    version = f"{entry.version}, " if entry.version not in entry.kernel_name else ""
    return one_line(f"{entry.kernel_name} ({version}kernel {entry.kernel_id}{commit}), {entry.run}")


def news_json(news: News) -> dict[str, Any]:
    """The same as plain data. Its fields are a promise to scripts."""
    return {
        "run": news.night.run,
        "finished": news.night.finished,
        "before": news.before.run,
        "new_regressions": len(news.alarms),
        "regressions": [_plain(one) for one in news.new],
        "failed_kernels": news.failed_kernels,
        "not_run": news.not_run,
        "damaged": list(news.damaged),
    }


def _plain(one: Regression) -> dict[str, Any]:
    cell, change = one.cell, one.change
    return {
        "kind": one.kind,
        "alarm": one.alarm,
        "case": cell.case,
        "machine": cell.machine,
        "kernel": cell.kernel,
        "series": cell.series,
        "kconfig": cell.kconfig,
        "clock": str(cell.clock),
        "what": one.what,
        "note": one.note,
        "metric": one.metric,
        "unit": change.at.unit if change else "",
        "value_before": change.before if change else None,
        "value_now": change.after if change else None,
        "change": change.change if change else None,
        "signature": " ".join(one.signature).strip(),
        "cells": one.cells,
        "good": _entry(one.before),
        "bad": _entry(one.now),
        "commands": [text for text in (one.command, one.command_before, one.compare, one.bisect) if text],
    }


def _entry(entry: Entry | None) -> dict[str, Any] | None:
    if entry is None:
        return None
    return {
        "run": entry.run,
        "trial": entry.key,
        "outcome": str(entry.outcome),
        "reason": entry.reason,
        "kernel": entry.exact,
        "kernel_name": entry.kernel_name,
        "kernel_id": entry.kernel_id,
        "version": entry.version,
        "commit": entry.commit,
    }


def grouped(found: Sequence[Regression]) -> list[list[Regression]]:
    """Regressions with the same two kernels belong into one mail."""
    groups: dict[tuple[str, ...], list[Regression]] = {}
    for one in found:
        before = one.before.kernel_id if one.before else ""
        key = (one.cell.kernel, one.cell.series, one.cell.kconfig, before, one.now.kernel_id)
        groups.setdefault(key, []).append(one)
    return list(groups.values())
