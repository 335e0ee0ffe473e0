# SPDX-License-Identifier: GPL-2.0-or-later
"""`lab answer` in a copy of the tree: tables in READMEs, the same ones again, old ones where it failed."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from labrun import Lab

from lab import files

ROOT = Path(__file__).parents[2]
SERIES = Path(__file__).parent / "series"
README = "# Question\n\n<!-- answer -->\nold tables\n<!-- /answer -->\n\nwritten by hand\n"
INDEX = 'series:\n  {mbox}: {{does: something, versions: ["6.1"]}}\n'
ANSWER = """\
tables:
  - title: first touch
    says: PMD size trades faults for a stall.
    rows: {{kernels: [debian:6.1, debian:5.10], series: [stock, prefault/pmd-size, {series}]}}
    machines: [qxl]
    columns:
      - {{title: faults, case: prefault/first-touch, metric: faults}}
      - {{title: longest touch, case: prefault/first-touch, metric: touch_max}}
      - {{title: content, case: prefault/first-touch, check: content}}
"""
CRASH = "CRASH: BUG: kernel NULL pointer dereference in ttm_bo_vm_fault"
TABLE = f"""\
| kernel | series | faults | longest touch | content |
|---|---|---:|---:|---|
| 6.1 | stock | 128 | INSN | ok |
| 6.1 | prefault/pmd-size | 4 | INSN | ok |
| 6.1 | oops | {CRASH} | {CRASH} | {CRASH} |
| 5.10 | stock | 128 | INSN | ok |

Left out: prefault/pmd-size on 5.10; the series is for 6.1, 6.12, 7.2, 7.3.

Left out: oops on 5.10; the series is for 6.1.

PMD size trades faults for a stall.

Kernels: debian:6.1."""


@pytest.fixture
def testcases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree of its own for `lab`: the product by links, and two topics whose READMEs may be written."""
    tree = tmp_path / "tree"
    (tree / "testcases").mkdir(parents=True)
    for name in ("lab", "images", "kconfigs"):
        (tree / name).symlink_to(ROOT / name)
    shipped = files.shipped("testcases")
    for name in ("machines", "include", "driver"):
        (tree / "testcases" / name).symlink_to(shipped / name)
    shutil.copytree(
        shipped / "prefault", tree / "testcases/prefault", ignore=shutil.ignore_patterns("answer.yaml")
    )
    for topic, mbox in (("good", "oops.mbox"), ("late", "does-not-apply.mbox")):
        folder = tree / "testcases" / topic
        (folder / "series").mkdir(parents=True)
        (folder / "README.md").write_text(README)
        (folder / "answer.yaml").write_text(ANSWER.format(series=f"{topic}/{mbox.removesuffix('.mbox')}"))
        (folder / "series/series.yaml").write_text(INDEX.format(mbox=mbox))
        shutil.copy(SERIES / mbox, folder / "series")
    monkeypatch.chdir(tree)  # `python -m lab` takes the package from there
    return tree / "testcases"


def without_date(text: str) -> str:
    lines = text.splitlines(keepends=True)
    kept = [line for line in lines if not line.startswith("Date: ")]
    assert len(kept) == len(lines) - 1
    return "".join(kept)


def test_answers_are_written_where_the_lab_could_tell(lab: Lab, testcases: Path) -> None:
    """All topics in one run: a crash is a cell; a series that does not apply leaves its topic's old tables;
    shared trials run once; the same question later gives the same bytes."""
    ran = lab("answer", "--all", "--json")
    assert ran.code == 125, ran.stderr
    good, late = json.loads(ran.stdout)["topics"]
    assert (good["topic"], good["trials"], good["open"]) == ("good", 4, [])
    assert good["outcomes"] == {"PASS": 3, "CRASH": 1}
    assert (late["topic"], late["readme"]) == ("late", None)
    assert late["open"][0].startswith("kernel debian-6.1+late.does-not-apply: ")
    assert len(ran.record.plan) == 5  # 4 and the one that cannot be: the others are shared
    assert len(ran.trials) == 4

    readme = testcases / "good/README.md"
    before, _, after = README.partition("old tables\n")
    first = readme.read_text()
    assert first.startswith(f"{before}### first touch\n")
    assert first.endswith(after)
    assert TABLE in re.sub(r"[0-9]{1,3},[0-9]{3} insn", "INSN", first)
    assert (testcases / "late/README.md").read_text() == README

    again = lab("answer", "good")
    assert again.code == 0, again.stderr
    assert f"-> {readme}" in again.stdout
    assert without_date(readme.read_text()) == without_date(first)

    readme.write_text(README)
    resumed = lab("answer", "--resume", again.run.path.name)
    assert resumed.code == 0, resumed.stderr
    assert readme.read_text() == (before + (again.run.path / "answers/good.md").read_text() + after)
    assert len(again.trials) == 4


def test_readme_without_markers_is_told_before_anything_runs(lab: Lab, testcases: Path) -> None:
    """No guest is booted for tables that have no place to go to."""
    (testcases / "good/README.md").write_text("# Question\n")
    ran = lab("answer", "good")
    assert ran.code == 2
    assert "README.md has no place for the tables" in ran.stderr
    assert not (ran.state / "runs").exists() or not list((ran.state / "runs").iterdir())


def test_dry_run_tells_builds_and_boots(lab: Lab, testcases: Path) -> None:
    """Each kernel and each boot once; nothing is built, booted or written."""
    ran = lab("answer", "good", "--dry-run")
    assert ran.code == 0, ran.stderr
    assert "kernel debian-6.1+good.oops: debian:6.1 with good/oops: builds what it changes" in ran.stdout
    assert ran.stdout.count("boot ") == 4
    assert (testcases / "good/README.md").read_text() == README
