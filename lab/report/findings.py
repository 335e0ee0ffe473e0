# SPDX-License-Identifier: GPL-2.0-or-later
"""All that the reports show, gathered once from a run folder: every report tells the same story."""

from __future__ import annotations

import email.header
import email.parser
import email.policy
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from lab.compare.answer import WORKFLOW as ANSWER
from lab.compare.answer import judge_answer
from lab.compare.compare import compare
from lab.compare.debug import refuse_times
from lab.compare.nightly import judge_night
from lab.compare.pairs import BASE, PATCHED, newest_attempts
from lab.compare.repro import Confirmation, confirm, judge_repro
from lab.compare.verdict import judge, judge_run, same_bytes
from lab.errors import InfraError
from lab.report.bisect import judge_bisect
from lab.report.clean import one_line
from lab.results.bisect import WORKFLOW as BISECT
from lab.results.bisect import BisectRecord, read_bisect
from lab.results.models import (
    Comparison,
    Environment,
    KernelRecord,
    Outcome,
    RunRecord,
    Trial,
    Verdict,
)
from lab.results.night import WORKFLOW as NIGHTLY
from lab.results.night import NightRecord, read_night
from lab.results.repro import WORKFLOW as REPRO
from lab.results.repro import read_repro
from lab.results.runfolder import RunFolder

BEFORE_TRIALS = ("apply", "configure", "build")
"""Stages at which a workflow ends with a verdict of its own, because there is nothing to boot."""

MAX_SERIES = 8 << 20
MAX_PATCHES = 100


@dataclass(frozen=True)
class Findings:
    """A run with its comparisons and verdict."""

    run: RunFolder
    record: RunRecord
    trials: list[Trial]
    comparisons: list[Comparison]
    verdict: Verdict
    kernels: dict[str, KernelRecord] = field(default_factory=dict)
    damaged: list[str] = field(default_factory=list)  # one sentence for each file that could not be read
    subjects: list[str] = field(default_factory=list)  # of the patches
    confirmations: tuple[Confirmation, ...] = ()  # of the regressions that the run was to confirm
    night: NightRecord | None = None  # of the workflow nightly
    bisection: BisectRecord | None = None  # of the workflow bisect

    @property
    def is_pair(self) -> bool:
        """Whether two kernels stand against each other."""
        return compares_two(self.record, self.trials)

    @property
    def machines(self) -> list[str]:
        """The machines of the run, in plan order."""
        return list(dict.fromkeys([p.machine for p in self.record.plan] + [t.machine for t in self.trials]))

    @property
    def current(self) -> list[Trial]:
        """The newest attempt at each trial."""
        return newest_attempts(self.trials)

    @property
    def failed(self) -> list[Trial]:
        """The trials whose evidence a reader wants to see."""
        return [t for t in self.current if t.broken or t.outcome is Outcome.ERROR]

    @property
    def environments(self) -> list[Environment]:
        return [t.environment for t in self.current if t.environment is not None]

    @property
    def clocks(self) -> list[str]:
        """The clocks that the trials really ran on; before any ran, those that were planned."""
        ran = [str(environment.clock) for environment in self.environments]
        return list(dict.fromkeys(ran or [str(p.clock) for p in self.record.plan]))

    def kernel(self, role: str) -> KernelRecord | None:
        return self.kernels.get(self.record.kernels.get(role, ""))


def examine(run: RunFolder) -> Findings:
    """Read a run folder, compare and judge. Damaged trials are named and count as missing.

    Raises InfraError only if run.json itself, or what it is to confirm or to find, cannot be read.
    """
    record = run.read()
    trials, damaged = run.readable_trials()
    try:
        kernels = run.kernels()
    except InfraError as error:
        kernels = {}
        damaged.append(error.message)
    ran = [kernel for id_, kernel in kernels.items() if id_ in record.kernels.values()]
    comparisons = refuse_times(compare(record, trials), ran)
    confirmations: tuple[Confirmation, ...] = ()
    if record.workflow == REPRO:
        confirmations = confirm(read_repro(run), trials)
    night = _night(run, record, damaged)
    bisection = read_bisect(run) if record.workflow == BISECT else None
    return Findings(
        run=run,
        record=record,
        trials=trials,
        comparisons=comparisons,
        verdict=judge_bisect(bisection)
        if bisection is not None
        else _verdict(record, trials, comparisons, kernels, damaged, confirmations, night),
        kernels=kernels,
        damaged=damaged,
        subjects=patch_subjects(run, record),
        confirmations=confirmations,
        night=night,
        bisection=bisection,
    )


def _night(run: RunFolder, record: RunRecord, damaged: list[str]) -> NightRecord | None:
    """What a night knows beside its trials; told as damaged if it cannot be read."""
    if record.workflow != NIGHTLY:
        return None
    try:
        return read_night(run)
    except InfraError as error:
        damaged.append(error.message)
        return NightRecord(matrix="")


def compares_two(record: RunRecord, trials: list[Trial]) -> bool:
    roles = set(record.kernels) | {p.role for p in record.plan} | {t.role for t in trials}
    return bool(roles & {BASE, PATCHED})


def _verdict(
    record: RunRecord,
    trials: list[Trial],
    comparisons: list[Comparison],
    kernels: dict[str, KernelRecord],
    damaged: list[str],
    confirmations: Sequence[Confirmation],
    night: NightRecord | None,
) -> Verdict:
    if record.verdict is not None and record.verdict.stage in BEFORE_TRIALS:
        return record.verdict
    if night is not None:
        verdict = judge_night(record, night, trials)
    elif compares_two(record, trials):
        base, patched = (kernels.get(record.kernels.get(role, "")) for role in (BASE, PATCHED))
        verdict = judge(record, trials, comparisons, same_build=same_bytes(base, patched))
    elif record.workflow == ANSWER:
        verdict = judge_answer(record, trials)
    elif record.workflow == REPRO:
        verdict = judge_repro(confirmations)
    else:
        verdict = judge_run(record, trials)
    return verdict.model_copy(update={"reasons": (*verdict.reasons, *damaged)}) if damaged else verdict


def patch_subjects(run: RunFolder, record: RunRecord) -> list[str]:
    """The subjects of the kept series, without a cover letter; [] if there is none to read."""
    if not record.series:
        return []
    path = (run.path / record.series).resolve()
    if not path.is_relative_to(run.path.resolve()) or not path.is_file():
        return []
    with path.open("rb") as handle:
        text = handle.read(MAX_SERIES)
    mails = re.split(rb"^From (?=\S+ .*\d{4}$)", text, flags=re.MULTILINE)[: MAX_PATCHES + 1]
    parser = email.parser.BytesHeaderParser(policy=email.policy.compat32)
    found = [
        str(parser.parsebytes(mail.partition(b"\n")[2] if n else mail).get("Subject", ""))
        for n, mail in enumerate(mails)
    ]
    subjects = [one_line(_decoded(subject), limit=200) for subject in found if subject]
    return [subject for subject in subjects if not re.match(r"\[[^\]]*\b0+/\d+\]", subject)]


def _decoded(subject: str) -> str:
    try:
        return str(email.header.make_header(email.header.decode_header(subject)))
    except (LookupError, UnicodeError, ValueError):
        return subject
