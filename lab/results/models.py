# SPDX-License-Identifier: GPL-2.0-or-later
"""What was observed. These models are the narrow waist: running writes them, judging reads them."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """A frozen fact that survives a round trip through JSON; unknown fields are an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Outcome(StrEnum):
    """How a trial ended. Only ERROR is the lab's fault, and only ERROR is tried again."""

    PASS = "PASS"
    FAIL = "FAIL"  # the workload said so, or the kernel log has a splat
    SKIP = "SKIP"  # cannot mean anything on this kernel or machine; the reason says why
    CRASH = "CRASH"  # the kernel died: panic, oops, BUG, or a reset without a word
    TIMEOUT = "TIMEOUT"  # a deadline passed while the guest was alive
    ERROR = "ERROR"  # the lab or the host failed: no statement about the kernel


BROKEN = frozenset({Outcome.FAIL, Outcome.CRASH, Outcome.TIMEOUT})
"""Outcomes that the kernel under test answers for."""


class Clock(StrEnum):
    """What a number means (docs/architecture.md, Clocks)."""

    VIRTUAL = "virtual"  # guest instructions under -icount; exact
    REAL = "real"  # nanoseconds under KVM on hardware; judged with statistics
    COUNT = "count"  # events; exact everywhere
    FUNCTIONAL = "functional"  # wall time under emulation: recorded, never judged


Better = Literal["lower", "higher"]


class Measurement(Record):
    """One number of one trial."""

    metric: str
    value: float
    unit: str  # "insn" (1 guest instruction = 1 virtual ns), "ns", "count", "bytes"
    clock: Clock


class Check(Record):
    """One KTAP result line of the workload."""

    name: str
    result: Literal["ok", "not ok", "skip"]
    detail: str = ""


class Splat(Record):
    """One complaint of the guest's kernel."""

    kind: str  # "WARNING", "oops", "KASAN", "panic", "lockdep", ...
    title: str  # one line, without addresses
    line: int  # 1-based line in console.log
    excerpt: str  # bounded text around it


class Environment(Record):
    """All that a reader must know to trust, or repeat, the numbers of a trial."""

    lab_version: str
    accelerator: Literal["tcg", "kvm", "none"]
    accelerator_reason: str
    clock: Clock
    nesting: int  # 0: guest of the host, 1: guest of a guest
    traced: bool = False  # the measured span was traced for a timeline, which takes a part of it
    qemu_version: str
    qemu_argv: tuple[str, ...]  # as it was run; qemu.cmd beside it can be run by hand
    outer_qemu_argv: tuple[str, ...] = ()  # of the lab host that was a guest itself; () where there was none
    guest_cmdline: str
    memory_backing: str
    host_kernel: str
    host_cpu: str
    host_cpus: int
    host: str = ""  # name of the worker's host; "" where the guest ran on the lab's own
    pinned: tuple[int, ...] = ()  # the host's processors of the virtual CPUs; () where these may be moved


class KernelRecord(Record):
    """A bootable kernel, told apart from every other by `id`."""

    id: str  # 12 hex digits over image, replaced modules and configuration
    name: str  # as the user would write it: "debian:6.1.192-2", with the series: "... + pmd-size"
    release: str  # what `uname -r` says
    version: str  # of the package, or of the tree
    source: str  # where it came from, in one sentence
    image_sha256: str
    config_sha256: str
    compiler: str  # of the image
    replaced_modules: dict[str, str] = {}  # module name -> sha256 of what the lab built
    module_compiler: str = ""  # of the replaced modules
    patch_ids: tuple[str, ...] = ()
    build_id: str = ""
    kconfig: str = ""  # fragments that the lab configured it from: "lean+drm"; "" for a packaged kernel
    debug_options: tuple[str, ...] = ()  # what makes times of this kernel meaningless: "KASAN", ...
    commit: str = ""  # 40 hex digits, if it was built from a commit with nothing beside it but a series


class Expected(Record):
    """What a file of expectations says about a trial that ended as it says, or against it."""

    kind: Literal["fail", "flake"]
    reason: str
    where: str  # expectations/fails.txt:12
    check: str = ""  # the one check that it is about; "": the whole case
    met: bool  # False: it was expected to fail and did not


class Trial(Record):
    """One case on one kernel on one machine, once."""

    key: str  # its folder below trials/
    number: int  # order in the plan, from 1
    case: str
    case_digest: str
    kernel: str  # KernelRecord.id
    role: str  # "base", "patched" or "kernel": how the campaign named the kernel
    machine: str
    clock: Clock
    repeat: int = 1
    attempt: int = 1
    outcome: Outcome
    reason: str = ""  # one sentence; "" only for PASS
    expected: Expected | None = None  # None: nothing but success was expected
    stage: str = ""  # where it ended: "plan", "boot", "run", "collect", "scan", "done"
    measurements: tuple[Measurement, ...] = ()
    checks: tuple[Check, ...] = ()
    splats: tuple[Splat, ...] = ()
    samples: tuple[str, ...] = ()  # file names below samples/
    exit_status: int | None = None  # of the workload; 128+N if a signal ended it
    notes: tuple[str, ...] = ()  # what a reader should know, such as "stdout cut at 1 MiB of 100 MiB"
    seconds_to_ready: float | None = None  # host wall time; functional only
    seconds: float = 0.0  # host wall time of the whole trial; functional only
    started: str = ""  # RFC 3339, UTC
    environment: Environment | None = None  # None when no guest was started

    @property
    def as_expected(self) -> bool:
        """Did it fail in a way that is a known limitation of the kernel?"""
        return self.outcome in BROKEN and self.expected is not None and self.expected.met

    @property
    def broken(self) -> bool:
        """Did it fail, and was that not to be expected?"""
        return self.outcome in BROKEN and not self.as_expected

    def value(self, metric: str) -> Measurement | None:
        """The measurement of that name, if the trial has one."""
        return next((m for m in self.measurements if m.metric == metric), None)


class Decision(StrEnum):
    """What a comparison says about one metric."""

    BETTER = "better"
    WORSE = "worse"
    SAME = "same"
    UNDECIDED = "undecided"  # the evidence does not suffice; `note` says what is missing
    NOT_JUDGED = "not judged"  # functional time, or a number the kernel cannot give ("n/a")


class Comparison(Record):
    """Base trials against patched trials for one metric of one case on one machine."""

    case: str
    machine: str
    metric: str
    title: str
    unit: str
    clock: Clock
    better: Better
    gate: bool  # may this metric fail the verdict?
    base: float | None  # exact value, or the median over boots; None: n/a
    patched: float | None
    change: float | None  # patched / base - 1
    interval: tuple[float, float] | None = None  # of `change`; None where the value is exact
    mde: float | None = None  # minimum detectable effect as a fraction; 0 on exact clocks
    tolerance: float  # a change within it is "same"
    trials: int  # boots on each side
    decision: Decision
    note: str = ""


class Conclusion(StrEnum):
    PASS = "PASS"
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"


class Verdict(Record):
    """The answer, the stage that was reached, and why."""

    verdict: Conclusion
    stage: Literal["apply", "configure", "build", "boot", "run", "compare"]
    reasons: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        return {Conclusion.PASS: 0, Conclusion.FAIL: 1, Conclusion.INCONCLUSIVE: 125}[self.verdict]


class MetricRecord(Record):
    """How the case declared a metric, kept with the run so that it is judged as it was run."""

    title: str
    unit: Literal["time", "count", "bytes"]  # time: "insn" on the virtual clock, "ns" elsewhere
    better: Better
    tolerance: float
    gate: bool


class CaseRecord(Record):
    """What a reader of the run must know about a case."""

    title: str
    question: str
    memory_manager: str | None
    path: str = ""  # of the YAML, where it was run
    metrics: dict[str, MetricRecord] = {}


class PlannedTrial(Record):
    """A trial that is to be run; `role` names one of the run's kernels."""

    number: int
    key: str
    case: str
    role: str
    machine: str
    clock: Clock
    repeat: int = 1
    timeout: float | None = None  # seconds for the workload; None: the case's own
    priority: int = 0  # larger is run earlier


class Subject(Record):
    """A kernel of a run as it was asked for, so that it can be had again, and found in other runs."""

    kernel: str  # as --kernel takes it: "debian:6.12"
    kconfig: str = ""  # what a tree is built with; "" means the default
    series: str = ""  # its name: "prefault/pmd-size"; "" without one
    mboxes: tuple[str, ...] = ()  # the series as it was taken, below the run folder, in order


class RunRecord(Record):
    """run.json: what was asked, and the verdict when there is one."""

    id: str
    workflow: str  # "run", "validate", ...
    command: tuple[str, ...]  # argv after `lab`, to repeat it
    lab_version: str
    created: str
    series: str = ""  # path of the kept copy inside the run folder
    title: str = ""  # of the series or of the kernel under test
    base_source: str = ""  # the kernel, or the base, as it was asked for: "stock", "debian:6.12"
    base_choice: str = ""  # why that base
    kconfig: str = ""  # what a tree is built with: "lean+drm"
    accelerator: Literal["auto", "kvm", "tcg"] = "auto"
    timeline: bool = False  # the measured spans are traced
    executor: Literal["auto", "local", "nested", "dask"] = "auto"  # where guests are run
    scheduler: str = ""  # of executor dask: where it was asked for
    host_kernel: str = "stock"  # of the nested lab host, if one is booted
    subjects: dict[str, Subject] = {}  # by role
    kernels: dict[str, str] = {}  # role -> KernelRecord.id
    cases: dict[str, CaseRecord] = {}
    plan: tuple[PlannedTrial, ...] = ()
    finished: bool = False
    interrupted: bool = False
    verdict: Verdict | None = None  # at stage apply, configure or build: final, nothing was booted
