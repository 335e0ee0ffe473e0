# SPDX-License-Identifier: GPL-2.0-or-later
"""From the answer.yaml of some topics to one plan: kernels by role, and each trial once however many cells
tell of it. Builds and boots nothing."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lab.campaign.plan import plan_trials, word
from lab.errors import InfraError
from lab.kernel.archive import available
from lab.kernel.kernel_packages import KernelPackages
from lab.results.answer import AnswerRecord, ToldColumn, ToldRow, ToldTable, TopicAnswer
from lab.results.models import Clock, PlannedTrial, Subject
from lab.spec.answer import NEWEST, STOCK, Answer, Column, RowCase, Table, releases_of, series_for
from lab.spec.catalog import Catalog
from lab.spec.models import Case
from lab.spec.series_index import SeriesIndex
from lab.spec.versions import release_line
from lab.workflow.patched import release_of


@dataclass(frozen=True)
class Planned:
    """All that is to be done, and the series that are to be kept with the run."""

    record: AnswerRecord
    subjects: Mapping[str, Subject]  # the kernels, by role
    cases: tuple[Case, ...]
    trials: tuple[PlannedTrial, ...]
    mboxes: Mapping[str, Path]  # name in the run folder -> where it lies now


@dataclass
class Planner:
    """Collects kernels, series and trials over several topics."""

    catalog: Catalog
    indexes: Sequence[SeriesIndex]
    folder: str  # of the run: where series are kept
    subjects: dict[str, Subject] = field(default_factory=dict)
    mboxes: dict[str, Path] = field(default_factory=dict)
    _sources: dict[str, str] = field(default_factory=dict)  # by the name in an answer

    def topic(self, name: str, answer: Answer) -> TopicAnswer:
        """The tables of one topic with their rows found. UserError for a kernel that the archive lacks."""
        return TopicAnswer(topic=name, tables=tuple(self._table(name, table) for table in answer.tables))

    def _table(self, topic: str, table: Table) -> ToldTable:
        rows, skipped = [], []
        for case, kernel, series, machine in _wanted_rows(table):
            role = self._role(kernel, series, table.rows.kconfig or "")
            label = _label(self._source(kernel), table.rows.kconfig or "")
            if role is None:
                skipped.append((series, label))
                continue
            row = ToldRow(kernel=label, series=_short(series, topic), machine=machine, role=role)
            named = {"case": case.case, "title": case.title} if case else {}
            rows.append(row.model_copy(update=named))
        return ToldTable(
            title=table.title,
            says=table.says or "",
            columns=tuple(map(_column, table.columns)),
            rows=tuple(rows),
            left_out=tuple(self._left_out(skipped, topic)),
            called=table.rows.called if table.rows.cases else "",
        )

    def _role(self, kernel: str, series: str, kconfig: str) -> str | None:
        """The name of a kernel of the run; None if the series is not for it."""
        source = self._source(kernel)
        role = word(source) + (f"_{word(kconfig)}" if kconfig else "")
        if series == STOCK:
            self.subjects.setdefault(role, Subject(kernel=source, kconfig=kconfig))
            return role
        mboxes = series_for(self.indexes, series, release_of(source))
        if mboxes is None:
            return None
        kept = {f"{self.folder}/{word(series)}/{path.name}": path for path in mboxes}
        self.mboxes |= kept
        role = f"{role}+{word(series)}"
        self.subjects.setdefault(
            role, Subject(kernel=source, kconfig=kconfig, series=series, mboxes=tuple(kept))
        )
        return role

    def _source(self, kernel: str) -> str:
        """What an answer's name for a kernel stands for in this run: asked of the archive once."""
        if kernel not in self._sources:
            self._sources[kernel] = real_name(kernel)
        return self._sources[kernel]

    def _left_out(self, skipped: Iterable[tuple[str, str]], topic: str) -> Iterable[str]:
        kernels: dict[str, list[str]] = {}
        for series, label in dict.fromkeys(skipped):
            kernels.setdefault(series, []).append(label)
        for series, labels in kernels.items():
            known = ", ".join(releases_of(self.indexes, series))
            yield f"Left out: {_short(series, topic)} on {', '.join(labels)}; the series is for {known}."


def plan_answers(
    catalog: Catalog, indexes: Sequence[SeriesIndex], answers: Mapping[str, Answer], *, folder: str
) -> Planned:
    """One plan for all topics; `folder` is where the run keeps the series."""
    planner = Planner(catalog, indexes, folder)
    topics = tuple(planner.topic(name, answer) for name, answer in answers.items())
    trials: dict[tuple[str, str, str], PlannedTrial] = {}
    for topic in topics:
        # Table after table, row after row: a reader of the progress sees rows fill.
        for case, role, machine in (place for table in topic.tables for place in table.places):
            if (case, role, machine) not in trials:
                one = plan_trials(
                    [catalog.case(case)],
                    [role],
                    clock=Clock.VIRTUAL,
                    machines=[machine],
                    first=len(trials) + 1,
                )
                trials[case, role, machine] = one[0]
    names = dict.fromkeys(case for case, _, _ in trials)
    return Planned(
        record=AnswerRecord(topics=topics),
        subjects=planner.subjects,
        cases=tuple(catalog.case(name) for name in names),
        trials=tuple(trials.values()),
        mboxes=planner.mboxes,
    )


def _wanted_rows(table: Table) -> Iterable[tuple[RowCase | None, str, str, str]]:
    """Case, if rows have one, kernel, series and machine of each row."""
    for case in table.rows.cases or (None,):
        of_case = table.rows.kernels, table.series_of(case), table.machines_of(case)
        for kernel, series, machine in itertools.product(*of_case):
            yield case, kernel, series, machine


def _column(column: Column) -> ToldColumn:
    return ToldColumn(
        title=column.title,
        case=column.case or "",
        metric=column.metric or "",
        check=column.check or "",
        show=column.show,
    )


def real_name(kernel: str) -> str:
    """`newest` as the release it stands for now, `debian:7.3`; others as they are."""
    if kernel != NEWEST:
        return kernel
    found = newest_usable(available(everywhere=True))
    if found is None:
        hint = "`lab list kernels --available` shows all"
        raise InfraError("the archive has no kernel that is whole", hint=hint)
    return f"debian:{release_line(found.version)}"


def newest_usable(kernels: Iterable[KernelPackages]) -> KernelPackages | None:
    """Of kernels in the order of `available`: not a release candidate, can be booted and built for."""
    return next((k for k in kernels if not k.lost and not k.missing and "~rc" not in k.version), None)


def _label(source: str, kconfig: str) -> str:
    name = source.removeprefix("debian:") if source != "stock" else release_of(source)
    return f"{name}, {kconfig}" if kconfig else name


def _short(series: str, topic: str) -> str:
    """A series of the topic itself needs no topic before its name."""
    return series.removeprefix(f"{topic}/")
