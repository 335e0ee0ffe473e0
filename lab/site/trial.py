# SPDX-License-Identifier: GPL-2.0-or-later
"""What the page of one trial shows: everything in it may come from a guest, so all of it is bounded."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.report.clean import last_lines, one_line, visible
from lab.report.latency import UNITS
from lab.report.rows import CLOCK_WORDS
from lab.report.samples import FILE_NAME, BadSamples, read_touches
from lab.report.svg import Series, latency_plot
from lab.report.untrusted import open_regular
from lab.results.models import BROKEN, CaseRecord, Check, Clock, Environment, KernelRecord, Outcome, Trial
from lab.site.names import homely

CONSOLE_LINES = {True: 400, False: 60}
"""Last lines of the console: of a trial that is looked at for how it ended, and of one that passed."""

CONSOLE_WIDTH = 200
CONSOLE_BYTES = {True: 64 << 10, False: 8 << 10}
MAX_RAW_CONSOLE = 1 << 20
"""Bytes of console.log that are copied beside the page; of a longer one its beginning and its end."""

COLUMNS = 200
"""Of the drawing of a trial: half as fine as in a report, because a site has thousands of them."""

MAX_CHECKS = 200
MAX_COMMAND = 20_000


@dataclass(frozen=True)
class Number:
    """One measurement with all that says what it means."""

    metric: str
    title: str
    value: float | None  # None: n/a
    unit: str
    clock: str
    accelerator: str
    note: str = ""  # "never judged", or why it is n/a


@dataclass(frozen=True)
class TrialView:
    """One trial, ready to be shown."""

    trial: Trial
    case: CaseRecord | None
    kernel: KernelRecord | None
    numbers: list[Number]
    checks: list[Check]
    more_checks: int  # left out
    facts: list[tuple[str, str]]
    command: str  # qemu.cmd
    plot: str  # markup of our own
    plot_note: str
    console: list[str]
    raw_console: bytes | None  # to be written beside the page; None for a trial that passed


def read_trial_view(
    folder: Path,
    trial: Trial,
    case: CaseRecord | None,
    kernel: KernelRecord | None,
    *,
    brief: bool = False,
) -> TrialView:
    """Read what lies in the trial's folder. Missing or odd files leave their place empty, and are said so.

    With `brief` a trial that failed has no more of its console than one that passed.
    """
    looked_at = trial.outcome not in (Outcome.PASS, Outcome.SKIP) and not brief
    plot, note = _plot(folder, trial, case, kernel)
    checks = sorted(trial.checks, key=lambda check: check.result != "not ok")
    return TrialView(
        trial=trial,
        case=case,
        kernel=kernel,
        numbers=_numbers(trial, case, kernel),
        checks=checks[:MAX_CHECKS],
        more_checks=max(0, len(checks) - MAX_CHECKS),
        facts=_facts(trial, kernel),
        # A shell finds the cache of whoever reads this: in the words of qemu.cmd, $HOME stands in no quotes.
        command=visible(homely(_start_of(folder / "qemu.cmd", MAX_COMMAND), "$HOME"), limit=MAX_COMMAND),
        plot=plot,
        plot_note=note,
        console=last_lines(
            folder / "console.log",
            lines=CONSOLE_LINES[looked_at],
            width=CONSOLE_WIDTH,
            tail=CONSOLE_BYTES[looked_at],
        ),
        raw_console=_raw(folder / "console.log") if looked_at else None,
    )


def _numbers(trial: Trial, case: CaseRecord | None, kernel: KernelRecord | None) -> list[Number]:
    """What was measured; then what the case declares and this trial does not have, as n/a."""
    accelerator = trial.environment.accelerator if trial.environment else "none"
    declared = case.metrics if case else {}
    debug = bool(kernel and kernel.debug_options)
    found = []
    for one in trial.measurements[:100]:
        title = declared[one.metric].title if one.metric in declared else one.metric
        time = one.unit in ("insn", "ns")
        note = (
            "wall time under emulation: never judged"
            if one.clock is Clock.FUNCTIONAL
            else "a debug kernel: its times mean nothing"
            if debug and time
            else ""
        )
        found.append(Number(one.metric, title, one.value, one.unit, str(one.clock), accelerator, note))
    had = {one.metric for one in trial.measurements}
    for name, metric in declared.items():
        if name not in had:
            clock = trial.clock if metric.unit == "time" else Clock.COUNT
            found.append(
                Number(name, metric.title, None, "", str(clock), accelerator, "this trial did not give it")
            )
    return found


def _facts(trial: Trial, kernel: KernelRecord | None) -> list[tuple[str, str]]:
    """Names and values for the table of the environment; empty values are left out."""
    facts = [
        ("kernel", kernel.name if kernel else trial.kernel),
        ("release", kernel.release if kernel else ""),
        ("kernel id", trial.kernel),
        ("made from", kernel.source if kernel else ""),
        ("configuration", kernel.kconfig if kernel else ""),
        ("debug options", ", ".join(kernel.debug_options) if kernel else ""),
        ("compiler", kernel.compiler if kernel else ""),
        ("clock", CLOCK_WORDS[trial.clock]),
    ]
    if trial.environment is not None:
        facts += _conditions(trial.environment)
    return [(name, one_line(value, limit=1000)) for name, value in facts if value]


def _conditions(environment: Environment) -> list[tuple[str, str]]:
    return [
        ("accelerator", f"{environment.accelerator}: {environment.accelerator_reason}"),
        ("nesting level", str(environment.nesting)),
        ("QEMU", environment.qemu_version),
        ("kernel command line", environment.guest_cmdline),
        ("guest memory", environment.memory_backing),
        ("host kernel", environment.host_kernel),
        ("host CPU", f"{environment.host_cpu}, {environment.host_cpus} of them"),
        ("faultlab", environment.lab_version),
    ]


def _plot(
    folder: Path, trial: Trial, case: CaseRecord | None, kernel: KernelRecord | None
) -> tuple[str, str]:
    """The latency of every touch, and what must be said with it."""
    if FILE_NAME not in trial.samples:
        return "", ""
    try:
        touches = read_touches(folder / "samples" / FILE_NAME)
    except BadSamples as error:
        return "", f"Not drawn: {one_line(str(error))}."
    label = one_line(kernel.name if kernel else trial.kernel, limit=60)
    title = f"{trial.case} on {trial.machine}: {one_line(case.title if case else trial.case)}"
    shape = "Wall time under emulation: shows the shape, is never judged."
    note = shape if trial.clock is Clock.FUNCTIONAL else ""
    unit = UNITS.get(trial.clock, "ns")
    one = [Series("kernel", label, touches)]
    drawing = latency_plot(one, title=title, unit=unit, ident="touches", columns=COLUMNS)
    return drawing, note


def _start_of(path: Path, size: int) -> str:
    try:
        with open_regular(path) as file:
            return file.read(size).decode(errors="replace")
    except OSError:
        return ""


def _raw(path: Path) -> bytes | None:
    """The console as the guest sent it; the middle of a very long one is left out, and the gap says so."""
    half = MAX_RAW_CONSOLE // 2
    try:
        with open_regular(path) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            if size <= MAX_RAW_CONSOLE:
                return file.read(MAX_RAW_CONSOLE)
            head = file.read(half)
            file.seek(size - half)
            return head + b"\n[... %d bytes left out ...]\n" % (size - 2 * half) + file.read(half)
    except OSError:
        return None


def broken(trials: Sequence[Trial]) -> bool:
    """Does a reader want to see the evidence?"""
    return any(trial.outcome in BROKEN or trial.outcome is Outcome.ERROR for trial in trials)
