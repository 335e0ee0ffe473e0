# SPDX-License-Identifier: GPL-2.0-or-later
"""The table of outcomes: every row of judge_trial, and the order in which rows are believed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lab.campaign.outcome import Seen, judge_trial
from lab.guest.guest import End
from lab.results.models import Check, Outcome, Splat

OK = Check(name="pages", result="ok")
BAD = Check(name="content", result="not ok", detail="page 3 holds 0")
SKIPPED = Check(name="driver", result="skip", detail="no card is driven by qxl")
WARNING = Splat(kind="WARNING", title="WARNING in ttm_bo_vm_fault", line=812, excerpt="")
OOPS = Splat(kind="oops", title="BUG: unable to handle page fault in ttm_tt_init", line=900, excerpt="")

GOOD = Seen(
    end=End.HAPPENED,
    stage="run",
    deadline="run, 120 s",
    killed_by="",
    qemu_status=0,
    qemu_error="",
    fatal=None,
    splats=(),
    failure=None,
    protocol_error="",
    said_bye=True,
    exit_status=0,
    checks=(OK,),
    problems=(),
    expects_report=True,
)
BOOTED = replace(GOOD, exit_status=None, checks=(), expects_report=False)
GONE = replace(GOOD, end=End.EXITED, said_bye=False, exit_status=None, checks=())
LATE = replace(GONE, qemu_status=None)

TABLE = [
    ("all is well", GOOD, Outcome.PASS, "done", ""),
    ("a boot without a workload", BOOTED, Outcome.PASS, "done", ""),
    ("QEMU killed", replace(GONE, qemu_status=-9, killed_by="SIGKILL"), Outcome.ERROR, "run", "by SIGKILL"),
    ("oops", replace(GONE, fatal=OOPS, splats=(OOPS,)), Outcome.CRASH, "run", "line 900"),
    ("panic without a word to scan", replace(GONE, end=End.PANIC), Outcome.CRASH, "run", "panicked"),
    (
        "QEMU failed",
        replace(GONE, stage="boot", qemu_status=1, qemu_error="a\nqxl-vga: no memory\n"),
        Outcome.ERROR,
        "boot",
        "QEMU ended with status 1: a qxl-vga: no memory",
    ),
    (
        "protocol",
        replace(LATE, end=End.PROTOCOL, protocol_error="no frame begins here"),
        Outcome.ERROR,
        "run",
        "broke the channel's protocol: no frame begins here",
    ),
    (
        "module refused",
        replace(GONE, stage="boot", said_bye=True, failure=("module", "the kernel refused ttm.ko")),
        Outcome.FAIL,
        "boot",
        "the kernel refused ttm.ko",
    ),
    *(
        (f"fail {word}", replace(GONE, said_bye=True, failure=(word, "why")), Outcome.ERROR, "run", "why")
        for word in ("mount", "exec", "order", "network")
    ),
    (
        "silence",
        replace(LATE, end=End.SILENCE, stage="boot", deadline="no word for 45 s", where="virtual CPU halted"),
        Outcome.TIMEOUT,
        "boot",
        "silent: no word for 45 s; virtual CPU halted",
    ),
    ("deadline", replace(LATE, end=End.DEADLINE), Outcome.TIMEOUT, "run", "deadline passed: run, 120 s"),
    ("reset", GONE, Outcome.CRASH, "run", "in the middle of the run"),
    ("reset nested", replace(GONE, nested=True), Outcome.ERROR, "run", "not the kernel's word"),
    ("panic nested", replace(GONE, nested=True, end=End.PANIC), Outcome.CRASH, "run", "panicked"),
    ("reset while booting", replace(GONE, stage="boot"), Outcome.CRASH, "boot", "before it was ready"),
    (
        "a check",
        replace(GOOD, checks=(OK, BAD)),
        Outcome.FAIL,
        "run",
        "check failed: content: page 3",
    ),
    (
        "a check and status 4",
        replace(GOOD, checks=(BAD, SKIPPED), exit_status=4),
        Outcome.FAIL,
        "run",
        "content",
    ),
    ("skipped", replace(GOOD, checks=(SKIPPED,), exit_status=4), Outcome.SKIP, "run", "no card is driven"),
    (
        "skipped without KTAP",
        replace(GOOD, checks=(), exit_status=4),
        Outcome.SKIP,
        "run",
        "the workload says that it cannot run here",
    ),
    (
        "skipped behind a warning",
        replace(GOOD, checks=(SKIPPED,), exit_status=4, splats=(WARNING,)),
        Outcome.FAIL,
        "scan",
        "WARNING in ttm_bo_vm_fault",
    ),
    ("nothing but skips", replace(GOOD, checks=(SKIPPED, SKIPPED)), Outcome.SKIP, "run", "no card"),
    ("a skip among checks", replace(GOOD, checks=(SKIPPED, OK)), Outcome.PASS, "done", ""),
    (
        "a check and a signal",
        replace(GOOD, checks=(BAD,), exit_status=139),
        Outcome.FAIL,
        "collect",
        "check failed: content: page 3 holds 0; the workload ended with status 139",
    ),
    (
        "a check and a broken report",
        replace(GOOD, checks=(BAD,), exit_status=1, problems=("plan",)),
        Outcome.FAIL,
        "collect",
        "page 3 holds 0; the workload's report is broken: plan",
    ),
    ("a flood", replace(GOOD, console_cut=True), Outcome.ERROR, "scan", "its end was not looked at"),
    ("a warning in a flood", replace(GOOD, console_cut=True, splats=(WARNING,)), Outcome.FAIL, "scan", "812"),
    ("no status", replace(GOOD, exit_status=None), Outcome.ERROR, "run", "no exit status"),
    ("a status", replace(GOOD, exit_status=3), Outcome.FAIL, "run", "ended with status 3"),
    ("a signal", replace(GOOD, exit_status=137), Outcome.FAIL, "run", "ended with status 137"),
    ("broken report", replace(GOOD, problems=("plan",)), Outcome.FAIL, "run", "report is broken: plan"),
    ("no report", replace(GOOD, checks=()), Outcome.FAIL, "run", "has shown nothing"),
    ("a warning", replace(GOOD, splats=(WARNING,)), Outcome.FAIL, "scan", "WARNING in ttm_bo_vm_fault"),
    (
        "two warnings",
        replace(GOOD, splats=(WARNING, WARNING)),
        Outcome.FAIL,
        "scan",
        "line 812) and 1 more",
    ),
    ("a warning while booting only", replace(BOOTED, splats=(WARNING,)), Outcome.FAIL, "scan", "line 812"),
]


@pytest.mark.parametrize(
    ("seen", "outcome", "stage", "words"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_table(seen: Seen, outcome: Outcome, stage: str, words: str) -> None:
    """What was seen gives this outcome, at this stage, with a reason that holds these words."""
    found, at, reason = judge_trial(seen)
    assert (found, at) == (outcome, stage)
    assert words in reason
    assert bool(reason) == (found is not Outcome.PASS)


ORDER = [
    ("a kill from outside, before what the kernel said", {"killed_by": "SIGKILL"}, Outcome.ERROR),
    ("an oops, before the status of QEMU", {"fatal": OOPS}, Outcome.CRASH),
    ("QEMU's failure, before what the guest reported", {"qemu_status": 1}, Outcome.ERROR),
    ("a broken protocol, before the guest's own failure", {"protocol_error": "byte 7"}, Outcome.ERROR),
    ("a refused module, before the deadline", {"failure": ("module", "no")}, Outcome.FAIL),
    ("a deadline, before the report", {"end": End.DEADLINE}, Outcome.TIMEOUT),
    ("a failed check, before a warning", {"checks": (BAD,)}, Outcome.FAIL),
    ("a warning", {"splats": (WARNING,)}, Outcome.FAIL),
]


@pytest.mark.parametrize("at", range(len(ORDER)), ids=[row[0] for row in ORDER])
def test_order(at: int) -> None:
    """Where several things went wrong, the outcome and the reason are those of the first row that holds."""
    rest = {name: value for _, more, _ in reversed(ORDER[at:]) for name, value in more.items()}
    alone = judge_trial(replace(GOOD, **ORDER[at][1]))  # type: ignore[arg-type]
    assert alone[0] is ORDER[at][2]
    assert judge_trial(replace(GOOD, **rest)) == alone  # type: ignore[arg-type]
