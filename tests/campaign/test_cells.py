# SPDX-License-Identifier: GPL-2.0-or-later
"""From a matrix to cells, kernels and trials: each cell once, and what is excluded never."""

from __future__ import annotations

import fnmatch
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.campaign import cells
from lab.campaign.cells import Choice, NightPlan, pairs_named, plan_night
from lab.errors import UserError
from lab.results.models import Clock
from lab.spec.catalog import Catalog
from lab.spec.matrix import Excluded, Included, Limit, Matrix, MatrixKernel, Priority
from lab.spec.matrix_file import LoadedMatrix

CATALOG = Catalog.load()
KERNELS = ("stock", "debian:6.12", "source:6.12", "tree:/a/linux@v6.12", "tree:/b/linux@v6.12")
CASES = ("smoke/boot", "prefault/first-touch", "prefault/exits", "stutter/video", "virtio-gpu/resize")


def loaded(matrix: Matrix) -> LoadedMatrix:
    def select(patterns: tuple[str, ...]):
        names = [name for name in CATALOG.cases if any(fnmatch.fnmatchcase(name, one) for one in patterns)]
        return CATALOG.select(names)

    return LoadedMatrix(
        Path("nightly.yaml"), matrix, select(matrix.cases), tuple(select(one.cases) for one in matrix.include)
    )


def plan(matrix: Matrix, **choices: Choice) -> NightPlan:
    given = loaded(matrix)
    named = {(kernel, series): re.sub(r"[/-]", "_", series) for kernel, series in pairs_named(matrix)}
    chosen = {pair: choices.get(name, Choice(pair[0])) for pair, name in named.items()}
    return plan_night(given, chosen, CATALOG.machines)


def kernels(*names: str) -> tuple[MatrixKernel, ...]:
    return tuple(MatrixKernel(kernel=name) for name in names)


def test_product_of_kernels_and_cases_on_their_machines() -> None:
    """A packaged kernel has one configuration, a built one each; a case runs on its own machines."""
    found = plan(
        Matrix(
            kernels=kernels("stock", "source:6.12"),
            configurations=("lean+drm", "lean+drm+debug"),
            cases=("smoke/boot", "stutter/video"),
        )
    )
    assert len(found.cells) == 3 * (1 + 2)  # smoke/boot on qxl, stutter/video on qxl and test-gpu
    assert list(found.subjects) == ["stock", "source-6.12_lean-drm", "source-6.12_lean-drm-debug"]
    assert found.users() == dict.fromkeys(found.subjects, 3)
    assert found.subjects["source-6.12_lean-drm"].kconfig == "lean+drm"
    assert [one.number for one in found.trials] == list(range(1, 10))


def test_machines_that_are_named_are_taken_for_every_case() -> None:
    """As `--machine` is."""
    found = plan(Matrix(kernels=kernels("stock"), machines=("virtio-gpu", "bochs"), cases=("smoke/boot",)))
    assert [one.cell.machine for one in found.cells] == ["virtio-gpu", "bochs"]


def test_clock_is_that_of_the_case_where_it_has_one() -> None:
    """What needs KVM is not on the virtual clock; a real clock is asked for where one may be."""
    names = ("smoke/boot", "prefault/exits", "virtio-gpu/resize")
    virtual = plan(Matrix(kernels=kernels("stock"), cases=names))
    real = plan(Matrix(kernels=kernels("stock"), cases=names, clock="real"))
    order = {
        one.cell.case: (one.cell.clock, other.cell.clock)
        for one, other in zip(virtual.cells, real.cells, strict=True)
    }
    assert order == {
        "smoke/boot": (Clock.VIRTUAL, Clock.REAL),
        "prefault/exits": (Clock.FUNCTIONAL, Clock.REAL),
        "virtio-gpu/resize": (Clock.FUNCTIONAL, Clock.FUNCTIONAL),
    }


def test_limits_and_priorities_of_several_rules_the_last_counts() -> None:
    """Each key for itself; they reach the planned trials, each boot of a cell is one."""
    found = plan(
        Matrix(
            kernels=kernels("stock"),
            cases=("smoke/boot", "prefault/first-touch"),
            limits=(Limit(case="*", timeout=30.0, trials=2), Limit(case="smoke/*", trials=1)),
            priorities=(Priority(kernel="stock", priority=1), Priority(case="smoke/*", priority=7)),
        )
    )
    told = [(one.case, one.repeat, one.timeout, one.priority) for one in found.trials]
    assert sorted(told) == [
        ("prefault/first-touch", 1, 30.0, 1),
        ("prefault/first-touch", 2, 30.0, 1),
        ("smoke/boot", 1, 30.0, 7),
    ]


def test_series_are_kept_with_the_run_and_what_is_not_for_a_kernel_is_told() -> None:
    """A kernel with a series is one of its own; a series that is not for it leaves its cells out."""
    matrix = Matrix(
        kernels=(MatrixKernel(kernel="stock", series=("stock", "prefault/pmd-size", "prefault/late")),),
        cases=("smoke/boot", "prefault/first-touch"),
    )
    found = plan(
        matrix,
        prefault_pmd_size=Choice("stock", {"series/prefault.pmd-size/pmd-size.mbox": Path("x.mbox")}),
        prefault_late=Choice("stock", left_out="prefault/late is for 7.3, and stock is 6.1"),
    )
    assert list(found.subjects) == ["stock", "stock+prefault.pmd-size"]
    subject = found.subjects["stock+prefault.pmd-size"]
    assert (subject.series, subject.mboxes) == (
        "prefault/pmd-size",
        ("series/prefault.pmd-size/pmd-size.mbox",),
    )
    assert found.left_out == ("prefault/late is for 7.3, and stock is 6.1: 2 cells left out",)
    assert found.mboxes == {"series/prefault.pmd-size/pmd-size.mbox": Path("x.mbox")}


def test_a_matrix_without_a_cell_says_why() -> None:
    """Excluded cells and those that can never run are counted."""
    with pytest.raises(UserError, match=r"no cell that could be run \(1 excluded\)"):
        plan(Matrix(kernels=kernels("stock"), cases=("smoke/boot",), exclude=(Excluded(kernel="stock"),)))
    with pytest.raises(
        UserError, match="a device of the host, which counts no instructions: 1 cells left out"
    ):
        plan(Matrix(kernels=kernels("stock"), machines=("vfio",), cases=("smoke/boot",)))


def test_too_many_cells_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slip of the pen does not fill the disk."""
    monkeypatch.setattr(cells, "MAX_CELLS", 3)
    with pytest.raises(UserError, match="more than 3 cells"):
        plan(Matrix(kernels=kernels("stock"), cases=("prefault/*",)))


def test_names_of_kernels_are_fit_for_files_and_unlike_each_other() -> None:
    """However long a path is, and whatever two of them have in common."""
    long = f"tree:/{'very-long/' * 40}linux"
    found = plan(
        Matrix(kernels=kernels("tree:/a/x@1", "tree:/a/x-1", long, f"{long}@v2"), cases=("smoke/boot",))
    )
    assert len(found.subjects) == 4
    assert next(iter(found.subjects)) == "tree-x-1_lean-drm"
    assert all(len(role) <= cells.MAX_ROLE and "/" not in role for role in found.subjects)
    assert len({one.key for one in found.trials}) == 4


some = st.lists(st.sampled_from(KERNELS), min_size=1, max_size=5, unique=True)
patterns = st.none() | st.sampled_from(
    ("*", "stock", "debian:*", "smoke/*", "prefault/exits", "qxl", "test-*")
)


@settings(max_examples=150)
@given(
    names=some,
    cases=st.lists(st.sampled_from(CASES), min_size=1, max_size=5, unique=True),
    machines=st.none() | st.lists(st.sampled_from(("qxl", "bochs", "virtio-gpu")), min_size=1, unique=True),
    rules=st.lists(st.tuples(patterns, patterns, patterns), max_size=3),
    extra=st.lists(st.tuples(st.sampled_from(KERNELS), st.sampled_from(CASES)), max_size=3),
    trials=st.integers(1, 3),
)
def test_every_cell_once_and_exclude_wins(names, cases, machines, rules, extra, trials) -> None:
    """What is asked for twice is one cell; no excluded cell is left, nor one that is included by name."""
    exclude = [Excluded(kernel=k, machine=m, case=c) for k, m, c in rules]
    matrix = Matrix(
        kernels=kernels(*names),
        cases=tuple(cases),
        machines=None if machines is None else tuple(machines),
        include=tuple(Included(kernel=kernel, cases=(case,)) for kernel, case in extra),
        exclude=tuple(exclude),
        trials=trials,
    )
    try:
        found = plan(matrix)
    except UserError:
        return  # all are excluded
    places = [one.cell for one in found.cells]
    assert len(places) == len(set(places))
    for cell in places:
        for rule in exclude:
            told = (rule.kernel, cell.kernel), (rule.machine, cell.machine), (rule.case, cell.case)
            assert not all(pattern is None or fnmatch.fnmatchcase(name, pattern) for pattern, name in told)
    wanted = {
        (kernel, machine, case)
        for kernel, case in [*((k, c) for k in names for c in cases), *extra]
        for machine in (
            machines if machines is not None and (kernel, case) not in extra else CATALOG.case(case).machines
        )
    }
    assert {(cell.kernel, cell.machine, cell.case) for cell in places} <= wanted | {
        (k, m, c) for k in names for c in cases for m in machines or ()
    }
    assert len(found.trials) == trials * len(places)
    assert len({one.key for one in found.trials}) == len(found.trials)
    assert {one.role for one in found.trials} == set(found.subjects)
