# SPDX-License-Identifier: GPL-2.0-or-later
"""The topic huge-pte on real guests: the entries that the page tables hold, where huge ones are hard."""

from __future__ import annotations

from pathlib import Path

import pytest
from labrun import Lab, failed_checks, metrics

from lab.results.models import Outcome

SCENARIOS = ("aligned", "misaligned", "partly", "evicted", "fork", "munmap", "mprotect")
HUGE = {"aligned": 4, "misaligned": 0, "partly": 0, "evicted": 4, "fork": 4, "munmap": 3, "mprotect": 3}
"""Entries of 2 MiB of a BO of 8 MiB when a scenario is over, on a kernel that makes them."""

TOPIC = Path(__file__).parents[2] / "testcases" / "huge-pte"
SOURCE = TOPIC / "map_sizes.c"
CASE = """\
# SPDX-License-Identifier: GPL-2.0-or-later
title: {scenario} with the planted defect {defect}
question: Does a check of the workload see it?
workload: {source}
args: [--driver, "{{driver}}", --scenario, {scenario}, --defect, {defect}]
machines: [qxl]
modules: [page_walk]
"""
DEFECTS = {
    ("aligned", "astray"): "placed",
    ("aligned", "untouched"): "mapping",
    ("partly", "skip"): "moved",
    ("evicted", "skip"): "evicted",
    ("fork", "skip"): "shared",
    ("munmap", "skip"): "hole",
    ("mprotect", "skip"): "one-page",
    ("small-update", "skip"): "update",
}
"""Scenario and defect, and the check that must see it."""


def cases(*names: str) -> tuple[str, ...]:
    return tuple(f"huge-pte/{name}" for name in names)


def test_stock_maps_single_pages(lab: Lab) -> None:
    """A stock kernel maps TTM's BOs by 4 KiB, also where 2 MiB would fit: PASS."""
    ran = lab("run", *cases("aligned", "evicted", "munmap"))
    assert ran.code == 0, ran.stderr
    small = {"aligned": 64, "evicted": 2048, "munmap": 2047}
    for name, trial in ran.by_case.items():
        assert (metrics(trial)["huge"], metrics(trial)["small"]) == (0, small[name]), name


@pytest.mark.parametrize(
    ("kernel", "scenarios"), [("debian:6.12", ("aligned", "misaligned", "munmap")), ("debian:7.3", SCENARIOS)]
)
def test_series_maps_what_fits(lab: Lab, kernel: str, scenarios: tuple[str, ...]) -> None:
    """With the series there are entries of 2 MiB exactly where address, BO, memory and VMA let them."""
    ran = lab("run", *cases(*scenarios), "--kernel", kernel, "--series", "huge-pte/huge-pte")
    assert ran.code == 0, ran.stderr
    seen = {name: metrics(trial)["huge"] for name, trial in ran.by_case.items()}
    assert seen == {name: HUGE[name] for name in scenarios}
    assert not any(metrics(trial).get("oom_faults") for trial in ran.trials)


def test_a_window_into_a_huge_entry_is_seen(lab: Lab, tmp_path: Path) -> None:
    """The series as it was at first, with no end of the window at a huge entry: FAIL by `oom_faults`."""
    present = (TOPIC / "series" / "huge-pte-7.2.mbox").read_text()
    first = tmp_path / "first-version.mbox"
    first.write_text(present.replace("+\t\treturn left;\n", "+\t\treturn TTM_BO_VM_NUM_PREFAULT;\n"))
    assert first.read_text() != present
    ran = lab("validate", first, *cases("munmap"), "--base", "debian:7.3")
    assert ran.code == 1, ran.stderr
    assert [metrics(trial)["oom_faults"] for trial in ran.trials] == [0, 1]


def test_unsafe_entries_are_told_apart(lab: Lab) -> None:
    """On 6.1 the unsafe series maps by 2 MiB as well, and the check `special` says what is wrong with it."""
    ran = lab("run", *cases("aligned"), "--series", "huge-pte/unsafe-huge-pte")
    assert ran.code == 1, ran.stderr
    assert metrics(ran.trial)["huge"] == 4
    assert [check.name for check in ran.trial.checks if check.result == "not ok"] == ["special"]


def test_other_drivers(lab: Lab) -> None:
    """Huge entries of a stock 7.x kernel: for vgem by itself, for the test GPU because it asks for them."""
    ran = lab("run", *cases("vgem", "test-gpu"), "--kernel", "debian:7.3")
    assert ran.code == 0, ran.stderr
    assert {metrics(trial)["huge"] for trial in ran.trials} == {4}


def test_whole_range_is_what_the_thread_feared(lab: Lab) -> None:
    """Where a fault maps the whole range one touch of 64 MiB takes hundreds of times as long."""
    ran = lab("run", *cases("small-update", "whole-range"))
    assert ran.code == 0, ran.stderr
    trials = ran.by_case
    small, whole = metrics(trials["small-update"]), metrics(trials["whole-range"])
    assert (small["update_pages"], whole["update_pages"]) == (16, 16384)
    assert whole["update"] > 100 * small["update"]


def test_planted_defects_are_seen(lab: Lab, tmp_path: Path) -> None:
    """Each defect planted in the workload fails the check that it was planted for."""
    for scenario, defect in DEFECTS:
        text = CASE.format(scenario=scenario, defect=defect, source=SOURCE)
        (tmp_path / f"{scenario}-{defect}.yaml").write_text(text)
    trials = lab("run", *sorted(tmp_path.glob("*.yaml"))).by_case
    for (scenario, defect), check in DEFECTS.items():
        trial = trials[f"{scenario}-{defect}"]
        assert trial.outcome is Outcome.FAIL, (scenario, defect, trial.reason)
        assert check in failed_checks(trial), (scenario, defect)
