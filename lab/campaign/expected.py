# SPDX-License-Identifier: GPL-2.0-or-later
"""Was a trial's end to be expected? Known limitations of kernels are no news; that one is gone is."""

from __future__ import annotations

from collections.abc import Sequence

from lab.results.models import BROKEN, Expected, Outcome, Trial
from lab.spec.expectations import Expectation, Expectations


def skip_expected(known: Expectations, case: str, machine: str, version: str) -> str:
    """Why the case is not to be run on this kernel and machine; "" if it is."""
    found = known.of("skips", case, machine, version)
    return f"{found[0].reason} ({found[0].where})" if found else ""


def with_expectation(known: Expectations, trial: Trial, version: str) -> Trial:
    """The trial with what was expected of it, if anything was, also as part of its reason."""
    found = _expected(known, trial, version)
    if found is None:
        return trial
    about = f"check {found.check} " if found.check else ""
    if found.met:
        often = "now and then" if found.kind == "flake" else ""
        words = " ".join(filter(None, ("expected", often)))
        reason = f"{trial.reason}; {words}: {found.reason} ({found.where})"
    else:
        reason = f"unexpected pass: {about}was expected to fail: {found.reason} ({found.where})"
        reason = f"{trial.reason}; {reason}" if trial.reason else reason
    return trial.model_copy(update={"expected": found, "reason": reason})


def _expected(known: Expectations, trial: Trial, version: str) -> Expected | None:
    failing = known.of("fails", trial.case, trial.machine, version)
    flaking = known.of("flakes", trial.case, trial.machine, version)
    met = _explaining(failing, trial) or _explaining([*flaking, *failing], trial)
    if met is not None:
        return _told(met, met=True)
    gone = [one for one in failing if _came_out_well(one, trial)]
    return _told(gone[0], met=False) if gone else None


def _explaining(found: Sequence[Expectation], trial: Trial) -> Expectation | None:
    """The expectation that explains why the trial did not pass; None if not all is explained."""
    if trial.outcome not in BROKEN:
        return None
    whole = next((one for one in found if not one.check), None)
    if whole is not None:
        return whole
    failed = [check.name for check in trial.checks if check.result == "not ok"]
    by_check = {one.check: one for one in found}
    # A crash, a splat or a broken report is no failed check, whichever checks failed beside it.
    if trial.outcome is not Outcome.FAIL or trial.stage == "collect" or trial.splats or not failed:
        return None
    return by_check[failed[0]] if all(name in by_check for name in failed) else None


def _came_out_well(one: Expectation, trial: Trial) -> bool:
    if not one.check:
        return trial.outcome is Outcome.PASS
    return any(check.name == one.check and check.result == "ok" for check in trial.checks)


def _told(one: Expectation, *, met: bool) -> Expected:
    kind = "flake" if one.kind == "flakes" else "fail"
    return Expected(kind=kind, reason=one.reason, where=one.where, check=one.check, met=met)
