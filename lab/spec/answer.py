# SPDX-License-Identifier: GPL-2.0-or-later
"""`testcases/TOPIC/answer.yaml`: the tables that answer a topic's question, and what is run for them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from lab.errors import UserError, did_you_mean
from lab.spec.catalog import ANSWER, Catalog
from lab.spec.document import Document, Problem
from lab.spec.loader import load_document, spec_error
from lab.spec.models import Case, Declared, MetricName, Name
from lab.spec.series_index import SeriesIndex

STOCK = "stock"
"""The row of a kernel without a series."""

NEWEST = "newest"
"""The newest packaged kernel that can be booted and built for."""

CaseName = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_.+-]*/[a-z0-9][a-z0-9_.+-]*$", max_length=130)
]
CheckName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:+-]*$", max_length=64)]
KernelName = Annotated[
    str,
    StringConstraints(
        pattern=r"^(newest|stock|(debian|source):[0-9]+\.[0-9][0-9A-Za-z.+~-]*)$", max_length=64
    ),
]
"""What everybody's machine can get: no tree or image of one person's."""
SeriesName = Annotated[
    str, StringConstraints(pattern=r"^(stock|[a-z0-9][a-z0-9-]*/[a-z0-9][a-z0-9.-]*)$", max_length=130)
]


class Column(Declared):
    """One thing that is told of each row: a metric, a check, or how the trial ended."""

    title: str = Field(description="head of the column")
    case: CaseName | None = Field(None, description="the case whose trial is told of; absent: the row's")
    metric: MetricName | None = Field(None, description="the number, one of the case's metrics")
    check: CheckName | None = Field(None, description="the KTAP result; neither it nor a metric: the outcome")
    show: Literal["result", "detail"] = Field(
        "result", description="of a check: detail tells what was seen also where it is ok"
    )


class RowCase(Declared):
    """What rows tell of whose columns name no case."""

    title: str = Field(description="how the row names it")
    case: CaseName
    series: tuple[SeriesName, ...] | None = Field(
        None, min_length=1, description="the series that this case is run with; absent: those of the table"
    )
    machine: Name | None = Field(None, description="where it is run; absent: the machines of the table")


class Rows(Declared):
    """Every kernel with every series; a series that is not for a kernel is left out and told so."""

    kernels: tuple[KernelName, ...] = Field(
        min_length=1, description="newest: the newest package that can be used"
    )
    series: tuple[SeriesName, ...] = Field(
        (STOCK,), min_length=1, description="TOPIC/NAME of shipped series; stock: the kernel as it is"
    )
    kconfig: str | None = Field(None, description="what source: kernels are built with (--kconfig)")
    cases: tuple[RowCase, ...] = Field((), description="rows for each of them; columns need no case then")
    called: str = Field("case", description="head of the column that names the row's case")


class Table(Declared):
    """Rows are kernels with their series, on each machine."""

    title: str
    says: str | None = Field(None, description="what the figures say, in a sentence; printed below the table")
    rows: Rows
    machines: tuple[Name, ...] = Field(min_length=1)
    columns: tuple[Column, ...] = Field(min_length=1)

    def series_of(self, case: RowCase | None) -> tuple[SeriesName, ...]:
        """What a case of the rows is run with; rows without one: each."""
        return self.rows.series if case is None or case.series is None else case.series

    def machines_of(self, case: RowCase | None) -> tuple[Name, ...]:
        """Where a case of the rows is run; rows without one: each."""
        return self.machines if case is None or case.machine is None else (case.machine,)


class Answer(Declared):
    """What `lab answer TOPIC` runs and prints."""

    tables: tuple[Table, ...] = Field(min_length=1)


def topics(catalog: Catalog) -> tuple[str, ...]:
    """The topics that can be answered."""
    return tuple(path.parent.name for path in sorted(catalog.root.glob(f"*/{ANSWER}")))


def load_answer(catalog: Catalog, topic: str, indexes: Sequence[SeriesIndex]) -> Answer:
    """The answer of a topic, checked against cases, machines and series.

    Raises SpecError with all that is wrong, UserError for a topic that has none.
    """
    known = topics(catalog)
    if topic not in known:
        raise UserError(f"there is no topic {topic} with an {ANSWER}", hint=did_you_mean(topic, known))
    path = catalog.root / topic / ANSWER
    answer, document = load_document(path, Answer)
    if problems := list(_cross_check(answer, document, catalog, indexes)):
        raise spec_error(path, problems)
    return answer


def _cross_check(
    answer: Answer, document: Document, catalog: Catalog, indexes: Sequence[SeriesIndex]
) -> Iterable[Problem]:
    series = {name for index in indexes for name in names_of(index)}
    machines, cases = catalog.machines, catalog.cases
    for number, table in enumerate(answer.tables):
        at = ("tables", number)
        for steps, name in _machines_named(table):
            if name not in machines:
                text = f"there is no machine {name}; {did_you_mean(name, machines)}"
                yield Problem(document.mark((*at, *steps)), text)
        for steps, name in _series_named(table.rows):
            if name != STOCK and name not in series:
                text = f"there is no series {name}; {did_you_mean(name, series)}"
                yield Problem(document.mark((*at, "rows", *steps)), text)
        for place, row in enumerate(table.rows.cases):
            if row.case not in cases:
                text = f"there is no case {row.case}; {did_you_mean(row.case, cases)}"
                yield Problem(document.mark((*at, "rows", "cases", place, "case")), text)
        for place, column in enumerate(table.columns):
            for key, text in _wrong_column(column, table.rows, cases):
                yield Problem(document.mark((*at, "columns", place, key)), text)


def _machines_named(table: Table) -> Iterable[tuple[tuple[str | int, ...], str]]:
    """Each machine with where it is named in a table."""
    for place, name in enumerate(table.machines):
        yield ("machines", place), name
    for number, row in enumerate(table.rows.cases):
        if row.machine is not None:
            yield ("rows", "cases", number, "machine"), row.machine


def _series_named(rows: Rows) -> Iterable[tuple[tuple[str | int, ...], str]]:
    """Each series with where it is named below `rows`."""
    for place, name in enumerate(rows.series):
        yield ("series", place), name
    for number, row in enumerate(rows.cases):
        for place, name in enumerate(row.series or ()):
            yield ("cases", number, "series", place), name


def _wrong_column(column: Column, rows: Rows, cases: dict[str, Case]) -> Iterable[tuple[str, str]]:
    """Key and sentence for each thing that is wrong with a column."""
    if column.metric is not None and column.check is not None:
        yield "check", "a column tells a metric or a check, not both"
    if column.show == "detail" and column.check is None:
        yield "show", "only a check has a detail"
    if column.case is None and not rows.cases:
        yield "title", "the column names no case, and neither do the rows (rows.cases)"
    elif column.case is not None and column.case not in cases:
        yield "case", f"there is no case {column.case}; {did_you_mean(column.case, cases)}"
    elif column.metric is not None:
        # Of the cases of rows not each needs to have it: the others are n/a.
        told = [column.case] if column.case is not None else [row.case for row in rows.cases]
        known = {name for case in told if case in cases for name in cases[case].metrics}
        if known and column.metric not in known:
            near = did_you_mean(column.metric, known)
            yield "metric", f"{', '.join(told)} declares no metric {column.metric}; {near}"


_VARIANT = re.compile(r"(?P<stem>.+?)(?:-[1-9][0-9]*\.[0-9]+)?\.mbox")


def names_of(index: SeriesIndex) -> set[str]:
    """`prefault/pmd-size` for pmd-size.mbox and pmd-size-7.2.mbox, which are one change for two releases."""
    topic = index.folder.parent.name
    return {f"{topic}/{match['stem']}" for name in index.series if (match := _VARIANT.fullmatch(name))}


def _variants(indexes: Iterable[SeriesIndex], name: str) -> Iterator[tuple[SeriesIndex, str]]:
    """The mboxes that are the series `name`, each with its folder's index."""
    topic, _, stem = name.partition("/")
    for index in indexes:
        if index.folder.parent.name == topic:
            for mbox in index.series:
                if (match := _VARIANT.fullmatch(mbox)) and match["stem"] == stem:
                    yield index, mbox


def series_for(indexes: Iterable[SeriesIndex], name: str, release: str) -> tuple[Path, ...] | None:
    """The mboxes that make a plain kernel of a release such as "6.12" one with the series `name`, in order;
    None: the series is not for it."""
    for index, mbox in _variants(indexes, name):
        if release in index.series[mbox].versions:
            return index.to_apply(mbox)
    return None


def releases_of(indexes: Iterable[SeriesIndex], name: str) -> tuple[str, ...]:
    """The releases that a series is for, oldest first."""
    found = {version for index, mbox in _variants(indexes, name) for version in index.series[mbox].versions}
    return tuple(sorted(found, key=lambda version: tuple(map(int, version.split(".")))))
