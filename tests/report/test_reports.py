# SPDX-License-Identifier: GPL-2.0-or-later
"""All reports of made-up runs: complete, safe against hostile words, and the same when written again."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import junitparser
import pytest
from made_up import ENVIRONMENT, KERNELS, NASTY, folder, nasty_run, plan, pmd_size_run, record, trial

from lab.compare.verdict import reject
from lab.errors import InfraError, SeriesError
from lab.report.findings import examine
from lab.report.summary import summary
from lab.report.text import render_run, render_table
from lab.report.write import write_reports
from lab.results.models import Clock, Conclusion, Outcome, Verdict
from lab.results.runfolder import RunFolder

CASE = "prefault/first-touch"


class Tags(HTMLParser):
    """Collects tags and attributes, as a browser would see them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))


def written(run: RunFolder) -> dict[str, str]:
    write_reports(run)
    names = ("report.txt", "report.html", "junit.xml", "verdict.json")
    return {name: (run.path / name).read_text() for name in names}


def test_table(tmp_path: Path) -> None:
    """The one table: header, units, thousands, big factors, then verdict, reasons and run folder."""
    run = pmd_size_run(tmp_path)
    text = render_table(examine(run))
    lines = text.splitlines()
    assert lines[0].split() == ["case", "metric", "base", "patched", "change", "decision"]
    assert "longest touch, insn     22,012    348,120    x15.8  worse" in text
    assert "all touches, insn    1,924,310  1,404,018  -27.0 %  better" in text
    assert "verdict: FAIL (stage compare, exit code 1)" in lines
    assert lines[-1] == f"run: {run.path}"
    assert text.isascii() and max(map(len, lines[:-1])) <= 100


@pytest.mark.parametrize("make", [pmd_size_run, nasty_run])
def test_text_report_fits_a_mail(tmp_path: Path, make) -> None:  # type: ignore[no-untyped-def]
    """report.txt is ASCII without control characters; prose has at most 75 columns, tables 100."""
    text = written(make(tmp_path))["report.txt"]
    assert text.isascii() and not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", text)
    for line in text.splitlines():
        is_table = re.search(r"\S {2,}\S+ {2,}\S", line) or set(line) <= set("- ")
        assert len(line) <= (100 if is_table else 75), line


def test_text_report_is_complete(tmp_path: Path) -> None:
    """report.txt names kernels, base choice, machine, accelerator with reason, clock, and the command."""
    text = written(pmd_size_run(tmp_path))["report.txt"]
    for word in ("debian:6.1.192-2 + pmd-size", "6.1.0-56-amd64", "stock kernel", "qxl", "tcg: KVM opens"):
        assert word in text
    assert "guest instructions" in text and "lab validate testcases/prefault/series/pmd-size.mbox" in text


def test_text_report_shows_a_crash(tmp_path: Path) -> None:
    """A crash is told with its splat and the last console lines, each bounded."""
    text = written(nasty_run(tmp_path))["report.txt"]
    assert "patched kernel: CRASH at stage run" in text and "splat: oops" in text
    assert "| the end" in text and len(text) < 8000


def test_patch_subjects(tmp_path: Path) -> None:
    """The report names the patches of the kept series, without the cover letter, headers decoded."""
    run = pmd_size_run(tmp_path)
    (run.path / "series.mbox").write_text(
        "From 1111 Mon Sep 17 00:00:00 2001\nSubject: [PATCH 0/2] cover\n\nFrom here on, text.\n"
        "From 2222 Mon Sep 17 00:00:00 2001\nSubject: [PATCH 1/2] drm/ttm: =?utf-8?q?caf=C3=A9?=\n\n"
        "From 3333 Mon Sep 17 00:00:00 2001\nSubject: [PATCH 2/2] drm/ttm:\n second\n\n"
    )
    run.write(run.read().model_copy(update={"series": "series.mbox"}))
    assert examine(run).subjects == ["[PATCH 1/2] drm/ttm: café", "[PATCH 2/2] drm/ttm: second"]
    run.write(run.read().model_copy(update={"series": "../../outside.mbox"}))
    (run.path.parent.parent / "outside.mbox").write_text("Subject: secret\n\n")
    assert examine(run).subjects == []


@pytest.mark.parametrize("make", [pmd_size_run, nasty_run])
def test_html_is_safe(tmp_path: Path, make) -> None:  # type: ignore[no-untyped-def]
    """No script, no reference to elsewhere, a strict policy, no control character, whatever a log says."""
    page = written(make(tmp_path))["report.html"]
    tags = Tags(page).seen
    names = {tag for tag, _ in tags}
    assert not names & {"script", "iframe", "object", "embed", "link", "base", "form", "img"}
    for _, attributes in tags:
        assert not [name for name in attributes if name.startswith("on") or name in ("href", "src", "srcset")]
    policy = [a["content"] for tag, a in tags if tag == "meta" and "http-equiv" in a]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:"]
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", page)
    assert len(page) < 200_000


def test_html_shows_the_stall(tmp_path: Path) -> None:
    """The page holds verdict, table, a labelled drawing with both sides, and QEMU's command line."""
    page = written(pmd_size_run(tmp_path))["report.html"]
    assert page.count("<svg") == 1 and "longest: 348,040" in page and "longest: 22,012" in page
    assert 'class="dots peak patched"' in page and "<desc" in page and 'role="img"' in page
    assert "-icount shift=0,sleep=off" in page and "x15.8" in page


def test_html_says_why_nothing_is_drawn(tmp_path: Path) -> None:
    """Samples that are not what they should be are named, not drawn."""
    page = written(nasty_run(tmp_path))["report.html"]
    assert "<svg" not in page and "touches.txt line 2 is not" in page


@pytest.mark.parametrize("make", [pmd_size_run, nasty_run])
def test_junit_parses_back(tmp_path: Path, make) -> None:  # type: ignore[no-untyped-def]
    """junit.xml is well-formed whatever a console holds, with unique names and right counters."""
    text = written(make(tmp_path))["junit.xml"]
    ET.fromstring(text)
    xml = junitparser.JUnitXml.fromstring(text.encode())
    cases = [case for suite in xml for case in suite]
    assert len({(case.classname, case.name) for case in cases}) == len(cases) == xml.tests
    assert xml.failures == sum(case.is_failure for case in cases) > 0


def test_junit_mapping(tmp_path: Path) -> None:
    """Each outcome becomes what CI systems expect of it; a missing trial is an error."""
    outcomes = [Outcome.PASS, Outcome.FAIL, Outcome.CRASH, Outcome.TIMEOUT, Outcome.ERROR, Outcome.SKIP]
    planned = plan(*[("smoke/boot", "kernel")] * 7)
    trials = [trial(p, outcome=o, reason="why") for p, o in zip(planned, outcomes, strict=False)]
    run = folder(tmp_path, record(planned, workflow="run", kernels={"kernel": KERNELS["base"].id}), trials)
    xml = junitparser.JUnitXml.fromstring(written(run)["junit.xml"].encode())
    found = [[type(r).__name__ for r in case.result] for suite in xml for case in suite]
    assert found == [[], ["Failure"], ["Failure"], ["Failure"], ["Error"], ["Skipped"], ["Error"]]
    assert (xml.tests, xml.failures, xml.errors, xml.skipped) == (7, 3, 2, 1)


def test_json_of_a_comparison(tmp_path: Path) -> None:
    """The JSON object has the promised fields, whole numbers as integers, change as a fraction."""
    found = json.loads(written(pmd_size_run(tmp_path))["verdict.json"])
    assert set(found) == {"verdict", "stage", "reasons", "run", "clock", "comparisons"}
    longest = next(c for c in found["comparisons"] if (c["case"], c["metric"]) == (CASE, "max"))
    promised = {"case", "machine", "metric", "unit", "clock", "base", "patched", "change", "better"}
    assert promised | {"decision", "mde"} <= set(longest)
    assert (longest["base"], longest["patched"], longest["unit"]) == (22012, 348120, "insn")
    assert isinstance(longest["base"], int) and longest["change"] == pytest.approx(14.815, abs=0.001)
    assert (found["verdict"], found["clock"], longest["decision"]) == ("FAIL", "virtual", "worse")


def test_run_of_one_kernel(tmp_path: Path) -> None:
    """A run of one kernel has its own table, its own JSON, and a verdict without comparison."""
    planned = plan((CASE, "kernel"), ("smoke/boot", "kernel"))
    first = trial(planned[0], {"faults": 128.0, "total": 1924310.0})
    skipped = trial(planned[1], outcome=Outcome.SKIP, reason="this kernel has no qxl driver")
    kernels = {"kernel": KERNELS["base"].id}
    findings = examine(folder(tmp_path, record(planned, workflow="run", kernels=kernels), [first, skipped]))
    text = render_run(findings)
    assert "1,924,310 insn" in text and "this kernel has no qxl driver" in text
    assert "verdict: PASS" in text and "1 trial passed, 1 skipped" in text
    told = summary(findings)
    assert "comparisons" not in told and told["trials"][0]["measurements"][1]["value"] == 1924310


def test_damaged_trial_is_named_and_missing(tmp_path: Path) -> None:
    """One damaged trial.json makes the answer open; the reports name it and tell the rest."""
    run = pmd_size_run(tmp_path)
    key = "004-prefault-first-touch-patched"
    (run.trial_path(key) / "trial.json").write_text('{"key": "half')
    files = written(run)
    assert json.loads(files["verdict.json"])["verdict"] == "FAIL"  # sparse-touch is worse all the same
    assert "damaged" in files["report.txt"] and key in files["report.txt"] and key in files["report.html"]
    assert "planned, but there is no result" in files["junit.xml"]


def test_trial_under_another_name_is_damaged(tmp_path: Path) -> None:
    """A trial that names a folder elsewhere is not followed there."""
    run = pmd_size_run(tmp_path)
    path = run.trial_path("001-smoke-boot-base") / "trial.json"
    path.write_text(path.read_text().replace('"key": "001-smoke-boot-base"', '"key": "../../etc"'))
    trials, damaged = run.readable_trials()
    assert len(trials) == 5 and len(damaged) == 1 and "../../etc" in damaged[0]


def test_damaged_kernel_is_survived(tmp_path: Path) -> None:
    """A kernel record that cannot be read costs its description only."""
    run = pmd_size_run(tmp_path)
    next(run.path.glob("kernels/*/kernel.json")).write_text("{}")
    assert write_reports(run).verdict is Conclusion.FAIL
    assert "kernel.json is damaged" in (run.path / "report.txt").read_text().replace("\n    ", "")


def test_run_without_record(tmp_path: Path) -> None:
    """Without run.json nothing can be said."""
    with pytest.raises(InfraError, match=r"run\.json"):
        write_reports(RunFolder(tmp_path))


def test_rejected_series_keeps_its_verdict(tmp_path: Path) -> None:
    """A series that does not build is reported as such, in every report."""
    rejected = reject(
        SeriesError("ttm_bo_vm.c does not compile", stage="build", evidence="a.c:1: error: <b>")
    )
    run = folder(tmp_path, record((), verdict=rejected), [])
    files = written(run)
    assert write_reports(run) == rejected
    assert json.loads(files["verdict.json"])["stage"] == "build"
    assert "    | a.c:1: error: <b>" in files["report.txt"] and "&lt;b&gt;" in files["report.html"]
    assert junitparser.JUnitXml.fromstring(files["junit.xml"].encode()).failures == 1


def test_old_verdict_is_judged_again(tmp_path: Path) -> None:
    """A verdict from comparing is made anew from the trials, not repeated from run.json."""
    run = pmd_size_run(tmp_path)
    old = Verdict(verdict=Conclusion.PASS, stage="compare", reasons=("old",))
    run.write(run.read().model_copy(update={"verdict": old}))
    assert write_reports(run).verdict is Conclusion.FAIL


def test_reports_can_be_written_again(tmp_path: Path) -> None:
    """Writing twice gives the same bytes and leaves no temporary file."""
    run = pmd_size_run(tmp_path)
    assert written(run) == written(run)
    assert not [path for path in run.path.iterdir() if path.name.startswith(".")]


def test_console_link_is_not_followed(tmp_path: Path) -> None:
    """A run folder from elsewhere cannot make a report show a file of this host."""
    run = nasty_run(tmp_path)
    secret = tmp_path / "secret"
    secret.write_text("the secret\n")
    console = run.trial_path("002-prefault-first-touch-patched") / "console.log"
    console.unlink()
    console.symlink_to(secret)
    assert not any("the secret" in text for text in written(run).values())


def test_several_machines_are_told_apart(tmp_path: Path) -> None:
    """With more than one machine each row and each reason names its machine."""
    first = plan((CASE, "base"), (CASE, "patched"))
    second = [
        p.model_copy(update={"number": p.number + 2, "key": f"b-{p.key}", "machine": "bochs"}) for p in first
    ]
    numbers = {"base": {"total": 10.0, "max": 5.0}, "patched": {"total": 10.0, "max": 9.0}}
    planned = (*first, *second)
    run = folder(tmp_path, record(planned), [trial(p, numbers[p.role]) for p in planned])
    text = render_table(examine(run))
    assert "prefault/first-touch [bochs]" in text and "prefault/first-touch on bochs: longest touch" in text


def test_real_time_shows_its_evidence(tmp_path: Path) -> None:
    """On the real clock the table says interval, pairs and what change they can show."""
    planned = plan(*[(CASE, role) for _ in range(6) for role in ("base", "patched")], clock=Clock.REAL)
    env = ENVIRONMENT.model_copy(update={"accelerator": "kvm", "clock": Clock.REAL})
    trials = [
        trial(p, {"total": 1000.0 + p.repeat, "max": 10.0 + p.repeat + p.number}, environment=env)
        for p in planned
    ]
    text = " ".join(render_table(examine(folder(tmp_path, record(planned), trials))).split())
    assert "95 % interval" in text and "6 pairs of boots can show a change of" in text


def test_hostile_names_do_not_break_the_table(tmp_path: Path) -> None:
    """Titles of any length and content leave a table of at most 100 columns."""
    run = pmd_size_run(tmp_path)
    old = run.read()
    metric = old.cases[CASE].metrics["max"].model_copy(update={"title": NASTY * 1000})
    case = old.cases[CASE].model_copy(update={"metrics": {"max": metric}, "title": NASTY * 1000})
    run.write(old.model_copy(update={"cases": {CASE: case}}))
    lines = render_table(examine(run)).splitlines()
    assert max(len(line) for line in lines[:-1]) <= 100
    assert all(line.isascii() and line.isprintable() for line in lines)
