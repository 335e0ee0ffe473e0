# SPDX-License-Identifier: GPL-2.0-or-later
"""`lab bisect` with real guests: over the patches of a series, and killed and gone on with."""

from __future__ import annotations

import json
import signal
from pathlib import Path

from labrun import Lab, Ran, run_lab
from processes import started

from lab.results.bisect import LOG_NAME, Result, read_bisect

SERIES = Path(__file__).parent / "series" / "planted-warn.mbox"
"""Six patches to TTM: the 2nd changes nothing that is built, the 3rd does not compile, the 5th warns."""

CASE = "prefault/sparse-touch"


def result_of(ran: Ran) -> Result:
    result = read_bisect(ran.run).result
    assert result is not None, ran.stderr
    return result


def check_planted(ran: Ran) -> None:
    """The patch that was planted was found, and how is told."""
    assert ran.code == 0, ran.stderr
    result = result_of(ran)
    assert (result.status, result.culprit) == ("found", 5)
    rows = {row.role: row for row in result.rows}
    assert (rows["patch-0"].verdict, rows["patch-6"].verdict, rows["patch-5"].verdict) == (
        "good",
        "bad",
        "bad",
    )
    assert rows["patch-4"].verdict in ("good", "same")
    assert result.exact


def test_the_patch_of_a_series(lab: Lab) -> None:
    """Unbuildable patches are skipped, one that changes no byte is not booted; the report could be sent."""
    ran = lab("bisect", CASE, "--series", SERIES)
    check_planted(ran)
    result = result_of(ran)
    verdicts = {row.role: row.verdict for row in result.rows}
    assert verdicts["patch-3"] == "skip"
    assert "same" in verdicts.values()
    assert result.kernels <= 5
    text = (ran.run.path / "report.txt").read_text()
    assert text.startswith('first bad patch: patch 5 ("drm/ttm: warn in the fault handler").\n')
    assert '"WARNING in ttm_bo_vm_fault" in the kernel log' in text
    assert "#regzbot" not in text  # the series is in no tree
    assert text in ran.stdout
    again = lab("bisect", "--json", "--replay", ran.run.path.name)
    assert again.code == 0, again.stderr
    assert json.loads(again.stdout)["bisect"]["culprit"]["name"] == "patch 5"
    assert again.trials == []  # nothing was booted


def test_a_killed_bisection_goes_on(tmp_path: Path, state: Path) -> None:
    """After kill -9 in the middle no finished boot is done again, and the same patch is found."""
    with started("bisect", CASE, "--series", SERIES, folder=tmp_path / "first", state=state) as lab:
        lab.until(lambda: len(lab.finished_trials()) >= 4, "both ends")
        lab.until(lambda: "suspects; next" in lab.progress, "the first step")
        lab.send(signal.SIGKILL)
        lab.ended(seconds=5)
        lab.assert_nothing_runs(seconds=2)
        kept = lab.finished_trials()
        log = lab.run.path / LOG_NAME
        log.write_bytes(
            log.read_bytes() + b'{"event":"trial","role":"pat'
        )  # as a kill within a write leaves it
        resumed = run_lab("bisect", "--resume", lab.run.path.name, state=state)
        check_planted(resumed)
        after = lab.finished_trials()
        assert {key: after[key] for key in kept} == kept


def test_ends_that_are_swapped(lab: Lab) -> None:
    """Told after the boots of both ends; exit code 2, and the run says why (tests/bisect has the others)."""
    ran = lab("bisect", CASE, "--series", SERIES, "--find-fix")
    assert ran.code == 2, ran.stderr
    assert "fails (FAIL: kernel log: WARNING in ttm_bo_vm_fault" in ran.stderr
    assert "are --good and --bad swapped" in ran.stderr
    assert result_of(ran).status == "refused"
    assert "Nothing to search: the good end" in (ran.run.path / "report.txt").read_text()
