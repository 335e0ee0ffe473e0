# SPDX-License-Identifier: GPL-2.0-or-later
"""The plan of an answer: kernels by role, each trial once, and what is left out."""

from __future__ import annotations

import pytest

from lab.kernel.kernel_packages import KernelPackages
from lab.kernel.packages import Package
from lab.results.models import Clock
from lab.spec.answer import Answer
from lab.spec.catalog import Catalog
from lab.spec.series_index import shipped_indexes
from lab.workflow.answer_plan import Planned, newest_usable, plan_answers, real_name
from lab.workflow.patched import release_of

CATALOG = Catalog.load()
FIRST, SPARSE = "prefault/first-touch", "prefault/sparse-touch"


def table(kernels: list[str], series: list[str], *columns: dict[str, str], **rows: str) -> dict[str, object]:
    return {
        "title": "t",
        "rows": {"kernels": kernels, "series": series, **rows},
        "machines": ["qxl"],
        "columns": [{"title": "c", **column} for column in columns],
    }


def planned(*tables: dict[str, object], topic: str = "prefault") -> Planned:
    answer = Answer.model_validate({"tables": list(tables)}, strict=False)
    return plan_answers(CATALOG, shipped_indexes(), {topic: answer}, folder="series")


def boots(found: Planned) -> list[tuple[str, str, str]]:
    return [(trial.case, trial.role, trial.machine) for trial in found.trials]


def test_each_kernel_with_each_series_is_a_role() -> None:
    """One name stands for the mbox of each release; kept copies are named below the run's folder."""
    found = planned(table(["debian:6.1", "debian:7.3"], ["stock", "prefault/pmd-size"], {"case": FIRST}))
    subjects = found.subjects
    assert list(subjects) == [
        "debian-6.1",
        "debian-6.1+prefault.pmd-size",
        "debian-7.3",
        "debian-7.3+prefault.pmd-size",
    ]
    assert subjects["debian-6.1"].mboxes == ()
    assert subjects["debian-7.3+prefault.pmd-size"].mboxes == ("series/prefault.pmd-size/pmd-size-7.2.mbox",)
    assert found.mboxes["series/prefault.pmd-size/pmd-size.mbox"].is_file()
    assert boots(found) == [(FIRST, role, "qxl") for role in subjects]
    assert [trial.number for trial in found.trials] == [1, 2, 3, 4]
    assert len({trial.key for trial in found.trials}) == 4
    rows = found.record.topics[0].tables[0].rows
    assert [(row.kernel, row.series) for row in rows[:2]] == [("6.1", "stock"), ("6.1", "pmd-size")]


def test_series_onto_another_comes_with_it() -> None:
    """The revert is applied after what it reverts."""
    found = planned(table(["debian:6.1"], ["prefault/revert-pmd-size"], {"case": FIRST}))
    (subject,) = found.subjects.values()
    assert [name.rpartition("/")[2] for name in subject.mboxes] == ["pmd-size.mbox", "revert-pmd-size.mbox"]


def test_trial_that_several_cells_tell_of_runs_once() -> None:
    """Columns and tables share the trials of the same case, kernel and machine."""
    columns = [{"case": FIRST, "metric": "faults"}, {"case": FIRST, "check": "content"}, {"case": SPARSE}]
    one = table(["debian:6.1"], ["stock"], *columns)
    other = table(["debian:6.1", "debian:6.12"], ["stock"], {"case": FIRST})
    assert boots(planned(one, other)) == [
        (FIRST, "debian-6.1", "qxl"),
        (SPARSE, "debian-6.1", "qxl"),
        (FIRST, "debian-6.12", "qxl"),
    ]


def test_rows_with_cases_of_their_own() -> None:
    """Case after case, each with its own series and machine; columns without a case tell of the row's."""
    told = table(["debian:6.1", "debian:6.12"], ["stock"], {"metric": "faults"}, {"case": SPARSE})
    told["rows"] |= {  # type: ignore[operator]  # a dict, as made above
        "called": "what",
        "cases": [
            {"title": "all", "case": FIRST, "series": ["stock", "prefault/madvise"]},
            {"title": "some", "case": SPARSE, "machine": "bochs"},
        ],
    }
    found = planned(told)
    rows = found.record.topics[0].tables[0].rows
    assert found.record.topics[0].tables[0].called == "what"
    assert [(row.title, row.kernel, row.series, row.machine) for row in rows] == [
        ("all", "6.1", "stock", "qxl"),
        ("all", "6.1", "madvise", "qxl"),
        ("all", "6.12", "stock", "qxl"),
        ("all", "6.12", "madvise", "qxl"),
        ("some", "6.1", "stock", "bochs"),
        ("some", "6.12", "stock", "bochs"),
    ]
    assert boots(found)[:3] == [
        (FIRST, "debian-6.1", "qxl"),
        (SPARSE, "debian-6.1", "qxl"),
        (FIRST, "debian-6.1+prefault.madvise", "qxl"),
    ]
    assert boots(found)[-1] == (SPARSE, "debian-6.12", "bochs")
    assert len(boots(found)) == 10


def test_series_that_is_not_for_a_kernel_is_left_out() -> None:
    """Neither built nor booted, but told with the releases that it is for."""
    series = ["stock", "prefault/pmd-size", "huge-pte/unsafe-huge-pte"]
    found = planned(table(["debian:5.10", "debian:6.12"], series, {"case": FIRST}))
    assert list(found.subjects) == ["debian-5.10", "debian-6.12", "debian-6.12+prefault.pmd-size"]
    assert found.record.topics[0].tables[0].left_out == (
        "Left out: pmd-size on 5.10; the series is for 6.1, 6.12, 7.2, 7.3.",
        "Left out: huge-pte/unsafe-huge-pte on 5.10, 6.12; the series is for 6.1.",
    )


def test_kconfig_makes_another_kernel() -> None:
    """The same source with other options is built, and named, on its own."""
    plain = table(["source:6.12"], ["stock"], {"case": FIRST})
    debug = table(["source:6.12"], ["stock"], {"case": FIRST}, kconfig="lean+drm+debug")
    found = planned(plain, debug)
    assert list(found.subjects) == ["source-6.12", "source-6.12_lean-drm-debug"]
    assert found.record.topics[0].tables[1].rows[0].kernel == "source:6.12, lean+drm+debug"


def test_clock_is_virtual_unless_the_case_has_its_own() -> None:
    """What one case alone can run on does not change the others."""
    found = planned(table(["debian:6.1"], ["stock"], {"case": FIRST}))
    assert {trial.clock for trial in found.trials} == {Clock.VIRTUAL}


@pytest.mark.parametrize(
    ("source", "release"), [("debian:6.12", "6.12"), ("source:7.3", "7.3"), ("debian:6.1.192-2", "6.1")]
)
def test_release_of_a_kernel(source: str, release: str) -> None:
    """What the index of the series is asked with."""
    assert release_of(source) == release


def packages(version: str, *, lost: tuple[str, ...] = (), whole: bool = True) -> KernelPackages:
    one = Package(name="p", version=version, architecture="amd64", sha256="0" * 64, size=1, filename="p.deb")
    parts = {"headers": one, "headers_common": one, "kbuild": one, "source": one if whole else None}
    return KernelPackages(release=version, version=version, image=one, lost=lost, **parts)


def test_newest_is_whole_and_no_release_candidate() -> None:
    """Candidates, and kernels of which the archive lost a part or never had the source, are passed over."""
    kernels = [
        packages("7.5~rc2-1"),
        packages("7.4.1-1", whole=False),
        packages("7.3.5-1", lost=("linux-modules-7.3.5",)),
        packages("7.3.4-1~bpo13+1"),
        packages("7.2.13-1"),
    ]
    assert newest_usable(kernels) is kernels[3]
    assert newest_usable(kernels[:3]) is None
    assert real_name("debian:6.1") == "debian:6.1"
