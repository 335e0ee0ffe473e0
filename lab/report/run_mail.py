# SPDX-License-Identifier: GPL-2.0-or-later
"""What a run with two kernels found, as a regression mail."""

from __future__ import annotations

import shlex

from lab.compare.pairs import BASE, PATCHED, Cell, cells
from lab.errors import UserError
from lab.report.findings import Findings
from lab.report.mail import Evidence, Kernel, Mail, mail_text, number_row, percent_change, tree_name
from lab.results.models import BROKEN, Comparison, Decision, KernelRecord, Outcome, Trial

MAX_LOG = 40


def run_mail(findings: Findings) -> str:
    """The mail. UserError if the run has no two kernels, or nothing got worse."""
    if not findings.is_pair:
        raise UserError(
            f"run {findings.run.path.name} has no base and patched kernel",
            hint="of nights: lab regressions --mail OUT",
        )
    worse = [one for one in findings.comparisons if one.decision is Decision.WORSE]
    broken = [cell for cell in cells(findings.record, findings.trials) if _broke(cell)]
    if not worse and not broken:
        raise UserError("nothing got worse in this run: there is no regression to report")
    verdict, metric = _head(worse, broken)
    worst = _failing(broken[0]) if broken else None
    return mail_text(
        Mail(
            tree=tree_name(findings.record.base_source or "kernel"),
            verdict=verdict,
            metric=metric,
            good=_kernel(findings, findings.kernel(BASE), ""),
            bad=_kernel(findings, findings.kernel(PATCHED), findings.record.title),
            evidence=[*map(_ended, broken), *map(_compared, [*worse, *_others(findings, worse)])],
            details=_details(findings, worse, broken),
            log=worst.splats[0].excerpt.split("\n")[:MAX_LOG] if worst and worst.splats else (),
            reproduce=[shlex.join(("lab", *findings.record.command))],
            lab_version=findings.record.lab_version,
        )
    )


def _broke(cell: Cell) -> bool:
    """Did it pass before, and fail with the patch?"""
    before, after = cell.outcomes(BASE), cell.outcomes(PATCHED)
    return before == {Outcome.PASS} and any(trial.broken for trial in cell.patched) and bool(after & BROKEN)


def _failing(cell: Cell) -> Trial:
    return next(trial for trial in cell.patched if trial.broken)


def _head(worse: list[Comparison], broken: list[Cell]) -> tuple[str, str]:
    """Verdict and metric of the worst: what breaks before what costs more."""
    if broken:
        trial = _failing(broken[0])
        title = trial.splats[0].title if trial.splats else trial.reason
        return str(trial.outcome), f"{trial.case}: {title}"
    first = max(worse, key=lambda one: (one.gate, abs(one.change or 0.0)))
    return f"{percent_change(first.change)} regression".strip(), f"{first.case}.{first.metric}"


def _kernel(findings: Findings, kernel: KernelRecord | None, subject: str) -> Kernel:
    if kernel is None:
        return Kernel(findings.record.base_source or "n/a", subject=subject)
    # A series makes a kernel of its own of a release: that one's version would say that both are the same.
    return Kernel(kernel.name, "" if subject else kernel.version, "" if subject else kernel.commit, subject)


def _ended(cell: Cell) -> Evidence:
    base, patched = (sorted(str(one) for one in cell.outcomes(role)) for role in (BASE, PATCHED))
    return Evidence(f"{cell.case} [{cell.machine}]", "+".join(base), "+".join(patched), "")


def _compared(one: Comparison) -> Evidence:
    unit = "" if one.unit == "count" else f", {one.unit}"
    mark = "" if one.decision is Decision.WORSE else f" ({one.decision})"
    return number_row(f"{one.case}.{one.metric}{unit}{mark}", one.base, one.patched, one.change)


def _others(findings: Findings, worse: list[Comparison]) -> list[Comparison]:
    """The other metrics of the cases that got worse: a reader wants the gain beside the loss."""
    cases = {(one.case, one.machine) for one in worse}
    told = (Decision.BETTER, Decision.SAME)
    return [c for c in findings.comparisons if (c.case, c.machine) in cases and c.decision in told]


def _details(findings: Findings, worse: list[Comparison], broken: list[Cell]) -> list[tuple[str, str]]:
    cases = dict.fromkeys([*(cell.case for cell in broken), *(one.case for one in worse)])
    environment = findings.environments[0] if findings.environments else None
    base = findings.kernel(BASE)
    return [
        ("in testcase", ", ".join(cases)),
        ("on test machine", ", ".join(findings.machines)),
        ("clock", ", ".join(findings.clocks)),
        ("accelerator", environment.accelerator if environment else ""),
        ("QEMU", environment.qemu_version if environment else ""),
        ("compiler", base.compiler if base else ""),
        ("patches", "; ".join(findings.subjects)),
    ]
