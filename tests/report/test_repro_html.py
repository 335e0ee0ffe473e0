# SPDX-License-Identifier: GPL-2.0-or-later
"""report.html of `lab repro`: for each regression its kernels, what was asked of each and what it showed."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import pytest
from made_up import NASTY, folder, plan, pmd_size_run, record, trial

from lab.report import html
from lab.report.findings import examine
from lab.report.html import report_html
from lab.results.models import Clock, Measurement
from lab.results.repro import WORKFLOW, ReproRecord, WantedKernel, WantedRegression, WantedSign, write_repro
from lab.results.runfolder import RunFolder

CASE = "prefault/first-touch"
CELL = r"<t[hd].*?</t[hd]>"


def regression(name: str, **more: object) -> WantedRegression:
    told = {
        "name": name,
        "title": f"{name} takes longer",
        "kind": "reported",
        "case": CASE,
        "machine": "qxl",
        "links": ("https://example.org/1",),
        "good": (WantedKernel(role=f"{name}.good", label="6.1"),),
        "bad": (WantedKernel(role=f"{name}.bad", label="6.12", why="the first with it"),),
        "good_signs": (WantedSign(metric="taken", least=3.0),),
        "bad_signs": (WantedSign(metric="taken", most=0.0), WantedSign(splat="BUG in x", seen=False)),
    }
    return WantedRegression(**(told | more))


def run_of(path: Path, taken: dict[str, int], *wanted: WantedRegression) -> RunFolder:
    """A run that measured this on these roles; on a role that is not named nothing ran."""
    planned = plan(*((CASE, role) for role in taken))
    trials = [
        trial(
            one,
            measurements=(
                Measurement(metric="taken", value=taken[one.role], unit="count", clock=Clock.COUNT),
            ),
        )
        for one in planned
    ]
    run = folder(path, record(planned, workflow=WORKFLOW, kernels={}), trials)
    lacking = {role: "no suite has it" for one in wanted for role in one.roles if role not in taken}
    write_repro(run, ReproRecord(regressions=wanted, lacking=lacking))
    return run


def rows(run: RunFolder) -> list[list[str]]:
    """The cells of the table of regressions as words."""
    (table,) = re.findall(
        r"<h2>Regressions</h2>.*?<tbody>(.*?)</tbody>", report_html(examine(run)), re.DOTALL
    )
    return [
        [" ".join(unescape(re.sub(r"<[^>]+>", " ", cell)).split()) for cell in re.findall(CELL, row)]
        for row in re.findall(r"<tr.*?</tr>", table.replace("\n", " "))
    ]


def test_each_kernel_has_a_row(tmp_path: Path) -> None:
    """Confirmed, contradicted and not to be told; what was asked and what was seen, on both sides."""
    taken = {"yes.good": 3, "yes.bad": 0, "no.good": 0, "no.bad": 0, "open.good": 4}
    found = rows(run_of(tmp_path, taken, *map(regression, ("yes", "no", "open"))))
    why = ["", "6.12: the first with it"]
    heads = [row for row in found if len(row) == 1]
    assert [words.split()[:3] for (words,) in heads] == [
        ["yes", "confirmed:", "yes"],
        ["no", "confirmed:", "NO"],
        ["open", "confirmed:", "cannot"],
    ]
    assert f"yes takes longer; {CASE} on qxl; reported https://example.org/1" in heads[0][0]
    assert found[1:4] == [
        ["good: 6.1", "taken: at least 3", "taken 3 trials/001-prefault-first-touch-yes.good", "yes"],
        [
            "bad: 6.12",
            "taken: at most 0; without BUG in x",
            "taken 0; no BUG in x trials/002-prefault-first-touch-yes.bad",
            "yes",
        ],
        why,
    ]
    assert [row[3] for row in found if len(row) == 4] == ["yes", "yes", "NO", "yes", "yes", "cannot tell"]
    assert found[-2][2] == "no kernel"


def test_the_words_of_a_file_are_words(tmp_path: Path) -> None:
    """Markup in repro.json is shown, never obeyed; a link is not clicked."""
    kernel = WantedKernel(role="it.bad", label=NASTY, why=NASTY)
    nasty = regression("it", title=NASTY, bad=(kernel,), links=(NASTY, "javascript:alert(1)"))
    page = report_html(examine(run_of(tmp_path, {"it.good": 3}, nasty)))
    assert "<script" not in page and "<a " not in page
    assert "\x1b" not in page and "\u202e" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_many_are_bounded_and_others_have_no_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(html, "MAX_ROWS", 3)
    run = run_of(tmp_path, {}, *(regression(f"r{n}") for n in range(4)))
    assert [len(row) for row in rows(run)] == [1, 4, 4, 2, 1, 4]
    assert "and 5 more kernels in repro.json" in report_html(examine(run))
    assert "<h2>Regressions</h2>" not in report_html(examine(pmd_size_run(tmp_path / "pair")))
