# SPDX-License-Identifier: GPL-2.0-or-later
"""What do finished trials say? Runs nothing."""

from __future__ import annotations

from lab.compare.compare import compare
from lab.compare.debug import refuse_times
from lab.compare.two_runs import as_pair
from lab.compare.verdict import judge, same_bytes
from lab.errors import UserError
from lab.report.findings import Findings, examine
from lab.results.runfolder import RunFolder


def compare_runs(first: str, second: str | None) -> Findings:
    """The findings of one run with two kernels, or of two runs with one kernel each."""
    run = RunFolder.find(first)
    if second is None:
        findings = examine(run)
        if not findings.is_pair:
            raise UserError(
                f"run {run.path.name} has one kernel: there is nothing to compare", hint="name a second run"
            )
        return findings
    return _across(run, RunFolder.find(second))


def _across(base: RunFolder, patched: RunFolder) -> Findings:
    before, after = examine(base), examine(patched)
    record, trials = as_pair(before.record, before.trials, after.record, after.trials)
    kernels = before.kernels | after.kernels
    ran = [kernels[one] for one in record.kernels.values() if one in kernels]
    comparisons = refuse_times(compare(record, trials), ran)
    same = same_bytes(*(kernels.get(record.kernels.get(role, "")) for role in ("base", "patched")))
    return Findings(
        run=base,
        record=record,
        trials=trials,
        comparisons=comparisons,
        verdict=judge(record, trials, comparisons, same_build=same),
        kernels=kernels,
        damaged=[*before.damaged, *after.damaged],
    )
