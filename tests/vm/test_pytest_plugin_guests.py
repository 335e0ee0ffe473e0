# SPDX-License-Identifier: GPL-2.0-or-later
"""The pytest plugin on real guests: cases as tests, and the example of docs/pytest.md as it stands there."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from labrun import SECONDS, run_lab

from lab import proc
from lab.results.models import Outcome
from lab.results.runfolder import RunFolder, all_runs

ROOT = Path(__file__).parents[2]
WORKLOADS = Path(__file__).parent / "workloads"


def run_pytest(folder: Path, *words: str | Path) -> proc.Finished:
    """pytest in a process and a folder of its own."""
    argv = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir", folder, *words]
    wide = {**os.environ, "COLUMNS": "400"}  # pytest cuts its summary to the terminal's width
    return proc.run([str(word) for word in argv], timeout=SECONDS, check=False, cwd=folder, env=wide)


def test_cases_are_trials_of_one_run(tmp_path: Path, state: Path) -> None:
    """Each outcome becomes pytest's own word for it, with the evidence; all trials are one run."""
    cases = [WORKLOADS / f"{name}.yaml" for name in ("status", "skip", "panic")]
    good = ROOT / "testcases/smoke/boot.yaml"
    done = run_pytest(tmp_path, good, *cases, "--lab-kernel", "stock", "--junitxml", "out.xml", "-rA")
    assert done.code == pytest.ExitCode.TESTS_FAILED, done.text + done.errors
    assert "2 failed, 1 passed, 1 skipped" in done.text
    assert re.search(r"CRASH at stage run: kernel panic: .*", done.text)
    assert "last lines of the console:" in done.text
    (run,) = all_runs()
    outcomes = [trial.outcome for trial in run.trials()]
    assert outcomes == [Outcome.PASS, Outcome.FAIL, Outcome.SKIP, Outcome.CRASH]
    assert (run.path / "report.html").is_file()
    check_junit(tmp_path / "out.xml", run)


def check_junit(path: Path, run: RunFolder) -> None:
    """Each test names kernel, machine, clock and the folder of its trial."""
    found = ElementTree.parse(path).getroot().findall(".//testcase")
    assert found[0].get("name") == "smoke/boot[qxl]"
    for case, trial in zip(found, run.trials(), strict=True):
        about = {p.get("name"): p.get("value") for p in case.findall("./properties/property")}
        assert about["machine"] == "qxl"
        assert about["clock"] == "virtual"
        assert (about["kernel"] or "").startswith("debian:")
        assert about["trial"] == str(run.trial_path(trial.key))
        assert about["outcome"] == trial.outcome


def test_the_lab_s_own_failure_is_an_error(tmp_path: Path, state: Path) -> None:
    """A workload that does not compile is pytest's error, and a run cut short by -x can be resumed."""
    (tmp_path / "broken.c").write_text("int main(void) { return nothing; }\n")
    broken = tmp_path / "broken.yaml"
    broken.write_text("title: x\nquestion: x\nmachines: [qxl]\nworkload: broken.c\n")
    good = ROOT / "testcases/smoke/boot.yaml"
    done = run_pytest(tmp_path, broken, good, "--lab-kernel", "stock", "-x")
    assert "1 error" in done.text, done.text + done.errors
    assert "broken.c does not compile" in done.text
    (run,) = all_runs()
    assert f"lab run --resume {run.path.name}" in done.text
    broken.write_text("title: x\nquestion: x\nmachines: [qxl]\n")
    resumed = run_lab("run", "--resume", run.path.name, state=state)
    assert resumed.code == 0, resumed.stderr
    assert {trial.outcome for trial in resumed.trials} == {Outcome.PASS}


UNASKED = """

def test_unasked(module_guest):
    module_guest.run("echo 'WARNING: out of paper' > /dev/kmsg")


def test_next(module_guest):
    assert module_guest.splats() == ()


def test_dies(module_guest):
    module_guest.run("echo c > /proc/sysrq-trigger")
"""


def test_the_example_of_the_documentation(tmp_path: Path, state: Path) -> None:
    """docs/pytest.md works as it is printed, and a complaint that nobody allowed fails the test."""
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/pytest.md").read_text(), re.DOTALL)
    (tmp_path / "test_it.py").write_text(example + UNASKED)
    done = run_pytest(tmp_path, "--strict-markers", "--lab-kernel", "stock", "-rA")
    for name in ("the_driver_is_there", "a_file_comes_back", "a_complaint_is_seen", "next"):
        assert f"PASSED test_it.py::test_{name}[qxl]" in done.text, done.text + done.errors
    assert "PASSED test_it.py::test_another_machine[bochs]" in done.text
    assert "FAILED test_it.py::test_unasked[qxl] - Failed: the guest's kernel complained" in done.text
    assert "WARNING: out of paper (console.log line" in done.text
    assert "FAILED test_it.py::test_dies[qxl] - lab.workflow.guests.GuestDied" in done.text
    assert "kernel panic: sysrq triggered crash (console.log line" in done.text
