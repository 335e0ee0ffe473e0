# SPDX-License-Identifier: GPL-2.0-or-later
"""What the workload of kunit/ makes of KUnit's files, and what the lab reads out of that."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lab import proc
from lab.results.models import Clock
from lab.workload.ktap import parse

TESTCASES = Path(__file__).parents[2] / "testcases"
PASSED = """\
KTAP version 1
1..1
    KTAP version 1
    # Subtest: ttm_tt
    1..2
        KTAP version 1
        # Subtest: ttm_tt_init_basic
        ok 1 Page-aligned size
        ok 2 Extra pages requested
    # ttm_tt_init_basic: pass:2 fail:0 skip:0 total:2
    ok 1 ttm_tt_init_basic
    ok 2 ttm_tt_populate # SKIP no memory
# ttm_tt: pass:1 fail:0 skip:1 total:2
# Totals: pass:2 fail:0 skip:1 total:3
ok 1 ttm_tt
"""
FAILED = """\
KTAP version 1
1..1
    KTAP version 1
    # Subtest: ttm_bo
    1..1
    # ttm_bo_reserve: EXPECTATION FAILED at drivers/gpu/drm/ttm/tests/ttm_bo_test.c:71
    Expected err == 0, but
        err == -16
    not ok 1 ttm_bo_reserve
# ttm_bo: pass:0 fail:1 skip:0 total:1
not ok 1 ttm_bo
"""

Suites = Callable[..., tuple[int, dict[str, str], tuple[str, ...]]]


@pytest.fixture
def suites(tmp_path: Path) -> Suites:
    """Runs the workload on files of KUnit's: status, results by name, and what the reader does not like."""

    def run(found: dict[str, str], *wanted: str) -> tuple[int, dict[str, str], tuple[str, ...]]:
        root, program = tmp_path / "kunit", tmp_path / "suites"
        for name, text in found.items():
            (root / name).mkdir(parents=True)
            (root / name / "results").write_text(text)
        flags = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", f'-DSUITES="{root}"']
        source = TESTCASES / "kunit" / "suites.c"
        proc.run(
            ["gcc", *flags, "-I", str(TESTCASES / "include"), "-o", str(program), str(source)], timeout=60
        )
        done = proc.run([str(program), *wanted], timeout=30, check=False)
        parsed = parse(done.text, Clock.FUNCTIONAL)
        return done.code, {one.name: one.result for one in parsed.checks}, parsed.problems

    return run


def test_all_pass(suites: Suites) -> None:
    """Each suite, test and parameter is a check of its own, by its name."""
    status, results, problems = suites(
        {"ttm_tt": PASSED, "b": PASSED.replace("ok 1 ttm_tt\n", "ok 1 - b\n")}, "b"
    )
    one = {
        "ttm_tt_init_basic/Page-aligned size": "ok",
        "ttm_tt_init_basic/Extra pages requested": "ok",
        "ttm_tt_init_basic": "ok",
        "ttm_tt_populate": "skip",
    }
    assert results == {
        **{f"{suite}/{name}": result for suite in ("b", "ttm_tt") for name, result in one.items()},
        "b": "ok",
        "ttm_tt": "ok",
    }
    assert (status, problems) == (0, ())


def test_one_fails(suites: Suites) -> None:
    """The test, its suite and the workload fail."""
    status, results, problems = suites({"ttm_tt": PASSED, "ttm_bo": FAILED}, "ttm_bo", "ttm_tt")
    failed = {name for name, result in results.items() if result == "not ok"}
    assert failed == {"ttm_bo", "ttm_bo/ttm_bo_reserve"}
    assert (status, problems) == (1, ())


@pytest.mark.parametrize("found", [{}, {"ttm_bo": PASSED}], ids=["none", "another"])
def test_a_suite_that_did_not_come(suites: Suites, found: dict[str, str]) -> None:
    """A module may load without running its tests: that is no pass."""
    status, results, _ = suites(found, "ttm_pool")
    assert status == 1
    assert results["ttm_pool"] == "not ok"


def test_a_suite_that_has_not_ended(suites: Suites) -> None:
    """A document without its result is told as that."""
    status, results, _ = suites({"ttm_tt": PASSED.removesuffix("ok 1 ttm_tt\n")}, "ttm_tt")
    assert status == 1
    assert results["ttm_tt"] == "not ok"
