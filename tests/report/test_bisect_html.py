# SPDX-License-Identifier: GPL-2.0-or-later
"""report.html of a bisection: every kernel that was looked at, which one it is, and the text to send."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import pytest
from made_up import NASTY, folder, plan, pmd_size_run
from made_up import record as run_record
from test_bisect_text import record

from lab.report import html
from lab.report.findings import examine
from lab.report.html import report_html
from lab.results.bisect import WORKFLOW, BisectRecord, write_bisect


def page_of(path: Path, found: BisectRecord) -> str:
    planned = plan(("dma-buf/vgem", "n0"))
    run = folder(path, run_record(planned, workflow=WORKFLOW, kernels={}), [])
    write_bisect(run, found)
    return report_html(examine(run))


def rows(page: str) -> list[list[str]]:
    (table,) = re.findall(r"<h2>Search</h2>.*?<tbody>(.*?)</tbody>", page, re.DOTALL)
    return [
        [
            " ".join(unescape(re.sub(r"<[^>]+>", " ", cell)).split())
            for cell in re.findall(r"<t[hd].*?</t[hd]>", row)
        ]
        for row in re.findall(r"<tr.*?</tr>", table.replace("\n", " "))
    ]


def test_every_kernel_has_a_row(tmp_path: Path) -> None:
    """In the order of the history, with what it showed; the one that was looked for is marked."""
    page = page_of(tmp_path, record("commits", culprit=2, before=1, exact=True, error=0.0))
    found = rows(page)
    assert [row[0].split()[0] for row in found] == [f"{number:012x}" for number in range(4)]
    assert found[2][0].endswith("drm: change 2")
    assert [row[1:3] for row in found] == [
        ["0 of 2", "good"],
        ["-", "skipped"],
        ["1 of 1", "bad found"],
        ["2 of 2", "bad"],
    ]
    assert found[3][3] == "1,024 to 1,030"
    assert f"#regzbot introduced: {2:040x}" in page


def test_the_words_of_a_history_are_words(tmp_path: Path) -> None:
    """Markup in a commit's subject, or in what a kernel said, is shown and never obeyed."""
    asked = record("commits", culprit=2, before=1)
    assert asked.result is not None
    nodes = tuple(node.model_copy(update={"title": NASTY}) for node in asked.nodes)
    told = tuple(row.model_copy(update={"says": NASTY, "values": ()}) for row in asked.result.rows)
    result = asked.result.model_copy(update={"rows": told})
    page = page_of(tmp_path, asked.model_copy(update={"nodes": nodes, "result": result}))
    assert "<script" not in page and "\x1b" not in page and "\u202e" not in page


def test_many_are_bounded_and_others_have_no_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(html, "MAX_ROWS", 3)
    page = page_of(tmp_path / "many", record("versions", culprit=2, before=1))
    assert len(rows(page)) == 3
    assert "and 1 more kernels in bisect.json" in page
    going = record("versions").model_copy(update={"result": None})
    assert "<h2>Search</h2>" not in page_of(tmp_path / "going", going)
    assert "As a mail" not in report_html(examine(pmd_size_run(tmp_path / "pair")))
