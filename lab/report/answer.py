# SPDX-License-Identifier: GPL-2.0-or-later
"""The tables that answer a topic, in Markdown: a pure function of a run folder.

Nothing in them differs between two runs that saw the same but the date, which has a line of its own.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lab.compare.pairs import newest_attempts
from lab.compare.words import amount
from lab.report.clean import one_line
from lab.results.answer import Place, ToldColumn, ToldRow, ToldTable, TopicAnswer
from lab.results.models import Check, Clock, KernelRecord, Outcome, RunRecord, Trial

PLAIN = "stock"
"""How a row without a series is named."""

PROSE = 115
"""Columns of a sentence below a table, as the READMEs have it."""

MAX_WORDS = 100
"""Characters of a cell that quotes a guest or a reason."""

CLOCK_NOTES = {
    Clock.VIRTUAL: "virtual clock (insn: guest instructions)",
    Clock.REAL: "real clock (ns on hardware under KVM)",
    Clock.FUNCTIONAL: "functional clock (emulation in its own time: durations say nothing)",
}


@dataclass(frozen=True)
class Answered:
    """What a run says about one topic."""

    topic: str
    block: str  # Markdown, to stand between the markers of a README
    open: tuple[str, ...]  # why it is no answer yet: trials that the lab failed at, or has not run


def answer_block(
    topic: TopicAnswer, record: RunRecord, trials: Iterable[Trial], kernels: dict[str, KernelRecord]
) -> Answered:
    """All tables of a topic, each with its conditions, and the stamp."""
    found: dict[Place, Trial] = {(t.case, t.role, t.machine): t for t in newest_attempts(trials)}
    mine = [found[place] for place in sorted(topic.wanted) if place in found]
    parts = [_table(table, found) for table in topic.tables]
    parts.append(_stamp(topic, record, mine, kernels))
    return Answered(topic.topic, "\n\n".join(parts) + "\n", tuple(_holes(topic, found)))


def table_texts(table: ToldTable, found: dict[Place, Trial]) -> tuple[list[str], list[list[str]]]:
    """Head and rows, as plain text."""
    lead = _lead(table)
    head = [*lead.values(), *(column.title for column in table.columns)]
    rows = []
    for row in table.rows:
        trials = [found.get(row.place(column)) for column in table.columns]
        cells = [cell(column, trial) for column, trial in zip(table.columns, trials, strict=True)]
        if table.called:
            cells = _told_once(cells, trials)
        rows.append([str(getattr(row, name)) for name in lead] + cells)
    return head, rows


def _told_once(cells: Sequence[str], trials: Sequence[Trial | None]) -> list[str]:
    """Where a row is about one trial that broke, its first cell says why, and the others only that."""
    told: set[str] = set()
    short = []
    for text, trial in zip(cells, trials, strict=True):
        again = trial is not None and trial.key in told and text == _ending(trial)
        short.append(str(trial.outcome) if trial is not None and again else text)
        if trial is not None and (text == _ending(trial) or text.startswith("not ok: ")):
            told.add(trial.key)
    return short


def _lead(table: ToldTable) -> dict[str, str]:
    """What names a row, with its head: its case if it has one, the kernel, the series where there is one, the
    machine where there are several to choose from."""
    several = len({(row.title, row.machine) for row in table.rows}) > len({row.title for row in table.rows})
    patched = any(row.series != PLAIN for row in table.rows)
    told = {"title": bool(table.called), "kernel": True, "series": patched, "machine": several}
    return {name: table.called if name == "title" else name for name, there in told.items() if there}


def cell(column: ToldColumn, trial: Trial | None) -> str:
    """What a column says of a trial, in a line."""
    if trial is None:
        return "not run"
    if trial.outcome not in (Outcome.PASS, Outcome.FAIL):
        return _ending(trial)
    if column.metric:
        return _number(column.metric, trial)
    if column.check:
        return _check(next((c for c in trial.checks if c.name == column.check), None), column, trial)
    return _ending(trial)


def _number(metric: str, trial: Trial) -> str:
    measured = trial.value(metric)
    if measured is None:
        return "n/a" if trial.outcome is Outcome.PASS else _ending(trial)
    unit = "" if measured.unit == "count" else f" {measured.unit}"
    doubt = "" if trial.outcome is Outcome.PASS else f" ({trial.outcome})"
    return f"{amount(measured.value)}{unit}{doubt}"


def _check(check: Check | None, column: ToldColumn, trial: Trial) -> str:
    if check is None:
        return "n/a" if trial.outcome is Outcome.PASS else _ending(trial)
    if check.result == "ok":
        shown = (_words(check.detail) or "ok") if column.show == "detail" else "ok"
        # Another check that failed has a cell of its own; a complaint or a broken end is told nowhere else.
        told = trial.outcome is Outcome.PASS or (trial.stage == "run" and _some_check_failed(trial))
        return shown if told else f"{shown} ({_ending(trial)})"
    return ": ".join(filter(None, [check.result.replace("skip", "SKIP"), _words(check.detail)]))


def _some_check_failed(trial: Trial) -> bool:
    return any(check.result == "not ok" for check in trial.checks)


def _ending(trial: Trial) -> str:
    """The outcome and why; of a death or a complaint the kernel's own title, without the place in a log."""
    by_kernel = trial.outcome is Outcome.CRASH or trial.stage == "scan"
    why = trial.splats[0].title if by_kernel and trial.splats else _words(trial.reason)
    return f"{trial.outcome}: {why}" if why else str(trial.outcome)


def _words(text: str) -> str:
    line = one_line(re.sub(r" \(console\.log line [0-9]+\)", "", text), limit=4 * MAX_WORDS)
    return line if len(line) <= MAX_WORDS else line[: MAX_WORDS - 3].rstrip() + "..."


def _table(table: ToldTable, found: dict[Place, Trial]) -> str:
    head, rows = table_texts(table, found)
    told = [found[place] for place in table.places if place in found]
    numbers = [
        position >= len(head) - len(table.columns) and _numeric(row[position] for row in rows)
        for position in range(len(head))
    ]
    lines = [f"### {_escaped(table.title)}", "", _conditions(table.rows, told), ""]
    lines.append(_line(head))
    lines.append("|" + "|".join("---:" if right else "---" for right in numbers) + "|")
    lines += [_line(row) for row in rows]
    lines += [f"\n{_escaped(sentence)}" for sentence in table.left_out]
    return "\n".join([*lines, *(["", textwrap.fill(table.says, PROSE)] if table.says else [])])


def _conditions(rows: Sequence[ToldRow], trials: Sequence[Trial]) -> str:
    """Machines and clocks in a line."""
    machines = ", ".join(f"`{name}`" for name in dict.fromkeys(row.machine for row in rows))
    environments = [trial.environment for trial in trials if trial.environment is not None]
    clocks = sorted({environment.clock for environment in environments})
    word = "Machine" if len({row.machine for row in rows}) == 1 else "Machines"
    return "; ".join([f"{word} {machines}", *(CLOCK_NOTES[clock] for clock in clocks)]) + "."


def _numeric(cells: Iterable[str]) -> bool:
    """Are these numbers, whatever else stands in some of them?"""
    return any(re.match(r"[0-9]", text) for text in cells)


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(_escaped(text) for text in cells) + " |"


def _escaped(text: str) -> str:
    """Plain text in a Markdown table; what a guest said can be no markup, and no marker of ours."""
    return re.sub(r"([\\`*\[\]|])", r"\\\1", text.replace("&", "&amp;").replace("<", "&lt;"))


def _stamp(
    topic: TopicAnswer, record: RunRecord, trials: Sequence[Trial], kernels: dict[str, KernelRecord]
) -> str:
    """What was measured by what, when, and how to do it again."""
    records = [kernels[id_] for role in topic.roles if (id_ := record.kernels.get(role, "")) in kernels]
    names = dict.fromkeys(_kernel_name(kernel) for kernel in records)
    accelerators = sorted({t.environment.accelerator for t in trials if t.environment is not None})
    return (
        f"Kernels: {', '.join(names) or 'none'}. Accelerator: {', '.join(accelerators) or 'none'}.\n"
        f"Measured by faultlab {record.lab_version}; again: `lab answer {topic.topic}`.\n"
        f"Date: {record.created[:10]}"
    )


def _kernel_name(kernel: KernelRecord) -> str:
    """The exact version, without the series on top of it, and with what it was built with."""
    name = kernel.name.partition(" + ")[0]
    return f"{name} ({kernel.kconfig})" if kernel.kconfig and kernel.kconfig not in name else name


def _holes(topic: TopicAnswer, found: dict[Place, Trial]) -> Iterable[str]:
    for case, role, machine in sorted(topic.wanted):
        trial = found.get((case, role, machine))
        if trial is None:
            yield f"{case} on {machine}, kernel {role}: not run"
        elif trial.outcome is Outcome.ERROR:
            yield f"{case} on {machine}, kernel {role}: the lab failed: {one_line(trial.reason)}"
