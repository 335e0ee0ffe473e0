# SPDX-License-Identifier: GPL-2.0-or-later
"""answer.json of a run: which of its trials each cell of a table tells of.

With the trials it is all that the tables are made of, so that they can be written again from the run folder.
"""

from __future__ import annotations

from typing import Literal

from lab.results.models import Record
from lab.results.runfolder import RunFolder, read_record, write_record

FILE_NAME = "answer.json"


Place = tuple[str, str, str]
"""Case, role and machine of a trial."""


class ToldColumn(Record):
    """What a column tells of a trial; with neither metric nor check, how it ended."""

    title: str
    case: str = ""  # "": the row's
    metric: str = ""
    check: str = ""
    show: Literal["result", "detail"] = "result"


class ToldRow(Record):
    """One kernel on one machine, and the case that is told of where a column names none."""

    kernel: str  # as the table names it: "6.12"
    series: str
    machine: str
    role: str  # of the run's kernels
    case: str = ""
    title: str = ""  # how the table names that case

    def place(self, column: ToldColumn) -> Place:
        """What the cell in that column tells of."""
        return column.case or self.case, self.role, self.machine


class ToldTable(Record):
    """One table."""

    title: str
    says: str = ""
    columns: tuple[ToldColumn, ...]
    rows: tuple[ToldRow, ...]
    left_out: tuple[str, ...] = ()  # one sentence for each series that is not for a kernel
    called: str = ""  # head of the column that names the rows' cases; "": there is none

    @property
    def places(self) -> tuple[Place, ...]:
        """What its cells tell of, row by row; some more than once."""
        return tuple(row.place(column) for row in self.rows for column in self.columns)


class TopicAnswer(Record):
    """All tables of one topic."""

    topic: str
    tables: tuple[ToldTable, ...]

    @property
    def wanted(self) -> set[Place]:
        """Every trial that a cell tells of."""
        return {place for table in self.tables for place in table.places}

    @property
    def roles(self) -> tuple[str, ...]:
        """The kernels of the tables, each once, in order."""
        return tuple(dict.fromkeys(row.role for table in self.tables for row in table.rows))


class AnswerRecord(Record):
    """What the run answers."""

    topics: tuple[TopicAnswer, ...]


def read_answer(run: RunFolder) -> AnswerRecord:
    """InfraError if the run has none, or a damaged one."""
    return read_record(run.path / FILE_NAME, AnswerRecord)


def write_answer(run: RunFolder, record: AnswerRecord) -> None:
    write_record(run.path / FILE_NAME, record)
