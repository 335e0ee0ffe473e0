# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands around the history: reports in other formats, and what `lab gc` does to the index."""

from __future__ import annotations

import json
import os
import time

import pytest
from commandline import CommandLine
from past_nights import SPARSE, Had, night

from lab.files import state_dir
from lab.history.index import FILE, Index
from lab.results.night import NightRecord, write_night
from lab.results.runfolder import all_runs, runs_dir
from lab.workflow.collect import find_garbage, remove


@pytest.fixture
def command(monkeypatch, capfd):
    return CommandLine(monkeypatch, capfd)


def indexed() -> None:
    with Index.open() as index:
        index.refresh(all_runs())


def test_report_formats(command):
    run = night(runs_dir(), 1, [Had(numbers={"max": 5}), Had(SPARSE)])
    said = command("report", run.path.name, "--format", "csv")
    assert said.code == 0
    assert len(said.stdout.splitlines()) == 2
    assert command("report", run.path.name, "--format", "ktap").stdout.startswith("KTAP")
    told = json.loads(command("report", run.path.name, "--format", "kcidb", "--origin", "mine").stdout)
    assert {one["origin"] for one in told["tests"]} == {"mine"}
    assert not (run.path / "report.txt").exists()
    command("report", run.path.name, "--format", "mail").check_refusal(2, "no base and patched")
    command("report", run.path.name, "--format", "kcidb", "--origin", "My Lab").check_refusal(2, "no origin")


def test_regressions_of_too_few_nights(command):
    command("regressions").check_refusal(125, "no night yet", "lab nightly")
    night(runs_dir(), 1, [Had()])
    command("regressions").check_refusal(125, "first night")
    night(runs_dir(), 2, [Had()])
    assert command("regressions").code == 0
    assert command("regressions", "--propose-flakes").stdout == "# no cell fails now and then\n"


def test_gc_takes_the_index_with_the_caches():
    """It can be made again, as they can; unused for as long as they may be, it goes as well."""
    night(runs_dir(), 1, [Had()])
    indexed()
    path = state_dir(".") / FILE
    assert path not in {one.path for one in find_garbage(days=30, everything=False)}
    assert path in {one.path for one in find_garbage(days=30, everything=True)}
    long_ago = time.time() - 40 * 86400
    os.utime(path, (long_ago, long_ago))
    garbage = [one for one in find_garbage(days=30, everything=False) if one.path == path]
    assert len(garbage) == 1
    remove(garbage)
    indexed()
    with Index.open() as index:
        assert len(index.nights()) == 1


def test_gc_keeps_runs_that_stand_for_later_cells():
    old, needed, new = (night(runs_dir(), day, [Had()]) for day in (1, 2, 3))
    write_night(new, NightRecord(matrix="m", unchanged={"a": needed.path.name}))
    long_ago = time.time() - 40 * 86400
    for run in (old, needed):
        os.utime(run.path / "run.json", (long_ago, long_ago))
    assert [one.path for one in find_garbage(days=30, everything=False)] == [old.path]
