# SPDX-License-Identifier: GPL-2.0-or-later
"""The tables of an answer: cells, escaping, stamp, and their place in a README."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import made_up
import pytest

from lab.compare.answer import judge_answer
from lab.errors import UserError
from lab.report.answer import Answered, answer_block, cell
from lab.report.answer_readme import check_markers, with_answer
from lab.report.findings import examine
from lab.report.text import report_text
from lab.results.answer import ToldColumn, ToldRow, ToldTable, TopicAnswer
from lab.results.models import Check, Conclusion, Outcome, RunRecord, Splat, Trial

CASE = "prefault/first-touch"
PLAN = made_up.plan((CASE, "base"), (CASE, "patched"))
TOTAL = ToldColumn(title="total", case=CASE, metric="total")
FAULTS = ToldColumn(title="faults", case=CASE, metric="faults")
CONTENT = ToldColumn(title="content", case=CASE, check="content")
SEEN = CONTENT.model_copy(update={"show": "detail"})
OUTCOME = ToldColumn(title="outcome", case=CASE)


def ended(outcome: Outcome = Outcome.PASS, **more: Any) -> Trial:
    return made_up.trial(PLAN[0], {"faults": 1128, "total": 1514527}, outcome=outcome, **more)


def checked(result: Any, detail: str = "2048 as written", **more: Any) -> Trial:
    outcome = Outcome.FAIL if result == "not ok" else Outcome.PASS
    return ended(outcome, checks=(Check(name="content", result=result, detail=detail),), **more)


OOPS = Splat(kind="oops", title="BUG: Oops in ttm_bo_vm_fault", line=12, excerpt="")
CELLS = [
    (TOTAL, ended(), "1,514,527 insn"),
    (FAULTS, ended(), "1,128"),
    (TOTAL, checked("not ok"), "1,514,527 insn (FAIL)"),
    (ToldColumn(title="t", case=CASE, metric="gone"), ended(), "n/a"),
    (CONTENT, checked("ok"), "ok"),
    (SEEN, checked("ok"), "2048 as written"),
    (SEEN, checked("ok", ""), "ok"),
    (CONTENT, checked("not ok", "7 of 9"), "not ok: 7 of 9"),
    (CONTENT, checked("skip", "no such ioctl"), "SKIP: no such ioctl"),
    (
        CONTENT,
        checked("ok").model_copy(update={"outcome": Outcome.FAIL, "stage": "scan", "splats": (OOPS,)}),
        "ok (FAIL: BUG: Oops in ttm_bo_vm_fault)",
    ),
    (
        SEEN,
        checked("ok").model_copy(
            update={"outcome": Outcome.FAIL, "stage": "run", "reason": "the workload ended with status 139"}
        ),
        "2048 as written (FAIL: the workload ended with status 139)",
    ),
    (CONTENT, ended(), "n/a"),
    (OUTCOME, ended(), "PASS"),
    (
        OUTCOME,
        ended(Outcome.FAIL, reason="check failed: content", stage="run"),
        "FAIL: check failed: content",
    ),
    (
        OUTCOME,
        ended(Outcome.FAIL, reason="kernel log: x (console.log line 7)", stage="scan", splats=(OOPS,)),
        "FAIL: BUG: Oops in ttm_bo_vm_fault",
    ),
    (TOTAL, ended(Outcome.SKIP, reason="needs Linux >=6.15"), "SKIP: needs Linux >=6.15"),
    (TOTAL, ended(Outcome.CRASH, reason="x (console.log line 7)", splats=(OOPS,)), f"CRASH: {OOPS.title}"),
    (CONTENT, ended(Outcome.CRASH, reason="gone (console.log line 7)"), "CRASH: gone"),
    (OUTCOME, ended(Outcome.TIMEOUT, reason="w" * 500), "TIMEOUT: " + "w" * 97 + "..."),
    (OUTCOME, None, "not run"),
]


@pytest.mark.parametrize(("column", "trial", "text"), CELLS)
def test_cell(column: ToldColumn, trial: Trial | None, text: str) -> None:
    """A number with its unit, a check, or how the trial ended; never a number that is not there."""
    assert cell(column, trial) == text


def topic(*columns: ToldColumn, **more: Any) -> TopicAnswer:
    rows = (
        ToldRow(kernel="6.1", series="stock", machine="qxl", role="base"),
        ToldRow(kernel="6.1", series="pmd-size", machine="qxl", role="patched"),
    )
    return TopicAnswer(topic="prefault", tables=(ToldTable(title="T", columns=columns, rows=rows, **more),))


def answered(told: TopicAnswer, trials: list[Trial], **more: Any) -> Answered:
    record = made_up.record(PLAN, workflow="answer", **more)
    kernels = {kernel.id: kernel for kernel in made_up.KERNELS.values()}
    return answer_block(told, record, trials, kernels)


def both(**second: Any) -> list[Trial]:
    return [ended(), made_up.trial(PLAN[1], {"faults": 4, "total": 5}, **second)]


def test_whole_block() -> None:
    """Title, conditions, table with numbers flush right, what was left out, what it says, stamp."""
    told = topic(TOTAL, OUTCOME, says="It *says* so.", left_out=("Left out: madvise on 5.10.",))
    assert answered(told, both()).block == (
        "### T\n"
        "\n"
        "Machine `qxl`; virtual clock (insn: guest instructions).\n"
        "\n"
        "| kernel | series | total | outcome |\n"
        "|---|---|---:|---|\n"
        "| 6.1 | stock | 1,514,527 insn | PASS |\n"
        "| 6.1 | pmd-size | 5 insn | PASS |\n"
        "\n"
        "Left out: madvise on 5.10.\n"
        "\n"
        "It *says* so.\n"
        "\n"
        "Kernels: debian:6.1.192-2. Accelerator: tcg.\n"
        "Measured by faultlab 0.1.0; again: `lab answer prefault`.\n"
        "Date: 2026-11-21\n"
    )


def test_only_the_date_differs_between_runs() -> None:
    """Another run with the same numbers, later and slower, gives the same bytes but one line."""
    later = both()
    later[0] = later[0].model_copy(update={"seconds": 99.0, "started": "2026-12-24T00:00:00Z"})
    first = answered(topic(TOTAL, FAULTS), both()).block.splitlines()
    second = answered(topic(TOTAL, FAULTS), later, created="2026-12-24T01:02:03Z", id="x").block.splitlines()
    assert [pair for pair in zip(first, second, strict=True) if pair[0] != pair[1]] == [
        ("Date: 2026-11-21", "Date: 2026-12-24")
    ]


def test_machines_are_a_column_where_there_are_several() -> None:
    """And the series are none where no row has one."""
    rows = tuple(ToldRow(kernel="6.1", series="stock", machine=m, role="base") for m in ("qxl", "bochs"))
    told = TopicAnswer(topic="t", tables=(ToldTable(title="T", columns=(TOTAL,), rows=rows),))
    assert "| kernel | machine | total |" in answered(told, both()).block
    assert "Machines `qxl`, `bochs`;" in answered(told, both()).block


def test_rows_of_cases() -> None:
    """Named by their case first; one that broke says why once, and in the other cells only that it did."""
    rows = tuple(
        ToldRow(kernel="6.1", series="stock", machine=machine, role=role, case=CASE, title=title)
        for role, machine, title in (("base", "qxl", "all"), ("patched", "qxl", "some"))
    )
    plain = TOTAL.model_copy(update={"case": ""})
    columns = tuple(plain.model_copy(update={"metric": name}) for name in ("total", "gone", "lost"))
    told = ToldTable(title="T", columns=(CONTENT, *columns), rows=rows, called="memory")
    why = Check(name="content", result="not ok", detail="7 of 9")
    broken = both(outcome=Outcome.FAIL, reason="check failed: content: 7 of 9", checks=(why,))
    lines = answered(TopicAnswer(topic="t", tables=(told,)), broken).block.splitlines()
    assert lines[4] == "| memory | kernel | content | total | total | total |"
    assert lines[6] == "| all | 6.1 | n/a | 1,514,527 insn | n/a | n/a |"
    assert lines[7] == "| some | 6.1 | not ok: 7 of 9 | 5 insn (FAIL) | FAIL | FAIL |"
    skipped = both(outcome=Outcome.SKIP, reason="needs Linux >=6.12")
    lines = answered(TopicAnswer(topic="t", tables=(told,)), skipped).block.splitlines()
    assert lines[7] == "| some | 6.1 | SKIP: needs Linux >=6.12 | SKIP | SKIP | SKIP |"


def test_hostile_words_are_no_markup_and_no_marker() -> None:
    """What a guest says cannot leave its cell, end the block or become HTML."""
    words = f"a | b <!-- /answer --> `x` [l](u) \\ {made_up.NASTY}"
    trial = checked("not ok", words)
    block = answered(topic(CONTENT), [trial, *both()[1:]]).block
    (line,) = [line for line in block.splitlines() if "not ok" in line]
    assert line.replace("\\|", "").count("|") == 4
    assert "<" not in block
    assert "\x1b" not in block
    text = "<!-- answer -->\n<!-- /answer -->\n"
    check_markers(with_answer(text, block, name="README.md"), name="README.md")


def test_holes_are_told() -> None:
    """A trial that the lab failed at, and one that has not run, leave the question open."""
    assert answered(topic(TOTAL), both()).open == ()
    assert answered(topic(TOTAL), both(outcome=Outcome.CRASH)).open == ()
    assert answered(topic(TOTAL), both(outcome=Outcome.ERROR, reason="QEMU is gone")).open == (
        f"{CASE} on qxl, kernel patched: the lab failed: QEMU is gone",
    )
    assert answered(topic(TOTAL), both()[:1]).open == (f"{CASE} on qxl, kernel patched: not run",)


@pytest.mark.parametrize(
    ("trials", "verdict", "words"),
    [
        (both(outcome=Outcome.CRASH), Conclusion.PASS, "2 trials ran (1 CRASH, 1 PASS)"),
        (both(outcome=Outcome.ERROR, reason="QEMU is gone"), Conclusion.INCONCLUSIVE, "QEMU is gone"),
        (both()[:1], Conclusion.INCONCLUSIVE, "1 of 2 planned trials without a result"),
    ],
)
def test_verdict_is_about_the_question(trials: list[Trial], verdict: Conclusion, words: str) -> None:
    """A crash is an answer; only what the lab failed at, or did not run, is none."""
    found = judge_answer(made_up.record(PLAN), trials)
    assert found.verdict is verdict
    assert words in found.reasons[0]


def test_report_of_a_run_names_the_kernel_of_each_trial(tmp_path: Path) -> None:
    """Several kernels that are not base and patched each have their name in the list of trials."""
    planned = made_up.plan((CASE, "debian-6.1"), (CASE, "debian-7.3"))
    kernels = {one.role: made_up.KERNELS["base"].id for one in planned}
    record = made_up.record(planned, workflow="answer", kernels=kernels)
    trials = [made_up.trial(one, {"total": 5}) for one in planned]
    findings = examine(made_up.folder(tmp_path, record, trials))
    assert findings.verdict.verdict is Conclusion.PASS
    text = report_text(findings)
    assert all(f"{CASE}  {role}" in text for role in kernels)


README = "before\n<!-- answer -->\nold\n<!-- /answer -->\nafter <!-- answer --> in a line\n"


def test_only_what_is_between_the_markers_is_replaced() -> None:
    """And writing the same block again changes nothing."""
    once = with_answer(README, "new\n\n", name="README.md")
    assert once == README.replace("old", "new")
    assert with_answer(once, "new\n", name="README.md") == once


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("no markers", "README.md has no place for the tables"),
        ("<!-- answer -->\n", "found markers on line 1"),
        ("<!-- /answer -->\n<!-- answer -->\n", "found markers on line 1, line 2"),
        (README + README, "found markers on line 2, line 4, line 7, line 9"),
    ],
)
def test_readme_without_a_place_is_an_error(text: str, words: str) -> None:
    """Missing, doubled or turned markers are told with their lines, and nothing is written."""
    with pytest.raises(UserError, match=words) as caught:
        with_answer(text, "new", name="README.md")
    assert "<!-- answer -->" in caught.value.hint


def test_record_is_a_record() -> None:
    """What the tables are made of survives a round trip through JSON."""
    told = topic(TOTAL, SEEN)
    assert TopicAnswer.model_validate_json(told.model_dump_json()) == told
    assert told.wanted == {(CASE, "base", "qxl"), (CASE, "patched", "qxl")}
    assert told.roles == ("base", "patched")
    assert RunRecord.model_validate_json(made_up.record(PLAN).model_dump_json())
