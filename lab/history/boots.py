# SPDX-License-Identifier: GPL-2.0-or-later
"""One trial.json as the index keeps it.

It is read as plain JSON, and only what is kept is checked: an index over 100,000 trials would otherwise take
minutes. What is too large, of the wrong kind or not there makes the trial damaged, never the run.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.files import sha256_text
from lab.report.clean import one_line
from lab.report.untrusted import open_regular
from lab.results.models import BROKEN, Clock, Outcome

MAX_TRIAL = 8 << 20
"""Bytes of a trial.json."""

MAX_METRICS, MAX_SIGNATURES, MAX_CHECKS = 200, 20, 1000
"""Of one trial."""

MAX_TEXT = 300

_OUTCOMES = {str(outcome): outcome for outcome in Outcome}
_CLOCKS = {str(clock): clock for clock in Clock}
_STARTED = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)")
_NUMBER = re.compile(r"0x[0-9a-f]+|\d+(?:\.\d+)?")
_NONCE = re.compile(r"\blab\.nonce=\S+ ?")


class Damaged(Exception):
    """What makes a file unusable, in a few words."""


@dataclass(frozen=True, slots=True)
class Boot:
    """One trial, reduced to what the index keeps."""

    key: str
    number: int
    repeat: int
    attempt: int
    role: str
    machine: str
    case: str
    clock: Clock
    kernel: str
    outcome: Outcome
    reason: str
    expected: bool
    digest: str
    seconds: float
    started: str
    setup: str
    signatures: tuple[tuple[str, str], ...]
    numbers: dict[str, tuple[float, str, str]]  # metric -> value, unit, clock


class Setups:
    """Digests of what beside kernel and case makes numbers differ."""

    def __init__(self, known: dict[str, str]) -> None:
        self._known = known
        self._digests: dict[tuple[object, ...], str] = {}

    def digest(self, environment: object, clock: Clock) -> str:
        if not isinstance(environment, dict):
            return ""
        names = ["accelerator", "nesting", "traced", "qemu_version", "memory_backing", "lab_version"]
        if clock is Clock.REAL:
            names += ["host", "host_kernel", "host_cpu", "host_cpus"]
        values = [str(environment.get(name, ""))[:MAX_TEXT] for name in names]
        line = _NONCE.sub("", str(environment.get("guest_cmdline", ""))[:8192])
        key = (*values, line)
        if key not in self._digests:
            kept = {**dict(zip(names, map(text, values), strict=True)), "guest_cmdline": text(line, 2048)}
            said = json.dumps(kept)
            self._digests[key] = sha256_text(said)[:12]
            self._known[self._digests[key]] = said
        return self._digests[key]


def read_boot(path: str, key: str, setups: Setups) -> Boot | None:
    """The trial of one folder; None if there is none (yet). Raises Damaged."""
    raw = _load(path)
    if raw is None:
        return None
    if raw.get("key") != key:
        raise Damaged(f"it calls itself {str(raw.get('key'))!r:.80}")
    outcome, clock = _OUTCOMES.get(_string(raw, "outcome")), _CLOCKS.get(_string(raw, "clock"))
    if outcome is None or clock is None:
        raise Damaged("there is no such outcome, or no such clock")
    case, stage, reason = _string(raw, "case"), _string(raw, "stage", ""), _string(raw, "reason", "")
    known = raw.get("expected")
    expected = outcome in BROKEN and isinstance(known, dict) and known.get("met") is True
    started = raw.get("started")
    environment = raw.get("environment")
    return Boot(
        key=text(key),
        number=_whole(raw, "number"),
        repeat=_whole(raw, "repeat", 1),
        attempt=_whole(raw, "attempt", 1),
        role=text(_string(raw, "role")),
        machine=text(_string(raw, "machine")),
        case=text(case),
        clock=clock,
        kernel=text(_string(raw, "kernel"), 64),
        outcome=outcome,
        reason=text(reason),
        expected=expected,
        digest=text(_string(raw, "case_digest"), 64),
        seconds=max(0.0, _finite(raw.get("seconds")) or 0.0),
        started=started if isinstance(started, str) and _STARTED.fullmatch(started) else "",
        setup=setups.digest(environment, clock),
        signatures=_signatures(raw, outcome, case, stage, reason) if outcome in BROKEN else (),
        numbers=_numbers(raw, environment),
    )


def _load(path: str) -> dict[str, Any] | None:
    try:
        with open_regular(Path(path)) as handle:
            raw = handle.read(MAX_TRIAL + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Damaged(str(error.strerror)) from error
    if len(raw) > MAX_TRIAL:
        raise Damaged(f"larger than {MAX_TRIAL >> 20} MiB")
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise Damaged(f"no JSON: {error}") from None
    if not isinstance(found, dict):
        raise Damaged("no JSON object")
    return found


def text(value: str, limit: int = MAX_TEXT) -> str:
    """One bounded line that SQLite, a terminal and a page can take."""
    if len(value) <= limit and value.isascii() and value.isprintable():
        return value
    return one_line(value, limit=limit)


def _string(raw: Mapping[str, Any], name: str, default: str | None = None) -> str:
    value = raw.get(name, default)
    if not isinstance(value, str):
        raise Damaged(f"{name} is missing, or no text")
    return value


def _whole(raw: Mapping[str, Any], name: str, default: int | None = None) -> int:
    value = raw.get(name, default)
    if type(value) is not int or not 0 <= value < 1 << 53:
        raise Damaged(f"{name} is no number that counts something")
    return value


def _finite(value: object) -> float | None:
    if type(value) not in (int, float):
        return None
    try:
        number = float(value)  # type: ignore[arg-type]
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _numbers(raw: Mapping[str, Any], environment: object) -> dict[str, tuple[float, str, str]]:
    """The finite numbers; a span that was traced costs more than it would, so its times are left out."""
    found: dict[str, tuple[float, str, str]] = {}
    traced = isinstance(environment, dict) and environment.get("traced") is True
    for one in _dicts(raw, "measurements", MAX_METRICS):
        value, metric, unit, clock = map(one.get, ("value", "metric", "unit", "clock"))
        number = _finite(value)
        if not isinstance(metric, str) or not isinstance(unit, str) or clock not in _CLOCKS:
            raise Damaged("a measurement has no metric, no unit or no clock")
        if number is not None and not (traced and clock != Clock.COUNT):
            found[text(metric, 100)] = (number, text(unit, 20), str(clock))
    return found


def _dicts(raw: Mapping[str, Any], name: str, most: int) -> Iterable[dict[str, Any]]:
    found = raw.get(name, [])
    if not isinstance(found, list):
        raise Damaged(f"{name} is no list")
    for one in found[:most]:
        if not isinstance(one, dict):
            raise Damaged(f"{name} has something strange in it")
        yield one


def _signatures(
    raw: Mapping[str, Any], outcome: Outcome, case: str, stage: str, reason: str
) -> tuple[tuple[str, str], ...]:
    """Kind and title of each way in which the trial failed; the worst comes first."""
    splats = [
        (text(_string(one, "kind"), 40), text(_string(one, "title"), 200))
        for one in _dicts(raw, "splats", MAX_SIGNATURES)
    ]
    checks = [
        text(_string(one, "name"), 100)
        for one in _dicts(raw, "checks", MAX_CHECKS)
        if one.get("result") == "not ok"
    ]
    case = text(case, 100)
    if outcome is Outcome.TIMEOUT:
        own = f"{case} at stage {text(stage, 20) or '?'}"
    elif checks:
        own = f"{case}: not ok: {', '.join(checks[:5])}" + (", ..." if len(checks) > 5 else "")
    elif splats:
        return tuple(dict.fromkeys(splats))
    else:
        own = f"{case}: {_NUMBER.sub('#', text(reason, 120))}"
    mine = (str(outcome), text(own, 200))
    # A crash is told by its splat; the rest by the deadline that passed, or the check that failed, as well.
    return tuple(dict.fromkeys([*splats, mine] if outcome is not Outcome.CRASH or not splats else splats))
