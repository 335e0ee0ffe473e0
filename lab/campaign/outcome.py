# SPDX-License-Identifier: GPL-2.0-or-later
"""From what was seen of a guest to the trial's outcome: a pure function, so that every case is tested.

Order matters and is the order of trust: what the kernel says of its own death, then what ended QEMU, then
what the guest reported, then what its report contains.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lab.guest.guest import End
from lab.results.models import Check, Outcome, Splat

SKIP_STATUS = 4
"""The exit status by which a kselftest says that it could not run here."""

KSELFTEST = range(5)
"""Exit statuses of a kselftest that came to its end: pass, fail, expected failure, unexpected pass, skip."""


@dataclass(frozen=True)
class Seen:
    """Everything that decides."""

    end: End
    stage: str  # "boot" until the ready marker, then "run"
    deadline: str  # the name and length of the deadline that may have passed
    killed_by: str  # signal that ended QEMU from outside, or ""
    qemu_status: int | None
    qemu_error: str
    fatal: Splat | None
    splats: Sequence[Splat]
    failure: tuple[str, str] | None  # a `fail` frame: word, text
    protocol_error: str
    said_bye: bool
    exit_status: int | None
    checks: Sequence[Check]
    problems: Sequence[str]  # of the KTAP report
    expects_report: bool  # False: the case only boots
    where: str = ""  # what the CPU did when a deadline passed
    console_cut: bool = False  # it said more than is kept, and so more than was scanned
    nested: bool = False  # its KVM is that of a processor that QEMU emulates


def judge_trial(seen: Seen) -> tuple[Outcome, str, str]:
    """(outcome, stage, reason)."""
    died = _death(seen) or _report(seen)
    if died is not None:
        return died
    if seen.splats:
        more = f" and {len(seen.splats) - 1} more" if len(seen.splats) > 1 else ""
        first = seen.splats[0]
        return Outcome.FAIL, "scan", f"kernel log: {first.title} (console.log line {first.line}){more}"
    if seen.console_cut:
        return Outcome.ERROR, "scan", "the console is longer than what is kept: its end was not looked at"
    return Outcome.PASS, "done", ""


def _death(seen: Seen) -> tuple[Outcome, str, str] | None:
    if seen.killed_by:
        return Outcome.ERROR, seen.stage, f"QEMU was ended from outside by {seen.killed_by}"
    if seen.fatal is not None:
        return Outcome.CRASH, seen.stage, f"{seen.fatal.title} (console.log line {seen.fatal.line})"
    if seen.end is End.PANIC:
        return Outcome.CRASH, seen.stage, "the kernel panicked (see the end of console.log)"
    if seen.qemu_status not in (None, 0):
        words = seen.qemu_error.strip().splitlines()
        return (
            Outcome.ERROR,
            seen.stage,
            f"QEMU ended with status {seen.qemu_status}: {' '.join(words[-2:])[:400]}",
        )
    if seen.protocol_error:
        return Outcome.ERROR, seen.stage, f"the guest broke the channel's protocol: {seen.protocol_error}"
    if seen.failure is not None:
        return _failure(seen, *seen.failure)
    if seen.end is End.SILENCE:
        return Outcome.TIMEOUT, seen.stage, _with_where(f"silent: {seen.deadline}", seen.where)
    if seen.end is End.DEADLINE:
        return Outcome.TIMEOUT, seen.stage, _with_where(f"deadline passed: {seen.deadline}", seen.where)
    if seen.end is End.EXITED and not seen.said_bye:
        when = "before it was ready" if seen.stage == "boot" else "in the middle of the run"
        text = f"the guest reset or powered off without a word {when}"
        if seen.nested:
            # QEMU 7.2's emulated SVM does it now and then on a busy host: 4 of some 40 boots, of one kernel.
            return Outcome.ERROR, seen.stage, f"{text}: under an emulated SVM that is not the kernel's word"
        return Outcome.CRASH, seen.stage, text
    return None


def _with_where(text: str, where: str) -> str:
    return f"{text}; {where}" if where else text


def _failure(seen: Seen, word: str, text: str) -> tuple[Outcome, str, str]:
    # A module that the kernel refuses is the kernel's statement; the rest is the lab's business.
    outcome = Outcome.FAIL if word == "module" else Outcome.ERROR
    return outcome, seen.stage, text[:400]


def _report(seen: Seen) -> tuple[Outcome, str, str] | None:
    if not seen.expects_report:
        return None
    bad = [check for check in seen.checks if check.result == "not ok"]
    if bad:
        detail = f": {bad[0].detail}" if bad[0].detail else ""
        reason, beside = f"check failed: {bad[0].name}{detail}", _beside_checks(seen)
        # Another stage: an expectation of the check must not explain what else went wrong.
        return (Outcome.FAIL, "collect", f"{reason}; {beside}") if beside else (Outcome.FAIL, "run", reason)
    skipped = [check for check in seen.checks if check.result == "skip"]
    nothing_ran = bool(skipped) and len(skipped) == len(seen.checks) and seen.exit_status == 0
    if seen.exit_status == SKIP_STATUS or nothing_ran:
        if seen.splats:
            return None  # a driver that warns and leaves no card is no reason to skip
        why = skipped[0].detail or skipped[0].name if skipped else "the workload says that it cannot run here"
        return Outcome.SKIP, "run", why
    if seen.exit_status is None:
        return Outcome.ERROR, "run", "the guest reported no exit status"
    if seen.exit_status != 0:
        return Outcome.FAIL, "run", f"the workload ended with status {seen.exit_status}"
    if seen.problems:
        return Outcome.FAIL, "run", f"the workload's report is broken: {seen.problems[0]}"
    if not seen.checks:
        return Outcome.FAIL, "run", "the workload reported no KTAP result, so it has shown nothing"
    return None


def _beside_checks(seen: Seen) -> str:
    """What went wrong beside a check that failed; "" if nothing."""
    if seen.exit_status is None:
        return "the guest reported no exit status"
    if seen.exit_status not in KSELFTEST:
        return f"the workload ended with status {seen.exit_status}"
    return f"the workload's report is broken: {seen.problems[0]}" if seen.problems else ""
