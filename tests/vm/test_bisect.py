# SPDX-License-Identifier: GPL-2.0-or-later
"""`lab bisect` with real guests: over the patches of a series, killed and gone on with, and over versions."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
from commandline import CommandLine
from labrun import Lab, Ran, run_lab
from processes import started

from lab.kernel.archive import available
from lab.kernel.packages import PackageRoot
from lab.results.bisect import LOG_NAME, Result, read_bisect
from lab.results.runfolder import RunFolder
from lab.workflow import bisect_plan, bisect_result

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


def test_the_version(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """BOs of vgem are special from some version after 5.10 on. To fetch nothing, the archive is taken to have
    what the cache has, of each series one kernel; and one that it has lost."""
    root = PackageRoot()
    cached = [one for one in available(everywhere=True) if all(map(root.cached, one.boot)) and not one.lost]
    series = {one.version.rpartition(".")[0]: one for one in reversed(cached)}
    gone = next(one for one in available(everywhere=True) if one.lost)
    kernels = [*series.values(), gone]
    for module in (bisect_plan, bisect_result):
        monkeypatch.setattr(module, "available", lambda everywhere: kernels)  # type: ignore[misc]
    lab = CommandLine(monkeypatch, capfd)
    said = lab(
        "bisect", "dma-buf/vgem", "--good", "debian:5.10", "--bad", "debian:7.3", "--metric", "special"
    )
    assert said.code == 0, said.stderr
    run = RunFolder.find("latest")
    record = read_bisect(run)
    assert record.result is not None
    result = record.result
    assert result.culprit is not None
    assert record.nodes[result.culprit].name.startswith("6.1.")
    assert result.kernels <= 4
    lost = next(node for node in record.nodes if node.name == gone.version)
    assert {row.role: row.verdict for row in result.rows}[lost.role] == "skip"
    assert "#regzbot introduced: v5.10." in said.stdout
    assert "special above" in said.stdout
