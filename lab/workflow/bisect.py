# SPDX-License-Identifier: GPL-2.0-or-later
"""Which version, commit or patch did it? Boots the kernels of a history until one is left."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from lab import log
from lab.bisect.judge import Yardstick, check_ends
from lab.bisect.search import Search
from lab.errors import LabError, SeriesError, UserError
from lab.files import write_whole
from lab.guest.prepare import Bench
from lab.results.bisect import (
    WORKFLOW,
    BisectRecord,
    Node,
    Question,
    Same,
    Skipped,
    read_bisect,
    write_bisect,
)
from lab.results.models import RunRecord
from lab.results.runfolder import RunFolder
from lab.spec.catalog import Catalog
from lab.spec.drivers import Driver
from lab.workflow.bisect_ask import Asked
from lab.workflow.bisect_kernels import Kernels, obtainer
from lab.workflow.bisect_result import Spent, refused, result_of, write_logs
from lab.workflow.bisect_state import Bisecting
from lab.workflow.campaigns import (
    Ended,
    Options,
    carrying_out,
    conclude,
    find_case,
    lab_host,
    new_record,
)

FIRST_BOOTS = 2
"""Of each end: one boot alone cannot be seen to be flaky."""

LEAST_SHOWN = 3
"""Boots of the bad end that must show a failure that does not always show, before anything is concluded from
boots that do not show it."""

MOST_UNSEEN = 90
"""Boots of the bad end without the failure: then it shows in fewer than one of twenty, with 99 %."""

FLAKY_BOOTS = 10
"""Boots of a good end that shows the failure, to tell its rate."""


def start_bisect(asked: Asked) -> RunFolder:
    """Write down what is asked; nothing is obtained yet."""
    question = asked.question
    run = RunFolder.create(_new_run(question, asked.nodes, asked.options))
    if asked.mbox:
        write_whole(run.path / question.series, asked.mbox)
    write_bisect(run, BisectRecord(question=question, nodes=asked.nodes))
    for name, text in asked.logs.items():
        write_whole(run.path / name, text)
    return run


def _new_run(question: Question, nodes: Sequence[Node], options: Options) -> RunRecord:
    """The record of a run, without a plan: that grows with the search."""
    catalog = Catalog.load()
    case = catalog.case(question.case)
    record = new_record(
        WORKFLOW, case.name, catalog, [case], (nodes[0].role,), replace(options, machines=(question.machine,))
    )
    title = f"{case.name}: {question.good} .. {question.bad}"
    ends = {node.role: node.subject for node in (nodes[0], nodes[-1])}
    return record.model_copy(update={"title": title, "subjects": ends, "plan": (), "series": question.series})


def bisect(run: RunFolder) -> Ended:
    """Carry out what `start_bisect` wrote down, or go on where it was interrupted."""
    spent = Spent(time.monotonic())
    with carrying_out(run):
        try:
            return _searched(run, spent)
        except UserError as error:
            _conclude_refused(run, error)
            raise
        except SeriesError as error:
            refusal = UserError(f"an end of the series cannot be had: {error.message}", hint=error.hint)
            _conclude_refused(run, refusal)
            raise refusal from error


def _searched(run: RunFolder, spent: Spent) -> Ended:
    bench = Bench.set_up()
    kernels = Kernels(obtainer(run, read_bisect(run).nodes, read_bisect(run).question.series, _drivers(run)))
    with lab_host(bench, run) as host, kernels.working():
        work = Bisecting(bench, run, host, kernels)
        stick = confirm_ends(work)
        search = work.search(stick)
        while not search.over():
            _step(work, search)
            _still_good(work, stick)
            search = work.search(stick)
        result = result_of(work, stick, search, spent)
    write_bisect(run, work.record.model_copy(update={"result": result}))
    write_logs(run)
    return conclude(run)


def _drivers(run: RunFolder) -> tuple[Driver, ...]:
    """The lab's own modules that the case loads."""
    catalog, record = Catalog.load(), run.read()
    question = read_bisect(run).question
    case = find_case(catalog, question.case, record.cases[question.case])
    return catalog.drivers_for(case, catalog.machine(question.machine))


def confirm_ends(work: Bisecting) -> Yardstick:
    """Boot both ends until it is known what the failure is, that the bad end has it, and the good end not.

    Raises UserError if it is not so.
    """
    good, bad = work.history.good_end, work.history.bad_end
    _boots_of_end(work, bad, FIRST_BOOTS, ahead=[good])
    while not work.failed_bad_end() and not work.exact and _boots(work, bad) < MOST_UNSEEN:
        _boots_of_end(work, bad, _boots(work, bad) + 2 * work.slots)
    _boots_of_end(work, good, FIRST_BOOTS, ahead=_middle(work))
    stick = work.yardstick()
    if stick is None or _shown(work, good, stick):
        if stick is not None and not work.certain(stick):
            _boots_of_end(work, good, FLAKY_BOOTS)
        check_ends(work.ends, stick)
    assert stick is not None
    check_ends(work.ends, stick)
    if _same_ends(work):
        raise UserError(
            f"{work.ends.good_name} and {work.ends.bad_name} are the same kernel, byte for byte",
            hint="nothing between them changes what is built; with a tree, see --kconfig",
        )
    while not work.certain(stick) and _shown(work, bad, stick) < LEAST_SHOWN:
        _boots_of_end(work, bad, _boots(work, bad) + work.slots)
    return stick


def _still_good(work: Bisecting, stick: Yardstick) -> None:
    """A failure that shows rarely may show on the good end late: it is refused then, with its rate."""
    good = work.history.good_end
    if _shown(work, good, stick):
        _boots_of_end(work, good, FLAKY_BOOTS)
        check_ends(work.ends, stick)


def _boots(work: Bisecting, position: int) -> int:
    return len(work.seen(position))


def _shown(work: Bisecting, position: int, stick: Yardstick) -> int:
    return sum(stick.says(seen)[0] == "bad" for seen in work.seen(position))


def _middle(work: Bisecting) -> list[int]:
    return [work.history.size // 2]


def _same_ends(work: Bisecting) -> bool:
    good, bad = work.history.good_end, work.history.bad_end
    return work.seen(good)[0].kernel == work.seen(bad)[0].kernel


def _boots_of_end(work: Bisecting, position: int, boots: int, ahead: Sequence[int] = ()) -> None:
    """Boot an end until it has been booted so often."""
    missing = boots - _boots(work, position)
    if missing > 0:
        work.boot(position, work.kernels.get(position), missing, ahead)


def _step(work: Bisecting, search: Search) -> None:
    """Boot the kernel that tells most, or learn that it cannot be had."""
    costs = work.costs()
    position = search.next(costs)
    guesses = search.guesses(position, costs)
    left = len(search.left()) or work.history.size - 1
    log.info(f"{left} suspects; next: {work.nodes[position].name} {work.nodes[position].title}".rstrip())
    kernel = work.obtained(position)
    if kernel is None:
        return
    role = work.nodes[position].role
    if not work.seen(position) and (twin := work.twin(position, kernel)):
        log.info(f"{role}: the same bytes as {twin}")
        work.note(Same(role=role, other=twin))
        return
    work.boot(position, kernel, work.slots, guesses)
    if all(seen.role != role for seen in work.seen(position)):  # the plan was carried out, and left no trial
        work.note(Skipped(role=role, why="no boot came to an end"))


def _conclude_refused(run: RunFolder, error: LabError) -> None:
    record = read_bisect(run)
    write_bisect(run, record.model_copy(update={"result": refused(error)}))
    conclude(run)
