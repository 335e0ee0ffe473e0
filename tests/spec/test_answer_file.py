# SPDX-License-Identifier: GPL-2.0-or-later
"""answer.yaml: what it may say, and that what is wrong is told at its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab import files
from lab.errors import SpecError, UserError
from lab.spec.answer import Answer, load_answer, names_of, releases_of, series_for, topics
from lab.spec.catalog import Catalog
from lab.spec.series_index import SeriesIndex, load_index, shipped_indexes

SHIPPED = Catalog.load()
CASE = """\
title: t
question: q
machines: [qxl]
workload: w.c
metrics:
  total: {title: total, unit: time}
"""
GOOD = """\
tables:
  - title: first touch
    says: less is more
    rows: {kernels: [debian:6.1, newest, stock, source:7.3], series: [stock, topic/size], kconfig: lean+drm}
    machines: [qxl]
    columns:
      - {title: total, case: topic/one, metric: total}
      - {title: content, case: topic/one, check: content, show: detail}
      - {title: outcome, case: topic/one}
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A testcases folder with one topic that has two series, one of them in two mboxes."""
    for name, text in {
        "machines/qxl.yaml": "title: QXL\n",
        "topic/one.yaml": CASE,
        "topic/w.c": "int main(void) { return 0; }\n",
        "topic/answer.yaml": GOOD,
        "topic/series/size.mbox": "",
        "topic/series/size-7.2.mbox": "",
        "topic/series/back-6.1.mbox": "",
        "topic/series/series.yaml": (
            "series:\n"
            '  size.mbox: {does: a, versions: ["6.1", "6.12"]}\n'
            '  size-7.2.mbox: {does: a, versions: ["7.2", "7.10"]}\n'
            '  back-6.1.mbox: {does: b, versions: ["6.1"], onto: size.mbox}\n'
        ),
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def loaded(tree: Path) -> Answer:
    return load_answer(Catalog.load(tree), "topic", shipped_indexes(tree))


def place_of(text: str, at: int) -> str:
    """Line and column of a character, as problems are told."""
    before = text[:at]
    return f"{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}"


def test_good_answer_is_read(tree: Path) -> None:
    """All that an answer may say arrives, with its defaults."""
    (table,) = loaded(tree).tables
    assert (table.title, table.says, table.machines) == ("first touch", "less is more", ("qxl",))
    assert table.rows.kernels == ("debian:6.1", "newest", "stock", "source:7.3")
    assert [(column.metric, column.check, column.show) for column in table.columns] == [
        ("total", None, "result"),
        (None, "content", "detail"),
        (None, None, "result"),
    ]


ROW_CASES = """\
tables:
  - title: by what is touched
    rows:
      kernels: [debian:6.1]
      called: memory
      cases:
        - {title: all of it, case: topic/one, series: [topic/size], machine: qxl}
        - {title: a part, case: topic/two}
    machines: [qxl]
    columns:
      - {title: total, metric: total}
      - {title: half, metric: half}
      - {title: beside, case: topic/one, metric: total}
"""


@pytest.fixture
def row_cases(tree: Path) -> Path:
    """The same topic, answered by a table whose rows have cases."""
    (tree / "topic/two.yaml").write_text(CASE.replace("total", "half"))
    (tree / "topic/answer.yaml").write_text(ROW_CASES)
    return tree


def test_rows_may_have_cases(row_cases: Path) -> None:
    """Each with series and a machine of its own or the table's; a metric is that of at least one of them."""
    (table,) = loaded(row_cases).tables
    whole, part = table.rows.cases
    assert (table.series_of(whole), table.machines_of(whole)) == (("topic/size",), ("qxl",))
    assert (table.series_of(part), table.machines_of(part)) == (("stock",), ("qxl",))
    assert [column.case for column in table.columns] == [None, None, "topic/one"]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("case: topic/two", "case: topic/too", "there is no case topic/too; did you mean topic/two"),
        ("[topic/size]", "[topic/sice]", "there is no series topic/sice; did you mean topic/size"),
        ("machine: qxl", "machine: qx", "there is no machine qx; did you mean qxl"),
        ("metric: half", "metric: haff", "topic/one, topic/two declares no metric haff; did you mean half"),
    ],
)
def test_mistake_in_a_rows_case_is_told(row_cases: Path, old: str, new: str, words: str) -> None:
    """At its place, as anywhere else."""
    path = row_cases / "topic/answer.yaml"
    text = ROW_CASES.replace(old, new)
    path.write_text(text)
    wrong = new.strip("[]").rpartition(" ")[2]
    place = place_of(text, text.index(new) + new.index(wrong))
    with pytest.raises(SpecError) as caught:
        loaded(row_cases)
    assert caught.value.problems[0].startswith(f"{path}:{place}: {words}")


def test_column_needs_a_case_from_somewhere(tree: Path) -> None:
    """Its own or the row's."""
    (tree / "topic/answer.yaml").write_text(GOOD.replace(", case: topic/one}", "}"))
    with pytest.raises(SpecError, match="the column names no case, and neither do the rows"):
        loaded(tree)


def test_answer_is_no_case(tree: Path) -> None:
    """The catalog finds the topic's answer beside its cases and takes it for none of them."""
    catalog = Catalog.load(tree)
    assert list(catalog.cases) == ["topic/one"]
    assert catalog.problems == ()
    assert topics(catalog) == ("topic",)


MISTAKES = [  # what stands instead of what, where it is told, and how
    ("metric: total", "metric: totl", "totl", "topic/one declares no metric totl; did you mean total"),
    ("topic/one, m", "topic/won, m", "topic/won", "there is no case topic/won; did you mean topic/one"),
    ("[qxl]", "[qxl, qx]", "qx]", "there is no machine qx; did you mean qxl"),
    ("topic/size]", "topic/sice]", "topic/sice", "there is no series topic/sice; did you mean topic/size"),
    ("metric: total", "metric: total, check: x", "x}", "a column tells a metric or a check, not both"),
    ("topic/one}", "topic/one, show: detail}", "detail}\n", "only a check has a detail"),
    ("debian:6.1", "tree:/me", "tree:/me", "tables.0.rows.kernels.0: `tree:/me` must match"),
    ("title: first", "titel: first", "titel", "unknown key 'titel'; did you mean title"),
    ("[qxl]", "[]", "[]", "tables.0.machines: too short: 0 of at least 1"),
    ("show: detail", "show: all", "all", "tables.0.columns.1.show: must be 'result' or 'detail'"),
]


@pytest.mark.parametrize(("old", "new", "at", "words"), MISTAKES, ids=[mistake[1] for mistake in MISTAKES])
def test_each_mistake_is_told_at_its_place(tree: Path, old: str, new: str, at: str, words: str) -> None:
    """File, line, column, and what to write instead."""
    assert old in GOOD
    path = tree / "topic/answer.yaml"
    text = GOOD.replace(old, new, 1)
    path.write_text(text)
    place = place_of(text, text.rindex(at))
    with pytest.raises(SpecError) as caught:
        loaded(tree)
    assert [problem for problem in caught.value.problems if problem.startswith(f"{path}:{place}: {words}")]


def test_topic_without_an_answer(tree: Path) -> None:
    """A topic that cannot be answered is told with those that can."""
    with pytest.raises(UserError, match=r"no topic topik with an answer\.yaml\n  -> did you mean topic"):
        load_answer(Catalog.load(tree), "topik", ())


@pytest.fixture
def index(tree: Path) -> SeriesIndex:
    return load_index(tree / "topic/series")


@pytest.mark.parametrize(
    ("name", "release", "mboxes"),
    [
        ("topic/size", "6.12", ["size.mbox"]),
        ("topic/size", "7.2", ["size-7.2.mbox"]),
        ("topic/size", "5.10", None),
        ("topic/size", "7.1", None),
        ("topic/back", "6.1", ["size.mbox", "back-6.1.mbox"]),
        ("topic/back", "6.12", None),
        ("other/size", "6.12", None),
    ],
)
def test_series_is_found_for_a_release(
    index: SeriesIndex, name: str, release: str, mboxes: list[str] | None
) -> None:
    """One name stands for the mboxes of all releases; what it goes on top of comes first."""
    chosen = series_for([index], name, release)
    assert (chosen and [path.name for path in chosen]) == mboxes


def test_names_and_releases_of_series(index: SeriesIndex) -> None:
    """Releases are ordered as numbers: 7.10 is newer than 7.2."""
    assert names_of(index) == {"topic/size", "topic/back"}
    assert releases_of([index], "topic/size") == ("6.1", "6.12", "7.2", "7.10")


@pytest.mark.parametrize("topic", topics(SHIPPED))
def test_shipped_answer_is_right(topic: str) -> None:
    """Each shipped answer.yaml names cases, metrics, machines and series that there are."""
    assert load_answer(SHIPPED, topic, shipped_indexes()).tables


@pytest.mark.parametrize("topic", topics(SHIPPED))
def test_check_of_a_shipped_answer_is_in_its_workload(topic: str) -> None:
    """A column's check is a name that the workload's source has, or one made of a prefix and such a name."""
    for table in load_answer(SHIPPED, topic, shipped_indexes()).tables:
        for column in table.columns:
            source = SHIPPED.case(column.case or table.rows.cases[0].case).workload_path
            if column.check is not None and source is not None:
                headers = [*source.parent.glob("*.h"), *files.shipped("testcases").glob("include/*.h")]
                text = "".join(path.read_text() for path in [source, *headers])
                parts = {column.check, column.check.rpartition("-")[2], column.check.partition("-")[0]}
                assert any(f'{part}"' in text or f'"{part}' in text for part in parts), column
