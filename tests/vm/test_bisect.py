# SPDX-License-Identifier: GPL-2.0-or-later
"""`lab bisect` with real guests: over the patches of a series, and killed and gone on with."""

from __future__ import annotations

import json
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest
from labrun import Lab, Ran, run_lab
from processes import started

from lab.results.bisect import LOG_NAME, Result, read_bisect
from lab.results.runfolder import RunFolder

SERIES = Path(__file__).parent / "series" / "planted-warn.mbox"
"""Six patches to TTM: the 2nd changes nothing that is built, the 3rd does not compile, the 5th warns."""

CASE = "prefault/sparse-touch"


def result_of(run: RunFolder) -> Result:
    result = read_bisect(run).result
    assert result is not None
    return result


@dataclass(frozen=True)
class Killed:
    """A bisection that was killed in the middle and gone on with: two tests look at the one search."""

    kept: dict[str, int]  # when each trial that was finished then was written
    after: dict[str, int]
    ran: Ran  # what went on
    run: RunFolder


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Killed:
    """kill -9 after the ends and before the answer, and a line of the log half written."""
    folder = tmp_path_factory.mktemp("killed")
    state = folder / "state"
    with started("bisect", CASE, "--series", SERIES, folder=folder, state=state) as lab:
        lab.until(lambda: len(lab.finished_trials()) >= 4, "both ends")
        lab.until(lambda: "suspects; next" in lab.progress, "the first step")
        lab.send(signal.SIGKILL)
        lab.ended(seconds=5)
        lab.assert_nothing_runs(seconds=2)
        kept = lab.finished_trials()
        log = lab.run.path / LOG_NAME
        log.write_bytes(log.read_bytes() + b'{"event":"trial","role":"pat')
        ran = run_lab("bisect", "--resume", lab.run.path.name, state=state)
        return Killed(kept, lab.finished_trials(), ran, ran.run)


def test_a_killed_bisection_goes_on(killed: Killed) -> None:
    """No finished boot is done again, and the patch that was planted is found."""
    assert killed.ran.code == 0, killed.ran.stderr
    assert {key: killed.after[key] for key in killed.kept} == killed.kept
    result = result_of(killed.run)
    assert (result.status, result.culprit, result.exact) == ("found", 5, True)


def test_the_patch_of_a_series(killed: Killed) -> None:
    """Unbuildable patches are skipped, one that changes no byte is not booted; the report could be sent."""
    run, result = killed.run, result_of(killed.run)
    verdicts = {row.role: row.verdict for row in result.rows}
    assert (verdicts["patch-0"], verdicts["patch-6"], verdicts["patch-5"]) == ("good", "bad", "bad")
    assert verdicts["patch-4"] in ("good", "same")
    assert verdicts["patch-3"] == "skip"
    assert "same" in verdicts.values()
    assert result.kernels <= 5
    text = (run.path / "report.txt").read_text()
    assert text.startswith('first bad patch: patch 5 ("drm/ttm: warn in the fault handler").\n')
    assert '"WARNING in ttm_bo_vm_fault" in the kernel log' in text
    assert "#regzbot" not in text  # the series is in no tree
    assert text in killed.ran.stdout
    again = run_lab("bisect", "--json", "--replay", run.path.name, state=killed.ran.state)
    assert again.code == 0, again.stderr
    assert json.loads(again.stdout)["bisect"]["culprit"]["name"] == "patch 5"
    assert again.trials == []  # nothing was booted


def test_ends_that_are_swapped(lab: Lab) -> None:
    """Told after the boots of both ends; exit code 2, and the run says why (tests/bisect has the others)."""
    ran = lab("bisect", CASE, "--series", SERIES, "--find-fix")
    assert ran.code == 2, ran.stderr
    assert "fails (FAIL: kernel log: WARNING in ttm_bo_vm_fault" in ran.stderr
    assert "are --good and --bad swapped" in ran.stderr
    assert result_of(ran.run).status == "refused"
    assert "Nothing to search: the good end" in (ran.run.path / "report.txt").read_text()
