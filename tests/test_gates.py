# SPDX-License-Identifier: GPL-2.0-or-later
"""The tools that every change must pass, as tests, so that one command runs all gates."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from lab import files, proc
from lab.spec.catalog import Catalog

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    "tool",
    [
        ["ruff", "check", "--no-cache", "."],
        ["ruff", "format", "--no-cache", "--check", "."],
        ["mypy", "--strict", "lab"],
    ],
    ids=" ".join,
)
def test_tools_are_content(tool):
    """ruff and strict mypy find nothing."""
    done = proc.run([sys.executable, "-m", *tool], timeout=300, check=False, cwd=ROOT)
    assert done.code == 0, done.text + done.errors


def test_every_shipped_yaml_is_right():
    """All cases and machines that ship with the lab load, and there are some."""
    catalog = Catalog.load()
    assert catalog.problems == ()
    assert catalog.cases
    assert catalog.machines


def test_every_shipped_case_compiles():
    """Every workload is built as a campaign would build it."""
    from lab.workload.compile import build_workload

    catalog = Catalog.load()
    workloads = {case.workload_path for case in catalog.cases.values() if case.workload_path}
    for source in sorted(workloads):
        assert build_workload(source, files.shipped("testcases") / "include").stat().st_size > 0


def test_make_bench_runs_every_measurement():
    """Each file of bench/ that is a command; what they share is none."""
    commands = [path for path in (ROOT / "bench").glob("*.py") if "__main__" in path.read_text()]
    said = proc.run(["make", "--dry-run", "bench"], timeout=60, cwd=ROOT).text
    assert len(commands) >= 6
    assert [path.name for path in commands if f"bench/{path.name}" not in said] == []
    assert "nights.py" not in said


def test_test_files_have_names_of_their_own():
    """pytest imports test modules by their bare names: two of one name would hide each other."""
    names = [path.name for path in (ROOT / "tests").rglob("*.py") if path.name != "conftest.py"]
    assert sorted(names) == sorted(set(names))
