# SPDX-License-Identifier: GPL-2.0-or-later
"""bo_touch on plain memory: its checks can fail, and its numbers are what they say."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from lab.report.timeline_files import parse_ticks

if TYPE_CHECKING:
    from tests.testcases.conftest import BoTouch, Report

PAGES = 256  # of the 1 MiB that the fixture asks for


def touched(report: Report, name: str = "touches.txt") -> list[int]:
    """The pages of a sample file, in order of touch."""
    return [int(line.split()[0]) for line in report.samples[name][1:]]


def latencies(report: Report, name: str = "touches.txt") -> list[int]:
    return [int(line.split()[1]) for line in report.samples[name][1:]]


def test_sound_run_passes_every_check(bo_touch: BoTouch) -> None:
    """Without a defect, the report is whole, in order and all ok."""
    report = bo_touch()
    assert report.status == 0
    assert list(report.checks) == ["driver", "bo", "mapped", "pages", "content", "faults"]
    assert report.failed == set()
    assert report.parsed.problems == ()
    assert report.parsed.plan == 6


@pytest.mark.parametrize(
    ("defect", "check"),
    [("skip-page", "pages"), ("corrupt", "content"), ("late", "faults"), ("astray", "mapped")],
)
@pytest.mark.parametrize("how", ["--write", "--read"])
def test_each_defect_fails_its_check_alone(bo_touch: BoTouch, defect: str, check: str, how: str) -> None:
    """A planted fault is found by the check that is there for it, and by no other."""
    report = bo_touch("--defect", defect, how)
    assert report.status == 1
    assert report.failed == {check}


def test_one_page_that_was_mapped_before_is_found(bo_touch: BoTouch) -> None:
    """The check `faults` is exact: one fault less than there must be, and it fails."""
    report = bo_touch("--defect", "early", "--populate", "apart")
    assert report.failed == {"faults"}
    assert report.checks["faults"].detail == f"{PAGES - 1} in the span, {PAGES} expected at 1 pages a fault"


def test_faults_follow_from_what_one_fault_maps(bo_touch: BoTouch) -> None:
    """Writing to plain memory maps one page a fault; both spans of a pattern take exactly as many."""
    report = bo_touch("--pattern", "stride", "--then-rest", "--populate", "apart")
    assert report.metrics["window"] == 1
    assert report.metrics["faults"] + report.metrics["rest_faults"] == PAGES
    assert report.checks["rest-faults"].result == "ok"


def test_refused_access_is_reported_not_fatal(bo_touch: BoTouch) -> None:
    """A SIGBUS in the span, as of a fault handler that fails, is a check that failed; the report is whole."""
    report = bo_touch("--defect", "hole")
    assert report.status == 1
    assert report.failed == {"access"}
    assert report.checks["access"].detail.startswith("SIGBUS at address")
    assert report.parsed.problems == ()


def test_every_page_faults_once_beside_the_populated_one(bo_touch: BoTouch) -> None:
    """The workload's own code, stack and arrays do not fault in the span."""
    assert bo_touch("--populate", "yes").metrics["faults"] == PAGES - 1
    assert bo_touch("--populate", "apart").metrics["faults"] == PAGES
    assert bo_touch("--populate", "no").metrics["faults"] == PAGES


def test_second_pass_does_not_fault(bo_touch: BoTouch) -> None:
    """After a first pass over everything, a second one finds all pages mapped."""
    report = bo_touch("--pass", "2")
    assert report.failed == set()
    assert report.metrics["faults"] == 0
    assert report.metrics["touches"] == PAGES


def test_patterns_touch_what_they_say(bo_touch: BoTouch) -> None:
    """The samples tell the pages in the order of the pattern."""
    assert touched(bo_touch("--pattern", "sequential")) == list(range(PAGES))
    assert touched(bo_touch("--pattern", "reverse")) == list(reversed(range(PAGES)))
    assert touched(bo_touch("--pattern", "stride", "--stride", "100")) == [0, 100, 200]
    assert touched(bo_touch("--pattern", "pmd", "--size", "8M")) == [0, 512, 1024, 1536]


def test_random_order_follows_from_the_seed(bo_touch: BoTouch) -> None:
    """The same seed gives the same permutation, another seed another one."""
    first, again, other = (touched(bo_touch("--pattern", "random", "--seed", seed)) for seed in "112")
    assert first == again != other
    assert sorted(first) == sorted(other) == list(range(PAGES))


def test_rest_is_all_that_the_pattern_left_out(bo_touch: BoTouch) -> None:
    """--then-rest measures the other pages as a span of its own, with its own checks."""
    report = bo_touch("--pattern", "stride", "--then-rest")
    assert sorted(touched(report) + touched(report, "rest.txt")) == list(range(PAGES))
    assert report.metrics["rest_touches"] == PAGES - report.metrics["touches"]
    assert report.checks["rest-pages"].result == report.checks["rest-content"].result == "ok"


def test_metrics_follow_from_the_samples(bo_touch: BoTouch) -> None:
    """Total, longest and the nearest-rank percentiles are those of the sample file."""
    report = bo_touch("--size", "3M")
    ordered = sorted(latencies(report))
    assert report.samples["touches.txt"][0] == "page ns"
    assert report.metrics["touches"] == len(ordered)
    assert report.metrics["touch_total"] == sum(ordered)
    assert report.metrics["touch_max"] == ordered[-1]
    for percent in (50, 90, 99):
        assert report.metrics[f"touch_p{percent}"] == ordered[math.ceil(len(ordered) * percent / 100) - 1]


def test_virtual_clock_counts_instructions(bo_touch: BoTouch) -> None:
    """LAB_CLOCK=virtual reads the TSC and says so in metrics and samples."""
    report = bo_touch(clock="virtual")
    assert report.parsed.problems == ()  # the parser refuses any other unit on that clock
    assert report.samples["touches.txt"][0] == "page insn"


def test_reads_find_what_was_written(bo_touch: BoTouch) -> None:
    """A reading touch is checked against what another mapping wrote."""
    report = bo_touch("--read", "--pattern", "random")
    assert report.failed == set()
    assert report.checks["content"].detail == f"{PAGES} of {PAGES} as written"


def test_advice_is_given_and_told(bo_touch: BoTouch) -> None:
    """--madvise adds a check, which names the advice."""
    assert bo_touch("--madvise", "random").checks["madvise"].detail == "random"
    assert "madvise" not in bo_touch().checks


def test_absent_driver_is_a_skip_that_says_what_is_there(bo_touch: BoTouch) -> None:
    """Where no card has the driver, the workload skips: status 4 and the reason."""
    report = bo_touch("--bo", "dumb", "--driver", "no-such-driver")
    assert report.status == 4
    assert [check.result for check in report.parsed.checks] == ["skip"]
    assert "no-such-driver" in report.parsed.checks[0].detail
    assert report.parsed.problems == ()


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--bo", "dumb"], "--driver NAME is needed"),
        (["--size", "5000"], "whole pages"),
        (["--size", "0K"], "whole pages"),
        (["--size", "99999999999999999999G"], "whole pages"),
        (["--size", "-8M"], "whole pages"),
        (["--size", "8MB"], "whole pages"),
        (["--stride", "0"], "from 1 to"),
        (["--seed", "x"], "a number from"),
        (["--pass", "3"], "from 1 to 2"),
        (["--pattern", "zigzag"], "sequential reverse random stride pmd"),
        (["--map-align", "12K"], "a power of two"),
        (["--then-rest"], "stride or pmd"),
        (["--pattern", "pmd", "--then-rest", "--pass", "2"], "--pass 2 does not go"),
        (["--read", "--populate", "no"], "--populate no does not go"),
        (["surplus"], "not an option"),
        (["--bogus"], "lists the options"),
    ],
)
def test_wrong_arguments_are_refused(bo_touch: BoTouch, args: list[str], says: str) -> None:
    """A wrong argument is status 2 with a sentence, and no report that could be taken for a result."""
    report = bo_touch(*args)
    assert report.status == 2
    assert says in report.stderr
    assert report.text == ""


@pytest.mark.parametrize(("clock", "unit"), [("virtual", "insn"), ("functional", "ns")])
def test_timeline_tells_when_each_touch_was(bo_touch: BoTouch, clock: str, unit: str) -> None:
    """With a timeline the span's touches come by the TSC, in order, beside their latencies; else there are
    none. Where tracefs cannot be had the report says so and is whole."""
    report = bo_touch("--pattern", "reverse", clock=clock, more={"LAB_TIMELINE": "1"})
    assert report.status == 0 and report.parsed.problems == ()
    ticks = parse_ticks("".join(line + "\n" for line in report.samples["touches.ticks"]).encode())
    assert list(ticks.pages) == touched(report)
    assert (ticks.unit, ticks.faults) == (unit, report.metrics["faults"])
    assert ticks.length == sum(latencies(report))
    assert "guest.trace" in report.samples or "# note: timeline: no guest faults: " in report.text
    assert set(bo_touch(clock=clock).samples) == {"touches.txt"}
