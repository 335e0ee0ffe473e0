# SPDX-License-Identifier: GPL-2.0-or-later
"""Several labs at once on one machine, one cache and one run."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

from labrun import run_lab
from processes import Running, partial_cache, started

from lab import files

SERIES = files.shipped("testcases") / "prefault/series/pmd-size.mbox"
CASE = "prefault/sparse-touch"


def _figures(lab: Running) -> dict[str, Any]:
    """What it says of both kernels, without what tells one run from another."""
    said = json.loads(lab.output)
    return {"verdict": said["verdict"], "comparisons": said["comparisons"]}


def test_two_labs_fill_one_cold_cache(tmp_path: Path) -> None:
    """Both build, pack and compile the same at the same time; both are right, nothing is made twice."""
    cache = partial_cache(tmp_path / "cache", without=("builds", "images", "workloads"))
    words = ("validate", "--json", SERIES, CASE)
    with contextlib.ExitStack() as stack:
        labs = [
            stack.enter_context(
                started(*words, folder=tmp_path / name, state=tmp_path / f"state-{name}", cache=cache)
            )
            for name in ("one", "two")
        ]
        codes = [lab.ended(seconds=300) for lab in labs]
        assert codes == [1, 1], [lab.progress for lab in labs]
        assert _figures(labs[0]) == _figures(labs[1])
        assert labs[0].unfinished() == []
    built = [path for path in (cache / "builds").iterdir() if path.is_dir()]
    assert len(built) == 2  # base and patched, each once
    progress = labs[0].progress + labs[1].progress
    assert progress.count("building ttm") == 2


def test_a_run_belongs_to_one_lab_at_a_time(tmp_path: Path, state: Path) -> None:
    """A second lab that resumes a run that is being run is refused, and does the run no harm."""
    with started("run", CASE, folder=tmp_path / "first", state=state) as first:
        first.until_runs("qemu-system-x86")
        second = run_lab("run", "--resume", first.run.path.name, state=state)
        assert second.code == 2
        assert f"run {first.run.path.name} is being run by another lab" in second.stderr
        assert second.stdout == ""
        assert first.ended(seconds=120) == 0, first.progress
    assert len(first.finished_trials()) == 1
