# SPDX-License-Identifier: GPL-2.0-or-later
"""junit.xml for CI systems. GitLab shows `classname` as the suite and keeps only the first of equal pairs of
classname and name, so these pairs are made unique.

    trial PASS                  passed, its measurements as properties
    trial FAIL, CRASH, TIMEOUT  failure
    trial ERROR, or missing     error: the lab cannot tell
    trial left out by a night   skipped, for want of time or because nothing has changed; else error
    trial SKIP                  skipped
    trial failed as expected    skipped, with the reason
    trial of a regression       passed if its kernel showed what it is to show; failure; error: cannot tell
    metric worse                failure, if it gates
    metric undecided            error, if it gates
    metric not judged           skipped
"""

from __future__ import annotations

from itertools import chain, count
from typing import Any

from lab.compare.repro import Seen
from lab.compare.verdict import describe
from lab.compare.words import amount
from lab.report.clean import last_lines, xml_text
from lab.report.findings import BEFORE_TRIALS, Findings
from lab.results.models import Comparison, Conclusion, Decision, Outcome, PlannedTrial, Trial
from lab.results.night import NotRun

CONSOLE_LINES = 100


def junit_xml(findings: Findings) -> bytes:
    """The run as JUnit XML in UTF-8; every string in it is fit for XML 1.0."""
    junit = _library()
    suites: dict[str, Any] = {}
    taken: set[tuple[str, str]] = set()
    failed = {trial.key for trial in findings.failed}
    several = any(p.repeat > 1 for p in findings.record.plan)
    left_out = {} if findings.night is None else {one.key: one for one in findings.night.not_run}

    def add(suite: str, name: str, result: Any, trial: Trial | None = None) -> None:
        numbered = (f"{name} #{number}" for number in count(2))
        unique = next(n for n in chain([name], numbered) if (suite, n) not in taken)
        taken.add((suite, unique))
        case = _testcase(suite, unique, result, 0.0 if trial is None else trial.seconds)
        if trial is not None:
            _add_evidence(case, trial, findings, failed=trial.key in failed)
        suites.setdefault(suite, junit.TestSuite(xml_text(suite))).add_testcase(case)

    if findings.verdict.stage in BEFORE_TRIALS and findings.verdict.verdict is Conclusion.FAIL:
        add("series", findings.verdict.stage, _result("Failure", "\n".join(findings.verdict.reasons)))
    stated = {seen.trial.key: seen for one in findings.confirmations for seen in one.seen if seen.trial}
    for trial in findings.current:
        suite, name = _names(trial, several=several)
        result = _stated_result(stated[trial.key]) if trial.key in stated else _trial_result(trial)
        add(suite, name, result, trial)
    done = {trial.key for trial in findings.trials}
    for planned in findings.record.plan:
        if planned.key not in done:
            suite, name = _names(planned, several=several)
            add(suite, name, _absent(left_out.get(planned.key)))
    for comparison in findings.comparisons:
        name = f"{comparison.case}: {comparison.metric}"
        add(f"compare.{comparison.machine}", name, _comparison_result(findings, comparison))
    xml = junit.JUnitXml("faultlab")
    for suite in suites.values():
        xml.add_testsuite(suite)
    xml.update_statistics()
    text: bytes = xml.tostring()
    return text


def _names(one: Trial | PlannedTrial, *, several: bool) -> tuple[str, str]:
    """Suite and name; `several` says that some trial is repeated."""
    boot = f" (boot {one.repeat})" if several or one.repeat > 1 else ""
    return f"{one.role}.{one.machine}", f"{one.case}{boot}"


def _absent(left_out: NotRun | None) -> Any:
    """A planned trial without a result: an error, unless a night left it out knowingly."""
    if left_out is None:
        return _result("Error", "planned, but there is no result")
    kind = "Skipped" if left_out.because in ("budget", "unchanged") else "Error"
    return _result(kind, f"not run: {left_out.why}")


def _testcase(suite: str, name: str, result: Any, seconds: float) -> Any:
    case = _library().TestCase(xml_text(name), classname=xml_text(suite), time=round(seconds, 3))
    if result is not None:
        case.result = [result]
    return case


def _add_evidence(case: Any, trial: Trial, findings: Findings, *, failed: bool) -> None:
    """The trial's numbers as properties; what the kernel said, if it failed, as output."""
    junit = _library()
    if trial.measurements:
        properties = junit.Properties()
        for m in trial.measurements:
            value = f"{amount(m.value)} {m.unit} ({m.clock} clock)"
            properties.add_property(junit.Property(xml_text(m.metric), xml_text(value)))
        case.append(properties)
    lines = [f"{splat.kind}: {splat.title}" for splat in trial.splats]
    if failed:
        log = findings.run.trial_path(trial.key) / "console.log"
        lines += [*last_lines(log, lines=CONSOLE_LINES, width=500), f"[[ATTACHMENT|{log}]]"]
    if lines:
        case.system_out = xml_text("\n".join(lines))


def _trial_result(trial: Trial) -> Any:
    kinds = {Outcome.PASS: "", Outcome.SKIP: "Skipped", Outcome.ERROR: "Error"}
    kind = "Skipped" if trial.as_expected else kinds.get(trial.outcome, "Failure")
    return _result(kind, f"{trial.outcome}: {trial.reason}") if kind else None


def _stated_result(seen: Seen) -> Any:
    if seen.as_stated:
        return None
    return _result("Error" if seen.as_stated is None else "Failure", seen.told)


def _comparison_result(findings: Findings, comparison: Comparison) -> Any:
    text = describe(comparison, findings.comparisons)
    if comparison.decision is Decision.NOT_JUDGED:
        return _result("Skipped", text)
    if comparison.gate and comparison.decision in (Decision.WORSE, Decision.UNDECIDED):
        return _result("Failure" if comparison.decision is Decision.WORSE else "Error", text)
    return None


def _result(kind: str, message: str) -> Any:
    text = xml_text(message, limit=16 << 10)
    result = getattr(_library(), kind)(text.partition("\n")[0][:500])
    result.text = text
    return result


def _library() -> Any:
    """junitparser, which is slow to import and only half typed."""
    import junitparser

    return junitparser
