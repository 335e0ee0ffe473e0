# SPDX-License-Identifier: GPL-2.0-or-later
"""The matrix of a night: what it may say, and that what is wrong is told at its place."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from test_schema import errors

from lab.errors import SpecError, UserError
from lab.spec.catalog import Catalog
from lab.spec.matrix_file import LoadedMatrix, load_matrix, never, shipped_matrix
from lab.spec.schema import schemas

GOOD = """\
title: good
kernels:
  - {kernel: stock, series: [stock, prefault/pmd-size, own.mbox]}
  - {kernel: "debian:7.3"}
  - {kernel: "tree:/somewhere/linux@v6.12"}
configurations: [lean+drm, lean+drm+debug]
machines: [qxl, virtio-gpu]
cases: [smoke/boot, prefault/*, dma-buf]
clock: virtual
trials: 2
include:
  - {kernel: newest, machine: bochs, cases: [dma-buf/bochs]}
exclude:
  - {kernel: "debian:*", series: stock, why: too new}
limits:
  - {case: prefault/*, timeout: 60, trials: 3}
priorities:
  - {case: smoke/*, priority: 10}
"""


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog.load()


@pytest.fixture
def load(tmp_path: Path, catalog: Catalog):
    """Loads a matrix from text, from a folder that has a series of its own."""
    (tmp_path / "own.mbox").touch()

    def from_text(text: str) -> LoadedMatrix:
        path = tmp_path / "matrix.yaml"
        path.write_text(text)
        return load_matrix(path, catalog)

    return from_text


def test_good_matrix(load) -> None:
    """Names, topics and patterns become cases, each once, in the order of the matrix."""
    loaded = load(GOOD)
    names = [case.name for case in loaded.cases]
    assert names[0] == "smoke/boot"
    assert "prefault/first-touch" in names and "dma-buf/qxl" in names
    assert len(names) == len(set(names))
    assert [case.name for case in loaded.included[0]] == ["dma-buf/bochs"]
    assert loaded.name == "matrix"


@pytest.mark.parametrize(
    ("old", "new", "place", "words"),
    [
        ("kernel: stock,", "kernel: stokc,", "3:14", "unknown kernel `stokc`; did you mean stock"),
        ('"debian:7.3"', '"debain:7.3"', "4:14", "did you mean debian:"),
        ('"debian:7.3"', '"debian:new"', "4:14", "unknown kernel `debian:new`"),
        ("prefault/pmd-size", "prefault/pmd-sise", "3:37", "did you mean prefault/pmd-size"),
        ("own.mbox", "other.mbox", "3:56", "there is no file"),
        ("[stock, prefault/pmd-size", "[stock, stock", "3:37", "stock is named twice"),
        ('{kernel: "debian:7.3"}', "{kernel: stock}", "4:14", "stock is named twice"),
        ("lean+drm+debug", "lean+dbug", "6:28", "there is no configuration dbug; did you mean debug?"),
        ("[lean+drm, lean+drm+debug]", "[lean+drm, lean+drm]", "6:28", "lean+drm is named twice"),
        ("machines: [qxl, virtio-gpu]", "machines: [qlx]", "7:12", "did you mean qxl"),
        ("machines: [qxl, virtio-gpu]", "machines: [qxl, qxl]", "7:17", "qxl is named twice"),
        ("smoke/boot", "smoke/bot", "8:9", "there is no case smoke/bot; did you mean smoke/boot"),
        ("smoke/boot", "nothing/*", "8:9", "there is no case nothing/*"),
        ("smoke/boot", "../a.yaml", "8:9", "a.yaml"),
        ("cases: [smoke/boot, prefault/*, dma-buf]", "cases: []", "8:8", "cases: too short: 0 of at least 1"),
        ("clock: virtual", "clock: wall", "9:8", "must be 'virtual' or 'real'"),
        ("trials: 2", "trials: 0", "10:9", "must be greater than equal 1, found 0"),
        ("machine: bochs", "machine: boch", "12:31", "did you mean bochs"),
        ("cases: [dma-buf/bochs]", "cases: [dma/bochs]", "12:46", "there is no case dma/bochs"),
        ("machine: bochs", "configuration: lean", "12:37", "newest is a package and has its own"),
        (
            'kernel: "debian:*"',
            'kernel: "debian:5*"',
            "14:14",
            "no cell of this matrix has the kernel debian:5*",
        ),
        ('{kernel: "debian:*", series: stock, why: too new}', "{why: nothing}", "14:5", "it names no cells"),
        ("timeout: 60", "timeout: soon", "16:33", "expected a number"),
        ("priority: 10", "prioritty: 10", "18:21", "unknown key 'prioritty'; did you mean priority?"),
        ("title: good", "titel: good", "1:1", "unknown key 'titel'; did you mean title"),
    ],
)
def test_mistakes_are_told_at_their_place(load, old: str, new: str, place: str, words: str) -> None:
    """Line, column, and what was probably meant."""
    assert old in GOOD
    with pytest.raises(SpecError) as caught:
        load(GOOD.replace(old, new, 1))
    told = [problem for problem in caught.value.problems if f"matrix.yaml:{place}: " in problem]
    assert told and words in told[0], caught.value.problems


def test_all_mistakes_come_at_once(load) -> None:
    """One run of the command tells of each."""
    text = GOOD.replace("kernel: stock,", "kernel: stokc,").replace("machine: bochs", "machine: boch")
    with pytest.raises(SpecError) as caught:
        load(text.replace("smoke/boot", "smoke/bot"))
    assert len(caught.value.problems) == 3


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ('{kernel: "debian:6.1", cases: [huge-pte/nested-system]}', "needs Linux >=6.13, this is 6.1"),
        (
            '{kernel: "debian:5.10", series: prefault/pmd-size, cases: [smoke]}',
            "not 5.10: this cell can never run",
        ),
        ("{kernel: image:/a/bzImage, series: prefault/pmd-size, cases: [smoke]}", "is built already"),
    ],
)
def test_a_cell_that_can_never_run_is_told(load, entry: str, words: str) -> None:
    """What was asked for by name is not left out without a word."""
    with pytest.raises(SpecError) as caught:
        load(f"kernels: [{{kernel: stock}}]\ncases: [smoke]\ninclude:\n  - {entry}\n")
    assert words in str(caught.value)


def test_a_topic_may_have_cases_for_other_kernels(load) -> None:
    """Of a pattern, those that can run are run; the others are SKIP with their reason."""
    loaded = load(
        'kernels: [{kernel: stock}]\ncases: [smoke]\ninclude: [{kernel: "debian:6.12", cases: [huge-pte]}]\n'
    )
    names = [case.name for case in loaded.included[0]]
    assert "huge-pte/aligned" in names and "huge-pte/nested-system" in names


def test_a_kernel_whose_name_tells_no_version_may_run_anything(catalog: Catalog) -> None:
    """Only the archive, or the tree, knows what they are."""
    case = catalog.case("huge-pte/nested-system")
    assert never(case, "debian:6.12") != ""
    assert [never(case, name) for name in ("stock", "newest", "tree:/linux", "debian:6.13")] == [""] * 4


def test_empty_and_missing_files(load, tmp_path: Path, catalog: Catalog) -> None:
    """An empty matrix says what it must have; one that is not there is named."""
    with pytest.raises(SpecError, match="it must have: kernels, cases"):
        load("")
    with pytest.raises(UserError, match="cannot read"):
        load_matrix(tmp_path / "none.yaml", catalog)


def test_shipped_matrix_is_valid(catalog: Catalog) -> None:
    """What `lab nightly` takes where none is named fits its schema, and has all topics."""
    loaded = load_matrix(shipped_matrix(), catalog)
    assert {case.name.partition("/")[0] for case in loaded.cases} == {
        name.partition("/")[0] for name in catalog.cases
    }
    schema = schemas()["matrix"]
    assert errors(yaml.safe_load(shipped_matrix().read_text()), schema, schema) == []
    assert errors({"kernels": [{"kernel": "stock"}]}, schema, schema) == ["cases missing"]
