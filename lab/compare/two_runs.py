# SPDX-License-Identifier: GPL-2.0-or-later
"""Two runs of one kernel each, made into one comparison: what `lab compare A B` judges."""

from __future__ import annotations

from collections.abc import Sequence

from lab.compare.pairs import BASE, PATCHED
from lab.errors import UserError
from lab.results.models import RunRecord, Trial


def as_pair(
    base: RunRecord, base_trials: Sequence[Trial], patched: RunRecord, patched_trials: Sequence[Trial]
) -> tuple[RunRecord, list[Trial]]:
    """Relabel the kernel of the first run "base" and that of the second "patched".

    Only cases and machines that both runs planned are compared; an edited case shows as undecided. Raises
    UserError if a run has more than one kernel, or the runs have no case in common.
    """
    for record in (base, patched):
        if len(record.kernels) != 1:
            raise UserError(
                f"run {record.id} has {len(record.kernels)} kernels, not one",
                hint="`lab compare RUN` compares the kernels inside one run",
            )
    shared = {(p.case, p.machine) for p in base.plan} & {(p.case, p.machine) for p in patched.plan}
    if not shared:
        raise UserError(f"runs {base.id} and {patched.id} have no case on the same machine in common")
    # No boot of one run ran next to one of the other: none is the other's pair.
    apart = max(planned.repeat for planned in base.plan)
    plan, trials = [], []
    for role, record, found in ((BASE, base, base_trials), (PATCHED, patched, patched_trials)):
        later = apart if role == PATCHED else 0
        plan += [
            planned.model_copy(
                update={"role": role, "key": f"{role}/{planned.key}", "repeat": planned.repeat + later}
            )
            for planned in record.plan
            if (planned.case, planned.machine) in shared
        ]
        trials += [
            trial.model_copy(
                update={"role": role, "key": f"{role}/{trial.key}", "repeat": trial.repeat + later}
            )
            for trial in found
            if (trial.case, trial.machine) in shared
        ]
    kernels = {BASE: next(iter(base.kernels.values())), PATCHED: next(iter(patched.kernels.values()))}
    joined = patched.model_copy(
        update={"plan": tuple(plan), "kernels": kernels, "cases": base.cases | patched.cases, "verdict": None}
    )
    return joined, trials
