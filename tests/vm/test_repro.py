# SPDX-License-Identifier: GPL-2.0-or-later
"""`lab repro` on stock packages of 5.10 and 6.1: confirmed, contradicted, cannot tell; skeleton and page."""

from __future__ import annotations

import json
import re
from pathlib import Path

from labrun import Lab, Ran, run_lab

from lab.results.models import Outcome

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/report-a-regression.md").read_text()
CATALOGUE = ROOT / "testcases/regressions"


def block(language: str, after: str) -> str:
    """The first code block of a language behind a heading of the page."""
    found = re.search(rf"^## {after}$.*?```{language}\n(.*?)```", PAGE, re.DOTALL | re.MULTILINE)
    assert found is not None, after
    return found[1]


def copied(name: str, folder: Path, *changes: tuple[str, str]) -> Path:
    """A regression of the catalogue as a file of one's own, with these changes."""
    text = (CATALOGUE / f"{name}.yaml").read_text()
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    path = folder / f"my-{name}.yaml"
    path.write_text(text)
    return path


def test_one_of_the_catalogue_is_confirmed(lab: Lab) -> None:
    """0, the table on stdout and in report.txt, what each role is; again without a guest."""
    ran = lab("repro", "ttm-madvise")
    assert ran.code == 0, ran.stderr
    (row,) = [line for line in ran.stdout.splitlines() if line.startswith("ttm-madvise ")]
    wanted = r"ttm-madvise +5\.10 +taken 3 +6\.1 +taken 0 +yes"
    assert re.fullmatch(wanted, row)
    assert "1 of 1 regression confirmed" in ran.stdout
    record = ran.record
    assert record.workflow == "repro"
    assert {role: subject.kernel for role, subject in record.subjects.items()} == {
        "ttm-madvise.good": "debian:5.10",
        "ttm-madvise.bad": "debian:6.1",
    }
    assert len(set(record.kernels.values())) == len(ran.trials) == 2
    assert row in (ran.run.path / "report.txt").read_text()
    junit = (ran.run.path / "junit.xml").read_text()
    assert 'failures="0"' in junit
    assert 'errors="0"' in junit

    again = lab("report", ran.run.path, "--json")
    assert again.code == 0, again.stderr
    assert [one["confirmed"] for one in json.loads(again.stdout)["regressions"]] == [True]
    resumed = lab("repro", "--resume", ran.run.path.name, "--json")
    assert (resumed.code, len(resumed.trials)) == (0, 2)


def test_swapped_and_impossible_ones_are_told(lab: Lab, tmp_path: Path) -> None:
    """Good and bad swapped is not confirmed: 1, and both sides say what they saw. A kernel that is not to be
    had does not hide it. Where nothing can be told, it is 125."""
    turned = (("\ngood:", "\nGOOD:"), ("\nbad:", "\ngood:"), ("\nGOOD:", "\nbad:"))
    swapped = copied("ttm-madvise", tmp_path, *turned)
    gone = copied("vgem-direct-io", tmp_path, ("debian:5.10", "debian:5.11.1"))
    ran = lab("repro", swapped, gone, "--json")
    assert ran.code == 1, ran.stderr
    answer = json.loads(ran.stdout)
    first, second = answer["regressions"]
    assert (first["confirmed"], second["confirmed"]) == (False, None)
    assert first["good"][0]["seen"] == "taken 0; content: ok"
    assert "good kernel 6.1: taken 0; wanted: at least 3" in first["good"][0]["told"]
    assert "bad kernel 5.10: taken 3; wanted: at most 0" in first["bad"][0]["told"]
    assert second["good"][0]["seen"] == "no kernel"
    assert second["bad"][0]["as_stated"] is True
    assert any("no suite of the mirror has Linux 5.11.1" in reason for reason in answer["reasons"])

    older = (('"debian:6.12"', '"debian:6.1"'), ('"debian:6.12.57"', '"debian:5.10"'))
    ran = lab("repro", copied("dma-heap-fd", tmp_path, *older), "--json")
    (only,) = json.loads(ran.stdout)["regressions"]
    assert (only["good"][0]["seen"], only["bad"][0]["seen"]) == ("SKIP", "SKIP")
    assert (ran.code, only["confirmed"]) == (125, None)


def test_the_pages_way_from_a_mail_to_a_confirmed_case(state: Path, tmp_path: Path) -> None:
    """The commands of the page in order, with what it says to write; it shows what they print."""

    def lab(words: str) -> Ran:
        return run_lab(*words.split()[1:], state=state, folder=tmp_path)

    write, boot = block("", "A skeleton").splitlines()
    made = lab(write)
    assert made.code == 0, made.stderr
    first = lab(boot)
    assert first.code == 1, first.stderr
    assert {trial.outcome for trial in first.trials} == {Outcome.PASS}
    shown = PAGE.partition("and says why:")[2].partition("```\n")[2].partition("```")[0]
    assert shown in first.stdout
    folder = tmp_path / "my-vgem"
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        re.findall(r"^\| `(\S+)` \|", PAGE, re.MULTILINE)
    )
    again = lab(write)
    assert again.code == 2
    assert "is there already" in again.stderr

    (folder / "my-vgem-case.yaml").write_text(block("yaml", "The case"))
    (folder / "my_vgem.c").write_text(block("c", "The program"))
    regression = folder / "my-vgem.yaml"
    before, _, _ = regression.read_text().partition("shows:\n")
    regression.write_text(before + block("yaml", "How it shows"))
    second = lab(boot)
    assert second.code == 0, second.stdout
    shown = PAGE.partition("## How it shows")[2].split("```\n")[4].partition("```")[0]
    assert shown in second.stdout


def test_skeleton_is_right_for_another_machine(state: Path, tmp_path: Path) -> None:
    """It names the machine and its driver, and what it would boot can be said without booting."""
    made = run_lab("repro", "new", "it", "--machine", "bochs", "--in", tmp_path, "--json", state=state)
    assert made.code == 0, made.stderr
    assert "machines: [bochs]" in (tmp_path / "it/it-case.yaml").read_text()
    assert "bochs-drm" in (tmp_path / "it/it.c").read_text()
    dry = run_lab("repro", tmp_path / "it/it.yaml", "--dry-run", state=state)
    assert dry.code == 0, dry.stderr
    assert dry.stdout.count("# which is:") == 2
