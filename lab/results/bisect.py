# SPDX-License-Identifier: GPL-2.0-or-later
"""What a bisection knows beside its trials.

RUN/bisect.json      what was asked, the history that is searched, and the result when there is one
RUN/bisect.log       every observation, one JSON object a line, in order; the search follows from it
RUN/git-bisect.log   the same for `git bisect replay`, where the history is a git repository's
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import StringConstraints, model_validator

from lab.results.conditions import conditions_digest
from lab.results.models import Clock, Outcome, Record, Subject, Trial
from lab.results.runfolder import RunFolder, read_record, write_record

WORKFLOW = "bisect"
"""RunRecord.workflow of a bisection."""

FILE_NAME = "bisect.json"
LOG_NAME = "bisect.log"
GIT_LOG_NAME = "git-bisect.log"

Kind = Literal["versions", "commits", "series"]

# A log may be a stranger's: what becomes part of a path holds no way out of the run folder.
Role = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9.+-]{0,80}$")]
CommitName = Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{40}|[0-9a-f]{64})?$")]
SeriesPath = Annotated[str, StringConstraints(pattern=r"^(series/[A-Za-z0-9_-][A-Za-z0-9._-]*\.mbox)?$")]
MAX_NODES = 40_000


class Node(Record):
    """One kernel of the history."""

    role: Role  # in the run; fit to be part of a file name
    name: str  # as people call it: "6.12.115-1", "1f2e3d4c5b6a", "patch 3"
    subject: Subject  # how it is obtained
    title: str = ""  # of the commit or patch
    commit: CommitName = ""  # in full
    parents: tuple[int, ...] = ()  # positions in the history; each smaller than its own
    suspect: bool = True  # could it be the one that is looked for?
    lost: str = ""  # why it is known beforehand that it cannot be had
    others: tuple[str, ...] = ()  # names of further builds of the same source, which are left out


class Question(Record):
    """What is asked of the history."""

    kind: Kind
    case: str
    machine: str
    clock: Clock
    good: str  # as it was asked for
    bad: str
    find_fix: bool = False  # the failure is in the old end, and what ended it is looked for
    signature: str = ""  # words of the complaint that counts; "": that of the bad end, if it crashes
    metric: str = ""  # "": by outcome
    threshold: str = ""  # a number, or "midway"
    error: float = 0.01  # how probable a wrong answer may be
    always: bool = False  # the asker says that it shows in every boot: one is proof
    tree: str = ""  # repository of the commits
    first_parent: bool = False
    paths: tuple[str, ...] = ()
    series: SeriesPath = ""  # of its mbox in the run
    topics: tuple[str, ...] = ()  # path patterns of the kernel source that the case is about


class Seen(Record):
    """One boot, as far as a bisection cares. In the log: `"event": "trial"`."""

    event: Literal["trial"] = "trial"
    role: str
    key: str  # of the trial
    kernel: str = ""  # KernelRecord.id
    outcome: Outcome
    stage: str = ""
    reason: str = ""
    complaints: tuple[str, ...] = ()  # titles of what the kernel complained of, the fatal one first
    value: float | None = None  # of the metric
    unit: str = ""
    clock: Clock = Clock.VIRTUAL  # that the trial really ran on
    exact: bool = True  # another boot would be the same boot
    conditions: str = ""  # conditions_digest() of the trial


class Skipped(Record):
    """A kernel that cannot be tested. In the log: `"event": "skip"`."""

    event: Literal["skip"] = "skip"
    role: str
    why: str


class Same(Record):
    """Two kernels that were built to the same bytes. In the log: `"event": "same"`."""

    event: Literal["same"] = "same"
    role: str
    other: str  # that was there before


Event = Seen | Skipped | Same


class Row(Record):
    """What was found about one kernel, for the evidence table."""

    role: str
    verdict: Literal["good", "bad", "open", "skip", "same"]
    shown: int  # boots in which the failure showed
    boots: int  # that said anything
    values: tuple[float, ...] = ()
    says: str = ""  # the outcome, or why it was skipped
    other: str = ""  # role of the kernel whose bytes it has, if it is "same"


class Result(Record):
    """How the bisection ended."""

    status: Literal["found", "unclear", "refused"]
    sentence: str
    reasons: tuple[str, ...] = ()
    culprit: int | None = None  # position of the first bad (or first fixed) kernel
    before: int | None = None  # position of the last one that was seen to be different
    left: tuple[int, ...] = ()  # positions between which nothing tells, if it is unclear
    error: float | None = None  # probability that it is wrong, as far as the boots tell
    exact: bool = False  # on a clock that repeats itself: one boot is proof
    rate: tuple[float, float, float] | None = None  # share of boots that show it: estimate, 95 % from, to
    by: str = ""  # what counted as bad, in words
    unit: str = ""
    threshold: float | None = None
    rows: tuple[Row, ...] = ()  # in the order of the history
    changes: tuple[str, ...] = ()  # changelog entries that touch what the case is about
    changes_from: str = ""  # where they were read, or why there are none
    changes_more: int = 0  # entries that are about something else
    kernels: int = 0  # booted
    boots: int = 0
    seconds: float = 0.0  # of this process
    obtaining_seconds: float = 0.0  # of them in which nothing but obtaining kernels went on
    booting_seconds: float = 0.0  # of them in which guests ran


class BisectRecord(Record):
    """bisect.json."""

    question: Question
    nodes: tuple[Node, ...]  # oldest first
    result: Result | None = None

    @model_validator(mode="after")
    def _is_a_history(self) -> Self:
        """Positions lie in the history, roles are told apart, and files of a series are those of this run."""
        if not 2 <= len(self.nodes) <= MAX_NODES:
            raise ValueError(f"a history of {len(self.nodes)} kernels")
        for position, node in enumerate(self.nodes):
            if any(not 0 <= parent < position for parent in node.parents) or bool(position) != bool(
                node.parents
            ):
                raise ValueError(f"the parents of kernel {position} are not before it")
            if any(name != f"series/first-{position}.mbox" for name in node.subject.mboxes):
                raise ValueError(f"kernel {position} has a series of another")
        roles = {node.role for node in self.nodes}
        if len(roles) < len(self.nodes):
            raise ValueError("two kernels have one role")
        if self.result is not None:
            places = [*self.result.left, self.result.culprit or 0, self.result.before or 0]
            if any(not 0 <= place < len(self.nodes) for place in places):
                raise ValueError("the result is not in the history")
            if any(row.role not in roles for row in self.result.rows):
                raise ValueError("the result tells of a kernel that is not in the history")
        return self


def read_bisect(run: RunFolder) -> BisectRecord:
    """InfraError if the run has none, or a damaged one."""
    return read_record(run.path / FILE_NAME, BisectRecord)


def write_bisect(run: RunFolder, record: BisectRecord) -> None:
    write_record(run.path / FILE_NAME, record)


def seen_of(trial: Trial, metric: str) -> Seen:
    """The part of a trial that a bisection goes by."""
    measured = trial.value(metric) if metric else None
    clock = measured.clock if measured else trial.clock
    ran_on = trial.environment.clock if trial.environment else trial.clock
    fatal = [splat.title for splat in trial.splats if splat.kind in ("panic", "oops")]
    others = [splat.title for splat in trial.splats if splat.title not in fatal]
    return Seen(
        role=trial.role,
        key=trial.key,
        kernel=trial.kernel,
        outcome=trial.outcome,
        stage=trial.stage,
        reason=trial.reason[:400],
        complaints=tuple((*fatal, *others)[:20]),
        value=measured.value if measured else None,
        unit=measured.unit if measured else "",
        clock=clock,
        # A deadline is of the host's time: a boot that missed it may have been held up by the host.
        exact=ran_on is Clock.VIRTUAL and trial.outcome is not Outcome.TIMEOUT,
        conditions=conditions_digest(trial),
    )
