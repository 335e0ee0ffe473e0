# SPDX-License-Identifier: GPL-2.0-or-later
"""report.html: one file, no script, no network, readable in light and dark mode."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.compare.words import amount
from lab.report.bisect import evidence_rows
from lab.report.clean import last_lines, one_line, visible
from lab.report.findings import Findings
from lab.report.latency import latency_plots
from lab.report.night import matrix_lines
from lab.report.repro import kernel_rows
from lab.report.rows import HEADER, NUMERIC, notes, rows
from lab.report.text import report_text, subject
from lab.report.timeline_section import timeline_sections
from lab.results.models import Environment, Trial

CONSOLE_LINES = 60
CONSOLE_WIDTH = 240
MAX_CONSOLES = 20
MAX_ROWS = 2000
"""Rows of the lists of trials and of regressions; a longer run is told so."""


@dataclass(frozen=True)
class Failed:
    """A trial that did not pass, with its evidence."""

    trial: Trial
    console: list[str]


@dataclass(frozen=True)
class Command:
    """How QEMU was started for one kernel on one machine."""

    name: str
    qemu: str
    kernel: str  # command line of the guest's kernel


def report_html(findings: Findings) -> str:
    """The whole page. Every string from a guest is escaped and loses its control characters."""
    from jinja2 import Environment as Jinja
    from jinja2 import FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    jinja = Jinja(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    jinja.filters["line"] = _line
    jinja.filters["amount"] = amount
    jinja.filters["text"] = _text
    # The drawing is markup of our own; lab.report.svg escapes the words in it.
    jinja.filters["drawing"] = Markup
    table, confirmed = rows(findings), kernel_rows(findings.confirmations)
    searched = evidence_rows(findings.bisection) if findings.bisection is not None else []
    return jinja.get_template("report.html.j2").render(
        f=findings,
        title=findings.record.title or findings.record.workflow,
        header=HEADER,
        numeric=NUMERIC,
        rows=table,
        notes=notes(table),
        regressions=confirmed[:MAX_ROWS],
        more_regressions=len(confirmed[MAX_ROWS:]),
        searched=searched[:MAX_ROWS],
        more_searched=len(searched[MAX_ROWS:]),
        mail=report_text(findings) if findings.bisection is not None else "",
        plots=latency_plots(findings),
        timelines=timeline_sections(findings),
        subject=subject(findings),
        environment=_environment(findings.environments),
        trials=findings.current[:MAX_ROWS],
        failed=_failed(findings),
        commands=_commands(findings),
        matrix="\n".join(matrix_lines(findings)),
        repeat=shlex.join(("lab", *findings.record.command)),
    )


def _line(value: Any, limit: int = 300) -> str:
    return one_line(str(value), limit=limit)


def _text(value: Any, limit: int = 4096) -> str:
    return visible(str(value), limit=limit)


def _failed(findings: Findings) -> list[Failed]:
    found = []
    for trial in findings.failed[:MAX_CONSOLES]:
        log = findings.run.trial_path(trial.key) / "console.log"
        found.append(Failed(trial, last_lines(log, lines=CONSOLE_LINES, width=CONSOLE_WIDTH)))
    return found


def _environment(environments: list[Environment]) -> list[tuple[str, str]]:
    """What was the same for all trials as one value, what was not as all its values."""
    names = {
        "accelerator": "accelerator",
        "accelerator_reason": "why this accelerator",
        "nesting": "nesting level",
        "qemu_version": "QEMU",
        "memory_backing": "guest memory",
        "host_kernel": "host kernel",
        "host_cpu": "host CPU",
        "host_cpus": "host CPUs",
        "lab_version": "faultlab",
    }
    told = []
    for field, name in names.items():
        values = list(dict.fromkeys(str(getattr(e, field)) for e in environments))
        if values:
            told.append((name, "; ".join(values[:5])))
    return told


def _commands(findings: Findings) -> list[Command]:
    """One command for each kernel and machine: that of its first trial."""
    seen: dict[tuple[str, str], Command] = {}
    for trial in findings.current:
        key = (trial.role, trial.machine)
        if trial.environment is not None and key not in seen:
            name = f"{trial.role} on {trial.machine} (trials/{trial.key})"
            seen[key] = Command(
                name, shlex.join(trial.environment.qemu_argv), trial.environment.guest_cmdline
            )
            if outer := trial.environment.outer_qemu_argv:
                at = outer.index("-append") + 1 if "-append" in outer else 0
                name = f"the nested lab host around {name}"
                seen[key[0], f"{key[1]} outer"] = Command(name, shlex.join(outer), outer[at])
    return list(seen.values())
