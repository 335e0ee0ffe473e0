# SPDX-License-Identifier: GPL-2.0-or-later
"""`lab bisect` over packaged versions, with real guests."""

from __future__ import annotations

import pytest
from commandline import CommandLine

from lab.kernel.archive import available
from lab.kernel.packages import PackageRoot
from lab.results.bisect import read_bisect
from lab.results.runfolder import RunFolder
from lab.workflow import bisect_plan, bisect_result


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
