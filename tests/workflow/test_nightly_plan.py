# SPDX-License-Identifier: GPL-2.0-or-later
"""What a night knows of earlier nights, what it tells of itself, and how it is judged. No guest."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from made_up_night import CELLS, KERNEL, make_night, qemu, subject

from lab.compare.nightly import judge_night
from lab.kernel.kernel import Kernel
from lab.report.findings import examine
from lab.report.night import COLUMNS, MAX_ROWS, matrix_lines
from lab.report.text import render_run, report_text
from lab.report.write import write_reports
from lab.results.models import Conclusion, Outcome
from lab.results.night import NightRecord, NotRun, read_night, write_night
from lab.results.runfolder import RunFolder
from lab.spec.expectations import Expectation, Expectations
from lab.spec.versions import KernelRange
from lab.workflow.night_before import earlier_nights, unchanged
from lab.workflow.night_kernels import moved_since
from lab.workflow.night_preview import duration


def kernels(identity: str = KERNEL.id) -> dict[str, Kernel]:
    record = KERNEL.model_copy(update={"id": identity})
    return {"stock": Kernel(record=record, vmlinuz=Path(), vmlinux=None, root=Path(), config=Path())}


CASES = {case: SimpleNamespace(digest="d") for case, _ in CELLS}


def records(run: RunFolder):
    return (record for _, record in earlier_nights(run))


def test_a_kernel_that_moved_is_told_with_both_ids() -> None:
    """Compared with the newest earlier night that had it; another series is another kernel."""
    make_night("20261101T000000Z", kernel=KERNEL.model_copy(update={"id": "aaaaaaaaaaaa"}))
    make_night("20261102T000000Z")
    tonight = make_night("20261103T000000Z", run=False)
    assert moved_since(tonight, kernels(), records(tonight)) == {}
    told = moved_since(tonight, kernels("bbbbbbbbbbbb"), records(tonight))
    assert told == {"stock": f"was {KERNEL.id} in 20261102T000000Z-nightly-x-0000, now bbbbbbbbbbbb"}
    other = make_night("20261104T000000Z", run=False, asked=subject(series="prefault/pmd-size"))
    assert moved_since(other, kernels("bbbbbbbbbbbb"), records(other)) == {}


def test_damaged_and_foreign_runs_are_passed_over() -> None:
    """One broken night does not hide the others."""
    make_night("20261101T000000Z")
    broken = make_night("20261102T000000Z")
    (broken.path / "run.json").write_text("{")
    tonight = make_night("20261103T000000Z", run=False)
    assert [folder.path.name for folder, _ in earlier_nights(tonight)] == ["20261101T000000Z-nightly-x-0000"]


def test_unchanged_needs_the_same_of_everything() -> None:
    """Of kernel, case, timeout, lab, QEMU and expectations; the newest result counts, but never an ERROR."""
    first = make_night("20261101T000000Z", outcomes={"smoke/boot": Outcome.FAIL})
    tonight = make_night("20261103T000000Z", run=False)
    plan = tonight.read().plan

    def found(**changes: object) -> dict[str, str]:
        said = {"kernels": kernels(), "cases": CASES, "qemu": qemu(), "known": Expectations(())} | changes
        return {key: one.run for key, one in unchanged(tonight, plan, **said).items()}  # type: ignore[arg-type]

    assert found() == {one.key: first.path.name for one in plan}
    assert found(kernels=kernels("bbbbbbbbbbbb")) == {}
    assert found(qemu="QEMU 99") == {}
    assert found(cases={name: SimpleNamespace(digest="e") for name in CASES}) == {}
    plan = tuple(one.model_copy(update={"timeout": 300.0}) for one in plan)
    assert found() == {}
    plan = tonight.read().plan
    others = {one.key: first.path.name for one in plan if one.case != "smoke/boot"}
    for kind in ("fails", "skips"):  # that what broke is expected now, or not to be run, must be seen anew
        line = Expectation(kind, "smoke/boot", "", "why", KernelRange.parse(">=5.0"), "", f"x/{kind}.txt:1")
        assert found(known=Expectations((line,))) == others
    newer = make_night("20261102T000000Z", outcomes={"smoke/boot": Outcome.ERROR})
    assert found() == {one.key: newer.path.name for one in plan if one.case != "smoke/boot"}


def test_the_verdict_of_a_night() -> None:
    """0 if nothing broke, 1 if something did, 125 if the lab is why something has no result."""
    run = make_night("20261101T000000Z")
    record, trials, night = run.read(), run.trials(), read_night(run)
    assert judge_night(record, night, trials).verdict is Conclusion.PASS

    def judged(outcome: Outcome, **night_facts: object):
        some = [
            trial.model_copy(update={"outcome": outcome, "reason": "so"}) if n == 0 else trial
            for n, trial in enumerate(trials)
        ]
        return judge_night(record, night.model_copy(update=night_facts), some)

    broken = judged(Outcome.CRASH)
    assert (broken.exit_code, broken.reasons[0]) == (1, "smoke/boot on qxl, kernel stock: CRASH: so")
    assert judged(Outcome.ERROR).exit_code == 125
    assert judged(Outcome.SKIP).exit_code == 0
    no_kernel = judged(Outcome.PASS, failed_kernels={"stock": "no mirror"})
    assert (no_kernel.exit_code, no_kernel.reasons[0]) == (125, "kernel stock: no mirror")
    assert judged(Outcome.PASS, failed_kernels={"stock": "patch 2"}, at_fault=("stock",)).exit_code == 1
    missing = judge_night(record, night, trials[1:])
    assert missing.exit_code == 125
    assert "1 of 3 planned trials without a result" in missing.reasons[0]


@pytest.mark.parametrize(("because", "code"), [("budget", 0), ("unchanged", 0), ("case", 125)])
def test_what_was_left_out_is_told_and_judged_by_its_reason(because: str, code: int) -> None:
    """A budget and an unchanged cell are nobody's failure; a case that does not compile is."""
    run = make_night("20261101T000000Z")
    record, trials = run.read(), run.trials()
    left = NotRun(key=trials[0].key, why="the reason", because=because)  # type: ignore[arg-type]
    standing = {left.key: "an-earlier-night"} if because == "unchanged" else {}
    night = NightRecord(matrix="m", not_run=(left,), unchanged=standing)
    verdict = judge_night(record, night, trials[1:])
    assert verdict.exit_code == code
    assert "not run" in " ".join(verdict.reasons) or "the reason" in " ".join(verdict.reasons)
    still = night.model_copy(update={"still_broken": {left.key: "CRASH: so"}})
    if because == "unchanged":
        assert judge_night(record, still, trials[1:]).exit_code == 1
    assert judge_night(record, night, []).exit_code == 125


def test_a_kernel_that_does_not_boot_is_one_reason() -> None:
    """However many of its guests were under way when that showed."""
    run = make_night("20261101T000000Z")
    crash = {"outcome": Outcome.CRASH, "stage": "boot", "reason": "triple fault"}
    trials = [trial.model_copy(update=crash) for trial in run.trials()]
    verdict = judge_night(run.read(), read_night(run), trials)
    assert verdict.stage == "boot"
    assert [reason for reason in verdict.reasons if "triple fault" in reason] == [
        "kernel stock does not boot on qxl: CRASH: triple fault (trial 1)"
    ]


def test_reports_of_a_night_show_the_matrix() -> None:
    """Each cell a letter; text, page, JUnit and JSON say what was not run; the page escapes."""
    run = make_night("20261101T000000Z", outcomes={"prefault/first-touch": Outcome.CRASH}, leave_out=1)
    night = read_night(run)
    write_night(
        run, night.model_copy(update={"not_run": (NotRun(key=run.read().plan[-1].key, why="<b>late</b>"),)})
    )
    verdict = write_reports(run)
    assert verdict.exit_code == 1
    text = (run.path / "report.txt").read_text()
    assert "smoke/boot [qxl]             ." in text
    assert "prefault/first-touch [qxl]   C" in text
    assert "prefault/second-touch [qxl]  -" in text
    assert "C CRASH" in text
    assert text.count("1  stock: ") == 1
    assert "&lt;b&gt;late" in (run.path / "report.html").read_text()
    junit = (run.path / "junit.xml").read_text()
    assert junit.count("<skipped") == 1 and "not run: &lt;b&gt;late" in junit
    assert render_run(examine(run)).endswith(f"run: {run.path}\n")


def test_ten_thousand_cells_make_a_report_that_can_be_read() -> None:
    """Lines that say the same are folded by topic; what broke is never folded away."""
    cells = [(f"topic-{n // 100}/case-{n}", "qxl") for n in range(1000)]
    run = make_night("20261101T000000Z", cells=cells, roles=10, outcomes={"topic-3/case-333": Outcome.FAIL})
    findings = examine(run)
    lines = matrix_lines(findings)
    assert len(lines) < MAX_ROWS
    assert max(map(len, lines)) <= 100
    assert [line for line in lines if "case-333" in line] == ["topic-3/case-333 [qxl]  FFFFFFFFFF"]
    assert any(line.startswith("topic-3: 99 alike") for line in lines)
    assert len(report_text(findings)) < 40_000


def test_many_kernels_are_shown_in_parts() -> None:
    """A line never gets wider than a terminal."""
    run = make_night("20261101T000000Z", roles=COLUMNS + 8)
    lines = matrix_lines(examine(run))
    assert max(map(len, lines)) <= 100
    assert sum(line.startswith("smoke/boot") for line in lines) == 2


def test_a_night_without_its_own_facts_is_told_as_damaged() -> None:
    """Its trials are shown all the same."""
    run = make_night("20261101T000000Z")
    (run.path / "night.json").write_text('{"matrix": 5}')
    findings = examine(run)
    assert "night.json is damaged" in findings.damaged[0]
    assert "smoke/boot" in "\n".join(matrix_lines(findings))


@pytest.mark.parametrize(("seconds", "words"), [(45, "45 s"), (719.6, "12 min"), (3900, "1 h 05 min")])
def test_durations_in_words(seconds: float, words: str) -> None:
    """As a person says them."""
    assert duration(seconds) == words
