# SPDX-License-Identifier: GPL-2.0-or-later
"""A run as KTAP version 1, for programs that read what kselftest and KUnit print.

    trial PASS                  ok
    trial FAIL, CRASH           not ok
    trial TIMEOUT               not ok ... # TIMEOUT
    trial ERROR, or missing     not ok ... # ERROR: the lab cannot tell
    trial SKIP                  ok ... # SKIP
    trial failed as expected    ok ... # XFAIL, as kselftest writes it

The checks of a trial are its subtests; its numbers are lines `# metric NAME VALUE UNIT`.
"""

from __future__ import annotations

import math

from lab.report.clean import one_line, plain
from lab.report.findings import Findings
from lab.results.models import Check, Outcome, PlannedTrial, Trial

MAX_CHECKS = 1000

Lines = list[str]


def ktap_text(findings: Findings) -> str:
    """Plain ASCII; nothing that a guest wrote can look like a result line."""
    trials = findings.current
    done = {trial.key for trial in findings.trials}
    missing = [planned for planned in findings.record.plan if planned.key not in done]
    lines = ["KTAP version 1", f"1..{len(trials) + len(missing)}"]
    for number, trial in enumerate(trials, 1):
        lines += _trial(number, trial)
    for number, planned in enumerate(missing, len(trials) + 1):
        lines.append(_result(False, number, _name(planned), "ERROR", "planned, but there is no result"))
    return "\n".join(lines) + "\n"


def _trial(number: int, trial: Trial) -> Lines:
    lines = []
    if trial.checks:
        shown = trial.checks[:MAX_CHECKS]
        lines += ["  KTAP version 1", f"  1..{len(shown)}"]
        lines += [f"  {_check(position, check)}" for position, check in enumerate(shown, 1)]
    for measured in trial.measurements:
        value = f"{measured.value:.17g}" if math.isfinite(measured.value) else "n/a"
        unit, clock = _word(measured.unit), measured.clock
        lines.append(f"# metric {_word(measured.metric)} {value} {unit} ({clock} clock)")
    name, reason = _name(trial), trial.reason
    match trial.outcome:
        case Outcome.PASS:
            return [*lines, _result(True, number, name)]
        case Outcome.SKIP:
            return [*lines, _result(True, number, name, "SKIP", reason)]
        case _ if trial.as_expected:
            return [*lines, _result(True, number, name, "XFAIL", reason)]
        case Outcome.TIMEOUT | Outcome.ERROR:
            return [*lines, _result(False, number, name, str(trial.outcome), reason)]
        case _:
            return [*lines, f"# {_words(f'{trial.outcome}: {reason}')}", _result(False, number, name)]


def _check(position: int, check: Check) -> str:
    if check.result == "skip":
        return _result(True, position, _words(check.name), "SKIP", check.detail)
    return _result(check.result == "ok", position, _words(check.name))


def _result(good: bool, number: int, name: str, directive: str = "", reason: str = "") -> str:
    end = f" # {directive} {_words(reason)}".rstrip() if directive else ""
    return f"{'ok' if good else 'not ok'} {number} {name}{end}"


def _name(one: Trial | PlannedTrial) -> str:
    boot = f" boot {one.repeat}" if one.repeat > 1 else ""
    return _words(f"{one.role} {one.machine} {one.case}{boot}")


def _words(text: str) -> str:
    """One line without the sign that begins a directive."""
    return plain(one_line(text, limit=200)).replace("#", "?") or "?"


def _word(text: str) -> str:
    return _words(text).replace(" ", "_")
