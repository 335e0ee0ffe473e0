# SPDX-License-Identifier: GPL-2.0-or-later
"""report.txt of a bisection: a text that can be sent."""

from __future__ import annotations

import pytest

from lab.report.bisect import bisect_data, bisect_text, judge_bisect
from lab.results.bisect import BisectRecord, Node, Question, Result, Row
from lab.results.models import Clock, Conclusion, Outcome, RunRecord, Subject

RUN = RunRecord(
    id="20261121T010203Z-bisect-x-beef",
    workflow="bisect",
    command=("bisect", "dma-buf/vgem", "--good", "debian:6.12.43", "--bad", "debian:6.12.117"),
    lab_version="0.1.0",
    created="2026-11-21T01:02:03+00:00",
)
VERSIONS = ("6.12.43-1~bpo12+1", "6.12.111-1", "6.12.113-1", "6.12.117-1~deb12u1")


def record(kind: str, **result: object) -> BisectRecord:
    asked = Question.model_validate(
        {
            "kind": kind,
            "case": "dma-buf/vgem",
            "machine": "qxl",
            "clock": Clock.VIRTUAL,
            "good": "a",
            "bad": "b",
            "tree": "/src/linux" if kind == "commits" else "",
        }
    )
    nodes = tuple(
        Node(
            role=f"n{number}",
            name=name if kind == "versions" else f"{number:012x}",
            subject=Subject(kernel=f"debian:{name}", kconfig="lean+drm" if kind == "commits" else ""),
            title="" if kind == "versions" else f"drm: change {number}\x1b[31m",
            commit="" if kind == "versions" else f"{number:040x}",
            parents=(number - 1,) if number else (),
        )
        for number, name in enumerate(VERSIONS)
    )
    rows = (
        Row(role="n0", verdict="good", shown=0, boots=2, says="PASS"),
        Row(role="n1", verdict="skip", shown=0, boots=0, says="does not build \x1b[2J" + "x" * 200),
        Row(role="n2", verdict="bad", shown=1, boots=1, values=(1024.0,), says="PASS"),
        Row(role="n3", verdict="bad", shown=2, boots=2, values=(1024.0, 1030.0), says="PASS"),
    )
    base = {
        "status": "found",
        "sentence": "first bad version: 6.12.113-1",
        "rows": rows,
        "by": "special above 512 count",
    }
    told = Result.model_validate({**base, "kernels": 3, "boots": 5, "seconds": 61.0, **result})
    return BisectRecord(question=asked, nodes=nodes, result=told)


def text_of(kind: str, **result: object) -> str:
    text = bisect_text(RUN, record(kind, **result), [], "/state/runs/x")
    assert text.isascii()
    assert "\x1b" not in text
    assert all(len(line) <= 75 for line in text.splitlines() if not line.startswith("  lab "))
    return text


def test_two_versions() -> None:
    """The pair, the evidence, what came in, how to see it again, and the line for regzbot."""
    text = text_of(
        "versions",
        culprit=2,
        before=1,
        exact=True,
        error=0.0,
        changes=("mm/huge_memory: bypass THP tuneables for huge pfnmap mappings",),
        changes_from="changelog of linux-image-6.12.113",
        changes_more=1325,
    )
    assert text.startswith("first bad version: 6.12.113-1.\n")
    assert "n1" not in text
    assert "6.12.111-1          -       skipped  does not build xxx" in text
    assert "6.12.117-1~deb12u1  2 of 2  bad      1,024 to 1,030" in text
    assert "  - mm/huge_memory: bypass THP tuneables" in text
    assert "1325 other entries left out" in text
    assert "lab run dma-buf/vgem --machine qxl --kernel debian:6.12.113-1\n" in text
    assert "  #regzbot introduced: v6.12.111..v6.12.113\n" in text
    assert "every boot repeats itself" in text
    assert "lab bisect --replay 20261121T010203Z-bisect-x-beef" in text


def test_a_commit_with_its_confidence() -> None:
    """Of a failure that does not always show: its rate, and how sure it is."""
    text = text_of("commits", culprit=2, before=1, error=0.004, rate=(0.25, 0.1, 0.5))
    assert "in 25% of the boots of a bad kernel (95 %: 10% to 50%)" in text
    assert "99.6 % that it is this one (wanted: 99 %)" in text
    assert f"#regzbot introduced: {2:040x}" in text
    assert "--kconfig lean+drm --trials 11\n" in text  # 0.75^11 is less than one in twenty
    assert "git bisect replay /state/runs/x/git-bisect.log" in text


@pytest.mark.parametrize(
    ("status", "conclusion", "head"),
    [
        ("found", Conclusion.PASS, "first bad"),
        ("unclear", Conclusion.INCONCLUSIVE, "Cannot tell: first bad"),
        ("refused", Conclusion.INCONCLUSIVE, "Nothing to search: first bad"),
    ],
)
def test_how_it_ended(status: str, conclusion: Conclusion, head: str) -> None:
    """Only what was found ends with 0; no line for regzbot without a culprit."""
    made = record("versions", status=status)
    assert judge_bisect(made).verdict is conclusion
    text = bisect_text(RUN, made, [], "/state/runs/x")
    assert text.startswith(head)
    assert "#regzbot" not in text
    assert bisect_data(made)["status"] == status


def test_one_that_is_not_over() -> None:
    """Interrupted: how to go on."""
    made = record("versions").model_copy(update={"result": None})
    assert judge_bisect(made).verdict is Conclusion.INCONCLUSIVE
    assert f"lab bisect --resume {RUN.id}" in bisect_text(RUN, made, [], "/x")
    assert Outcome.PASS not in bisect_data(made).values()
