# SPDX-License-Identifier: GPL-2.0-or-later
"""The verdict on a run that answers a question: was it answered? How the kernels fared is the answer."""

from __future__ import annotations

from collections.abc import Sequence

from lab.compare.pairs import newest_attempts
from lab.compare.words import counted
from lab.results.models import Conclusion, Outcome, RunRecord, Trial, Verdict

WORKFLOW = "answer"


def judge_answer(record: RunRecord, trials: Sequence[Trial]) -> Verdict:
    """PASS when every planned trial ended by itself, in whatever way; else INCONCLUSIVE."""
    current = newest_attempts(trials)
    done = {trial.key for trial in current if trial.outcome is not Outcome.ERROR}
    errors = [trial for trial in current if trial.outcome is Outcome.ERROR]
    holes = [f"{t.case} on {t.machine}, kernel {t.role}: the lab failed: {t.reason}" for t in errors]
    missing = len({planned.key for planned in record.plan} - done) - len(errors)
    if missing > 0:
        holes.append(f"{missing} of {counted(len(record.plan), 'planned trial')} without a result")
    if holes:
        return Verdict(verdict=Conclusion.INCONCLUSIVE, stage="run", reasons=tuple(holes))
    ends = [str(trial.outcome) for trial in current]
    told = ", ".join(f"{ends.count(kind)} {kind}" for kind in sorted(set(ends)))
    text = f"{counted(len(current), 'trial')} ran ({told}); how each ended is in the tables"
    return Verdict(verdict=Conclusion.PASS, stage="run", reasons=(text,))
