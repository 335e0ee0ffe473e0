# SPDX-License-Identifier: GPL-2.0-or-later
"""Plain text: the table at the end of a run, and report.txt, fit to be pasted into a mail."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence

from lab.compare.pairs import BASE, PATCHED
from lab.compare.words import amount
from lab.report.bisect import bisect_text
from lab.report.clean import last_lines, one_line, plain
from lab.report.findings import Findings
from lab.report.layout import PROSE, bullets, facts, paragraph, table
from lab.report.night import matrix_lines
from lab.report.repro import repro_lines
from lab.report.rows import CLOCK_WORDS, HEADER, NUMERIC, notes, rows
from lab.results.models import Clock, Environment, Outcome, Trial

MAX_FAILED = 10
"""Failed trials shown with their console; more are only counted."""

CONSOLE_LINES = 15


def render_table(findings: Findings) -> str:
    """What ends a comparison on a terminal: the table, the verdict with its reasons, the run folder."""
    return _screen(findings, comparison_lines(findings))


def render_run(findings: Findings) -> str:
    """What ends a run of a single kernel: each trial with its outcome, numbers and reason; the verdict."""
    return _screen(findings, _shown(findings))


def _screen(findings: Findings, shown: list[str]) -> str:
    left_out = {"machine"}
    if findings.confirmations:  # the table has them already, two for each regression
        left_out |= set(findings.record.kernels)
    kernels = [pair for pair in _kernels(findings) if pair[0] not in left_out]
    under = facts([*kernels, *_conditions(findings.environments)[:1]])
    parts = [shown, _verdict(findings), under, [f"run: {findings.run.path}"]]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def report_text(findings: Findings) -> str:
    """report.txt: prose of at most 75 columns around the table, all in ASCII."""
    record = findings.record
    if findings.bisection is not None:
        return bisect_text(record, findings.bisection, findings.environments, str(findings.run.path))
    title = one_line(record.title or record.workflow, limit=60)
    parts = [
        [plain(f"{findings.verdict.verdict}: {title}")],
        _verdict(findings),
        [
            "What was compared" if findings.is_pair else "What was run",
            *facts(_kernels(findings) + _conditions(findings.environments)),
        ],
        comparison_lines(findings) if findings.is_pair else _shown(findings),
        _failed(findings),
        _damaged(findings),
        [
            "To repeat it",
            f"  {plain(shlex.join(('lab', *record.command)))}",
            *paragraph(f"The evidence is run {record.id}, kept by faultlab {record.lab_version}."),
        ],
    ]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def comparison_lines(findings: Findings) -> list[str]:
    """The one table, each case named once, with what its marks mean."""
    found = rows(findings)
    if not found:
        return []
    shown, previous = [], ""
    for row in found:
        texts = row.texts
        shown.append(("" if row.case == previous else texts[0], *texts[1:]))
        previous = row.case
    remarks = bullets(notes(found))
    return [*table(HEADER, shown, right=NUMERIC), *(["", *remarks] if remarks else [])]


def _shown(findings: Findings) -> list[str]:
    """What a run that compares nothing has to show."""
    if findings.night is not None:
        return matrix_lines(findings)
    return repro_lines(findings.confirmations) if findings.confirmations else _trials(findings)


def _trials(findings: Findings) -> list[str]:
    several = len({trial.role for trial in findings.current}) > 1
    shown, remarks = [], []
    for trial in findings.current:
        numbers = [
            (name, f"{amount(value)} {unit}".rstrip()) for name, value, unit in _numbers(findings, trial)
        ]
        outcome = f"{trial.outcome}, as expected" if trial.as_expected else str(trial.outcome)
        head = (trial.case, *([trial.role] if several else []), trial.machine, outcome)
        for position, (name, value) in enumerate(numbers or [("", "")]):
            shown.append((*(head if position == 0 else [""] * len(head)), name, value))
        told = [trial.reason, *(note for note in trial.notes if note.startswith("timeline: "))]
        on = f"{trial.machine}, kernel {trial.role}" if several else trial.machine
        remarks += [f"{trial.case} on {on}: {words}" for words in told if words]
    if not shown:
        return []
    header = ("case", *(["kernel"] if several else []), "machine", "outcome", "metric", "value")
    lines = table(header, shown, right=(len(header) - 1,))
    return [*lines, *(["", *bullets(remarks)] if remarks else [])]


def _numbers(findings: Findings, trial: Trial) -> list[tuple[str, float | None, str]]:
    """What the trial measured; None for metrics of its case that could not be had."""
    case = findings.record.cases.get(trial.case)
    titles = {name: metric.title for name, metric in case.metrics.items()} if case else {}
    found: list[tuple[str, float | None, str]] = [
        (titles.get(m.metric, m.metric), m.value, m.unit) for m in trial.measurements
    ]
    if trial.outcome is Outcome.PASS:
        found += [(title, None, "") for name, title in titles.items() if trial.value(name) is None]
    return found


def _verdict(findings: Findings) -> list[str]:
    verdict = findings.verdict
    head = f"verdict: {verdict.verdict} (stage {verdict.stage}, exit code {verdict.exit_code})"
    return [head, *bullets(verdict.reasons)]


def subject(findings: Findings) -> list[tuple[str, str]]:
    """Names and values of all that a reader must know to trust the numbers."""
    record, pairs = findings.record, []
    for role in (BASE, PATCHED) if findings.is_pair else tuple(record.kernels):
        kernel = findings.kernel(role)
        if kernel:
            rebuilt = ", ".join(sorted(kernel.replaced_modules))
            built = f"; rebuilt: {rebuilt} ({kernel.module_compiler})" if rebuilt else ""
            pairs.append((role, f"{kernel.name} ({kernel.release}, {kernel.version}){built}"))
    pairs.append(("why this base", record.base_choice))
    pairs += [("patch" if n == 0 else "", subject) for n, subject in enumerate(findings.subjects)]
    pairs.append(("machine", ", ".join(findings.machines)))
    pairs += [("clock", CLOCK_WORDS[Clock(clock)]) for clock in findings.clocks]
    return pairs


def _kernels(findings: Findings) -> list[tuple[str, str]]:
    """The subject; a night's matrix names its kernels itself, of which there may be many."""
    own = set() if findings.night is None else set(findings.record.kernels)
    return [pair for pair in subject(findings) if pair[0] not in own]


def _conditions(environments: Sequence[Environment]) -> list[tuple[str, str]]:
    """What the guests ran on."""
    return [
        ("accelerator", _told(f"{e.accelerator}: {e.accelerator_reason}" for e in environments)),
        ("QEMU", _told(e.qemu_version for e in environments)),
        ("host", _told(f"{e.host_kernel}, {e.host_cpus} x {e.host_cpu}" for e in environments)),
    ]


def _told(values: Iterable[str]) -> str:
    """The distinct values; of more than three, three and a count."""
    distinct = list(dict.fromkeys(values))
    more = f" and {len(distinct) - 3} others" if len(distinct) > 3 else ""
    return "; ".join(distinct[:3]) + more


def _failed(findings: Findings) -> list[str]:
    failed = findings.failed
    lines: list[str] = ["Trials that did not pass"] if failed else []
    for trial in failed[:MAX_FAILED]:
        lines += ["", *_failed_trial(findings, trial)]
    if len(failed) > MAX_FAILED:
        lines += ["", f"  and {len(failed) - MAX_FAILED} more, see report.html or the run folder"]
    return lines


def _failed_trial(findings: Findings, trial: Trial) -> list[str]:
    head = (
        f"{trial.case} on {trial.machine}, {trial.role} kernel: {trial.outcome} at stage {trial.stage or '?'}"
    )
    lines = paragraph(head, first="  ")
    if trial.reason:
        lines += paragraph(trial.reason, first="    ")
    for splat in trial.splats[:3]:
        lines += paragraph(
            f"{splat.kind}: {splat.title} (console.log line {splat.line})", first="    splat: "
        )
    if trial.outcome is Outcome.FAIL:
        bad = [check for check in trial.checks if check.result == "not ok"]
        for check in bad[:5]:
            lines += paragraph(f"not ok: {check.name} {check.detail}", first="    ")
    console = last_lines(
        findings.run.trial_path(trial.key) / "console.log", lines=CONSOLE_LINES, width=PROSE - 6
    )
    if console:
        lines += [f"    last lines of trials/{trial.key}/console.log:"]
        lines += [f"    | {plain(line)}" for line in console]
    return [plain(line) for line in lines]


def _damaged(findings: Findings) -> list[str]:
    if not findings.damaged:
        return []
    return ["Damaged files, counted as missing", *bullets(findings.damaged)]
