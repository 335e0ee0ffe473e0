# SPDX-License-Identifier: GPL-2.0-or-later
"""The cases, machines and series that ship with the lab fit the workload and each other."""

from __future__ import annotations

import email
import email.policy
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab import proc
from lab.spec.catalog import NO_TOPICS, Catalog
from lab.spec.loader import load
from lab.spec.models import Case, Machine

if TYPE_CHECKING:
    from tests.testcases.conftest import BoTouch

TESTCASES = Path(__file__).parents[2] / "testcases"
CASES = sorted(
    path
    for path in TESTCASES.glob("*/*.yaml")
    if path.parent.name not in NO_TOPICS and path.name != "answer.yaml"
)
BO_TOUCH = TESTCASES / "prefault" / "bo_touch.c"
MACHINES = sorted(TESTCASES.glob("machines/*.yaml"))
SERIES = TESTCASES / "prefault" / "series" / "pmd-size.mbox"


def name_of(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def plays_bo_touch(path: Path) -> bool:
    """On memory of any kind: a BO in video memory is not to be had without its driver."""
    case = load(path, Case)
    if case.workload is None or "--bo" in case.args:
        return False
    return (path.parent / case.workload).resolve() == BO_TOUCH


@pytest.mark.parametrize("path", [one for one in CASES if plays_bo_touch(one)], ids=name_of)
def test_case_measures_what_it_declares(path: Path, bo_touch: BoTouch) -> None:
    """The workload takes the case's arguments, passes, and reports each metric that the case judges, but for
    the guest's exits, which the lab counts from outside."""
    case = load(path, Case)
    counted = {name for name in case.metrics if case.exits and name.startswith("touch_")}
    report = bo_touch(*(arg.replace("{driver}", "qxl") for arg in case.args))
    assert report.failed == set(), report.text
    assert set(case.metrics) - counted <= set(report.metrics)
    units = {one.metric: one.unit for one in report.parsed.measurements}
    for name, metric in case.metrics.items():
        if name in counted:
            continue
        assert (units[name] == "ns") == (metric.unit == "time"), name


@pytest.mark.parametrize("path", CASES, ids=name_of)
def test_case_runs_where_it_means_something(path: Path) -> None:
    """Each default machine exists and exercises the memory manager that the case is about."""
    case = load(path, Case)
    for name in case.machines:
        title = load(TESTCASES / "machines" / f"{name}.yaml", Machine).title
        assert case.memory_manager is None or case.memory_manager in title.lower()


@pytest.mark.parametrize("path", CASES, ids=name_of)
def test_case_is_in_the_readme_of_its_topic(path: Path) -> None:
    """Each topic's README names the case and how to run one."""
    text = (path.parent / "README.md").read_text()
    assert f"`{name_of(path)}`" in text
    assert re.search(rf"^lab run {path.parent.name}/", text, re.MULTILINE)


@pytest.mark.parametrize("path", MACHINES, ids=lambda path: path.stem)
def test_machine_says_which_memory_manager_it_exercises(path: Path) -> None:
    """The title of a machine with a GPU names TTM or GEM shmem; a device to be given away has neither."""
    machine = load(path, Machine)
    drivers = {gpu.driver for gpu in machine.graphics}
    assert drivers
    assert drivers == {"vfio-pci"} or "TTM" in machine.title or "shmem" in machine.title


def test_series_is_one_signed_patch_to_one_file() -> None:
    """The mbox is what a mail client would have saved: headers, sign-off, citations, one well-formed diff."""
    raw = SERIES.read_bytes()
    assert raw.startswith(b"From ")
    assert raw.count(b"\nFrom ") == 0
    message = email.message_from_bytes(raw.split(b"\n", 1)[1], policy=email.policy.default)
    assert message["Subject"].startswith("[PATCH] drm/ttm: ")
    assert message["Message-ID"].endswith("@faultlab.example>")
    body = message.get_content()
    assert f"Signed-off-by: {message['From']}\n" in body
    for commit in ("0ddd2ae586d2", "c358a809cb58"):
        assert commit in body
    listed = proc.run(["git", "apply", "--numstat", str(SERIES)], timeout=30)
    assert listed.text == "11\t1\tdrivers/gpu/drm/ttm/ttm_bo_vm.c\n"


def test_series_selects_the_cases_about_ttm() -> None:
    """A series that touches TTM's fault handler is sent to the prefault cases, and to none without TTM."""
    chosen = Catalog.load(TESTCASES).cases_for_paths(["drivers/gpu/drm/ttm/ttm_bo_vm.c"])
    assert not [case.name for case in chosen if case.memory_manager == "shmem"]
    assert {case.name for case in chosen} >= {
        "prefault/first-touch",
        "prefault/sparse-touch",
        "prefault/misaligned",
        "prefault/second-touch",
    }
