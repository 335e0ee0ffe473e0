# SPDX-License-Identifier: GPL-2.0-or-later
"""A run as KCIDB JSON (schema 5.3, https://github.com/kernelci/kcidb-io), for who submits to KernelCI.

    kernel                      checkout and build; PASS, as it booted or was at hand to
    kernel that was not had     build FAIL if the series is at fault, else MISS
    trial PASS                  test PASS
    trial FAIL, CRASH, TIMEOUT  test FAIL, also if it was to be expected; the comment says so
    trial SKIP                  test SKIP
    trial ERROR, or missing     test MISS: the lab cannot tell
    measurement                 test DONE with a number, named CASE.METRIC
    check that failed           test FAIL, named CASE.CHECK

The schema has no word for two kernels held against each other: that is in verdict.json. Nothing is submitted.
"""

from __future__ import annotations

import datetime
import json
import math
import re
from collections.abc import Iterator
from typing import Any

from lab.report.clean import last_lines, one_line, visible
from lab.report.findings import BEFORE_TRIALS, Findings
from lab.results.models import Conclusion, KernelRecord, Measurement, Outcome, PlannedTrial, Trial

ORIGIN = "faultlab"
VERSION = {"major": 5, "minor": 3}
SUITE = "faultlab"
CONSOLE_LINES = 100
MAX_EXCERPT = 16_000  # the schema: 16384 characters
MAX_CHECKS = 100

STATUS = {Outcome.PASS: "PASS", Outcome.SKIP: "SKIP", Outcome.ERROR: "MISS"}

_NOT_PATH = re.compile(r"[^A-Za-z0-9_-]+")
_HTTPS = re.compile(r"git:(https://[A-Za-z0-9._~/:%-]+)@")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:\d\d)", re.ASCII)

Object = dict[str, Any]


def kcidb_json(findings: Findings, origin: str = ORIGIN) -> str:
    return json.dumps(kcidb(findings, origin), indent=2, allow_nan=False) + "\n"


def kcidb(findings: Findings, origin: str = ORIGIN) -> Object:
    """The run as plain data; `origin` is what KernelCI knows the submitter by: a-z, 0-9 and _."""
    return _Writer(findings, origin).everything()


class _Writer:
    def __init__(self, findings: Findings, origin: str) -> None:
        self._findings = findings
        self._origin = origin
        self._run = one_line(findings.run.path.name)
        self._failed = {trial.key for trial in findings.failed}

    def everything(self) -> Object:
        roles = self._roles()
        tests = [test for trial in self._findings.current for test in self._trial(trial)]
        done = {trial.key for trial in self._findings.trials}
        tests += [self._missing(one) for one in self._findings.record.plan if one.key not in done]
        return {
            "version": VERSION,
            "checkouts": [self._checkout(role) for role in roles],
            "builds": [self._build(role) for role in roles],
            "tests": tests,
        }

    def _roles(self) -> list[str]:
        record = self._findings.record
        planned = [one.role for one in record.plan]
        ran = [trial.role for trial in self._findings.trials]
        return list(dict.fromkeys([*record.subjects, *record.kernels, *planned, *ran]))

    def _id(self, *parts: str) -> str:
        return one_line(":".join([self._origin, self._run, *parts]))

    def _object(self, id_: str, **more: object) -> Object:
        """With what every object has; the schema knows no null, so what is not there is left out."""
        given = {name: value for name, value in more.items() if value not in (None, "", {}, [])}
        return {"id": id_, "origin": self._origin, **given}

    def _checkout(self, role: str) -> Object:
        findings = self._findings
        kernel, subject = findings.kernel(role), findings.record.subjects.get(role)
        url = _HTTPS.match(kernel.name) if kernel else None
        commit = kernel.commit if kernel and re.fullmatch("[0-9a-f]{40}", kernel.commit) else ""
        series = subject.series if subject else ""
        made = self._object(
            self._id(role),
            git_commit_hash=commit,
            git_repository_url=url[1] if url else "",
            start_time=_time(findings.record.created),
            comment=one_line(kernel.name if kernel else subject.kernel if subject else role),
            misc={"kernel": one_line(subject.kernel), "series": one_line(series)} if subject else {},
        )
        patched = bool(series or (kernel and kernel.patch_ids))
        if not patched and commit:
            made["patchset_hash"] = ""  # says that there are no patches
        if self._rejected == "apply" and patched:
            made["valid"] = False
        return made

    @property
    def _rejected(self) -> str:
        """The stage at which the run ended before a boot, through its series' fault."""
        verdict = self._findings.verdict
        failed = verdict.stage in BEFORE_TRIALS and verdict.verdict is Conclusion.FAIL
        return verdict.stage if failed else ""

    def _build(self, role: str) -> Object:
        kernel = self._findings.kernel(role)
        made = self._object(
            self._id(role, "build"),
            checkout_id=self._id(role),
            architecture="x86_64",
            status="PASS" if kernel else self._why_not(role)[0],
            comment="" if kernel else self._why_not(role)[1],
        )
        return made | _about(kernel) if kernel else made

    def _why_not(self, role: str) -> tuple[str, str]:
        night = self._findings.night
        if night is not None and role in night.failed_kernels:
            return "FAIL" if role in night.at_fault else "MISS", one_line(night.failed_kernels[role])
        reasons = "; ".join(self._findings.verdict.reasons) if self._rejected else ""
        return "FAIL" if self._rejected else "MISS", one_line(reasons, limit=2000)

    def _trial(self, trial: Trial) -> Iterator[Object]:
        status = STATUS.get(trial.outcome, "FAIL")
        expected = "; known and expected" if trial.as_expected else ""
        about = one_line(f"{trial.outcome}{expected}: {trial.reason}" if trial.reason else str(trial.outcome))
        yield self._test(
            trial,
            [],
            status=status,
            comment=about,
            duration=round(trial.seconds, 3) if _sound(trial.seconds) else None,
            log_excerpt=self._excerpt(trial) if trial.key in self._failed else "",
            misc={"splats": [one_line(f"{one.kind}: {one.title}") for one in trial.splats[:20]]}
            if trial.splats
            else {},
        )
        for measured in trial.measurements:
            if math.isfinite(measured.value):
                number = {"value": measured.value, "unit": one_line(measured.unit, limit=20)}
                yield self._test(
                    trial, [measured.metric], status="DONE", number=number, misc=_clock(measured)
                )
        for check in [one for one in trial.checks if one.result == "not ok"][:MAX_CHECKS]:
            yield self._test(trial, ["check", check.name], status="FAIL", comment=one_line(check.detail))

    def _test(self, trial: Trial, below: list[str], **more: object) -> Object:
        return self._object(
            self._id(trial.key, *below),
            build_id=self._id(trial.role, "build"),
            path=_path(trial.case, *below[-1:]),
            environment=_environment(trial),
            start_time=_time(trial.started),
            **more,
        )

    def _missing(self, planned: PlannedTrial) -> Object:
        return self._object(
            self._id(planned.key),
            build_id=self._id(planned.role, "build"),
            path=_path(planned.case),
            status="MISS",
            comment="planned, but there is no result",
        )

    def _excerpt(self, trial: Trial) -> str:
        log = self._findings.run.trial_path(trial.key) / "console.log"
        text = "\n".join(last_lines(log, lines=CONSOLE_LINES, width=500))
        return visible(text, limit=1 << 20)[-MAX_EXCERPT:]


def _about(kernel: KernelRecord) -> Object:
    made = {
        "comment": one_line(kernel.source),
        "compiler": one_line(kernel.module_compiler or kernel.compiler),
        "config_name": one_line(kernel.kconfig),
    }
    facts = {"kernel_id": kernel.id, "release": kernel.release, "version": kernel.version}
    misc = {name: one_line(value) for name, value in facts.items()}
    if kernel.patch_ids:
        misc["patch_ids"] = " ".join(one_line(one) for one in kernel.patch_ids[:100])
    return {name: value for name, value in made.items() if value} | {"misc": misc}


def _environment(trial: Trial) -> Object:
    environment = trial.environment
    if environment is None:
        return {"comment": one_line(f"machine {trial.machine}")}
    words = f"machine {trial.machine}, {environment.accelerator}, {environment.qemu_version}"
    misc = {
        "machine": one_line(trial.machine),
        "accelerator": environment.accelerator,
        "clock": str(environment.clock),
        "nesting": environment.nesting,
        "host_cpu": one_line(environment.host_cpu),
    }
    return {"comment": one_line(words), "misc": misc}


def _clock(measured: Measurement) -> Object:
    return {"clock": str(measured.clock)}


def _path(case: str, *below: str) -> str:
    """Dots between its parts, nothing but letters, digits, _ and - in them."""
    parts = [SUITE, *case.split("/"), *below]
    return ".".join(_NOT_PATH.sub("_", part)[:100] or "_" for part in parts)


def _time(text: str) -> str:
    """The time as RFC 3339; "" if it is none, or says no zone."""
    if not _TIME.fullmatch(text):
        return ""
    try:
        datetime.datetime.fromisoformat(text)
    except ValueError:
        return ""
    return text


def _sound(seconds: float) -> bool:
    return math.isfinite(seconds) and seconds >= 0
