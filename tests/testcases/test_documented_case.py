# SPDX-License-Identifier: GPL-2.0-or-later
"""The case that docs/write-a-case.md shows is complete and right, as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lab import proc
from lab.results.models import Clock
from lab.spec.catalog import Catalog
from lab.spec.models import Case, Metric
from lab.workload.ktap import parse

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/write-a-case.md").read_text()


def block(language: str) -> str:
    found = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)[0]  # the complete one comes first
    return str(found)


@pytest.fixture
def case(tmp_path: Path) -> Case:
    (tmp_path / "unmap.yaml").write_text(block("yaml"))
    (tmp_path / "unmap.c").write_text(block("c"))
    return Catalog.load().case(str(tmp_path / "unmap.yaml"))


def test_it_loads_compiles_and_reports(case: Case, tmp_path: Path) -> None:
    """The YAML is right, the C builds without a warning, and reports the metric that the YAML declares."""
    assert case.name == "local/unmap"
    assert case.workload_path is not None
    flags = ["-O2", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-I", str(ROOT / "testcases/include")]
    proc.run(["gcc", *flags, "-o", str(tmp_path / "unmap"), str(case.workload_path)], timeout=60)
    done = proc.run([str(tmp_path / "unmap")], timeout=30, env={"LAB_CLOCK": "functional"})
    parsed = parse(done.text, Clock.FUNCTIONAL)
    assert parsed.problems == ()
    assert {check.name: check.result for check in parsed.checks} == {"mapped": "ok", "touched": "ok"}
    assert [one.metric for one in parsed.measurements] == list(case.metrics)


@pytest.mark.parametrize("model", [Case, Metric])
def test_every_key_is_documented(model: type[Case] | type[Metric]) -> None:
    """The tables name each key of the YAML, with the default that the code has."""
    rows = {name: row for row in PAGE.splitlines() for name in re.findall(r"^\| `(\w+)` \|", row)}
    for name, about in model.model_fields.items():
        row = rows[name]
        if about.is_required():
            assert row.endswith("| required |"), row
        elif about.default not in (None, ()) and about.default_factory is None:
            shown = str(about.default).lower() if isinstance(about.default, bool) else str(about.default)
            assert row.endswith(f"| `{shown}` |"), row
