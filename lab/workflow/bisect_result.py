# SPDX-License-Identifier: GPL-2.0-or-later
"""What a bisection came to: the culprit, held against its parent, and the evidence for it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lab import log
from lab.bisect.judge import Yardstick, is_void
from lab.bisect.log import git_log
from lab.bisect.noisy import interval
from lab.bisect.search import Search
from lab.bisect.topics import about
from lab.errors import Interrupted, LabError
from lab.files import write_whole
from lab.kernel.archive import available
from lab.kernel.changelog import changes_between
from lab.kernel.git_history import first_parent
from lab.kernel.kernel import Kernel
from lab.results.bisect import GIT_LOG_NAME, Node, Result, Row, Same, Seen, Skipped, read_bisect
from lab.results.runfolder import RunFolder
from lab.workflow.bisect_plan import commit_subject, tree_at
from lab.workflow.bisect_state import Bisecting, same_bytes
from lab.workflow.subjects import obtain_subject

MAX_CHANGES = 60
"""Changelog entries that a report has; more are counted."""


@dataclass(frozen=True)
class Spent:
    """When this process began."""

    started: float

    @property
    def seconds(self) -> float:
        return round(time.monotonic() - self.started, 1)


def refused(error: LabError) -> Result:
    """The result of a bisection between whose ends there is nothing to search."""
    hint = (error.hint,) if error.hint else ()
    return Result(status="refused", sentence=error.message, reasons=hint)


def result_of(work: Bisecting, stick: Yardstick, search: Search, spent: Spent) -> Result:
    """What is known when no further boot can say more."""
    left = search.left()
    rows = tuple(_rows(work, stick, search))
    base = Result(
        status="unclear",
        sentence="",
        by=stick.words,
        unit=stick.unit,
        threshold=stick.threshold,
        exact=search.posterior.certain,
        rate=_rate(search, left),
        rows=rows,
        left=tuple(left),
        kernels=len({event.role for event in work.events if isinstance(event, Seen)}),
        boots=sum(isinstance(event, Seen) for event in work.events),
    )
    if not left or (len(left) > 1 and work.question.kind != "versions"):
        return _spent(_unclear(work, search, base), work, spent)
    before, culprit = work.nodes[left[0]].parents[0], left[-1]
    if reason := _changes_nothing(work, culprit):
        found = base.model_copy(update={"sentence": reason, "culprit": culprit, "before": before})
        return _spent(found, work, spent)
    wrong = 0.0 if search.posterior.certain else 1 - float(search.posterior.weights[left].sum())
    update = {
        "status": "found",
        "sentence": _sentence(work, culprit, before, len(left) - 1),
        "culprit": culprit,
        "before": before,
        "error": wrong,
        **_changes(work, before, culprit),
    }
    return _spent(base.model_copy(update=update), work, spent)


def _spent(result: Result, work: Bisecting, spent: Spent) -> Result:
    update = {
        "seconds": spent.seconds,
        "obtaining_seconds": round(work.kernels.waited, 1),
        "booting_seconds": round(work.booting_seconds, 1),
    }
    return result.model_copy(update=update)


def what_is_sought(kind: str, *, find_fix: bool) -> str:
    """ "first bad version", "first fixed commit", ..."""
    noun = {"versions": "version", "commits": "commit", "series": "patch"}[kind]
    return f"first {'fixed' if find_fix else 'bad'} {noun}"


def _sentence(work: Bisecting, culprit: int, before: int, untested: int) -> str:
    node, asked = work.nodes[culprit], work.question
    title = f' ("{node.title}")' if node.title else ""
    found = f"{what_is_sought(asked.kind, find_fix=asked.find_fix)}: {node.name}{title}"
    if asked.kind != "versions":
        return found
    last = f"{found}; the last {'bad' if asked.find_fix else 'good'} one is {work.nodes[before].name}"
    return f"{last}; {untested} between them could not be tested" if untested else last


def _unclear(work: Bisecting, search: Search, result: Result) -> Result:
    """No single suspect is left, or none at all."""
    names = [work.nodes[position].name for position in result.left]
    weights = search.posterior.weights
    if not weights.any() or weights[-1] > 1 - search.error:
        sentence = "the boots contradict each other: no single change explains which kernels fail"
        reasons = ["the failure may have come, gone and come again; narrow the ends down"]
    elif not names:
        sentence = f"after {search.posterior.boots} boots it is not known which it is"
        reasons = ["the failure shows too rarely; a case that provokes it more often helps"]
    else:
        sought = what_is_sought(work.question.kind, find_fix=work.question.find_fix)
        told = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
        sentence = f"the {sought} is one of {len(names)}: {told}"
        reasons = ["the kernels between them could not be tested, see the table"]
    return result.model_copy(update={"sentence": sentence, "reasons": tuple(reasons)})


def _rate(search: Search, left: list[int]) -> tuple[float, float, float] | None:
    """In what share of boots the failure shows, on the kernels that have it."""
    if not left:
        return None
    blamed = [n for n in search.posterior.shown if search.history.blamed(n) >> left[0] & 1]
    shown = sum(search.posterior.shown[position] for position in blamed)
    boots = shown + sum(search.posterior.passed.get(position, 0) for position in blamed)
    return (shown / boots, *interval(shown, boots)) if boots else None


def _rows(work: Bisecting, stick: Yardstick, search: Search) -> Iterator[Row]:
    """The evidence, in the order of the history."""
    words = search.posterior.implicated(search.error)
    skipped = {event.role: event.why for event in work.events if isinstance(event, Skipped)}
    same = {event.role: event.other for event in work.events if isinstance(event, Same)}
    for position, node in enumerate(work.nodes):
        boots = [seen for seen in work.seen(position) if not is_void(seen)]
        if boots:
            yield _row(node, [(seen, *stick.says(seen)) for seen in boots], words.get(position, "skip"))
        elif node.role in same:
            yield Row(
                role=node.role,
                verdict="same",
                shown=0,
                boots=0,
                says=f"as {same[node.role]}",
                other=same[node.role],
            )
        elif node.role in skipped or node.lost:
            why = skipped.get(node.role) or node.lost
            yield Row(role=node.role, verdict="skip", shown=0, boots=0, says=why)


def _row(node: Node, said: list[tuple[Seen, str, str]], verdict: str) -> Row:
    counted = [word for _, word, _ in said if word != "skip"]
    telling = next((why for _, word, why in said if word == "bad"), said[0][2])
    return Row(
        role=node.role,
        verdict=verdict if counted else "skip",
        shown=counted.count("bad"),
        boots=len(counted),
        values=tuple(seen.value for seen, word, _ in said if seen.value is not None and word != "skip"),
        says=telling[:200],
    )


def _changes_nothing(work: Bisecting, culprit: int) -> str:
    """Why this cannot be the culprit: its kernel is its parent's, byte for byte. "" if it is not so."""
    node, asked = work.nodes[culprit], work.question
    if asked.kind == "versions":
        return ""
    try:
        with log.step(f"comparing {node.name} with what it was made on"):
            kernel = work.kernels.get(culprit)
            parent = _parent(work, culprit)
    except Interrupted:
        raise
    except LabError as error:
        log.info(f"not compared: {error.message}")
        return ""
    if not same_bytes(parent.record.build_id, parent.record.id, kernel):
        return ""
    return (
        f"the search ends at {node.name}, which changes nothing that is built: its kernel is its parent's, "
        "byte for byte. So something else than the kernel decides how the case ends"
    )


def _parent(work: Bisecting, culprit: int) -> Kernel:
    """What the culprit was made on; with --path that need not be a kernel of the history."""
    node, asked = work.nodes[culprit], work.question
    before = node.parents[0]
    if asked.kind == "series":
        return work.kernels.get(before)
    theirs = tree_at(Path(asked.tree))
    parent = first_parent(theirs, node.commit)
    if parent is None or parent == work.nodes[before].commit:
        return work.kernels.get(before)
    work.kernels.pause()
    return obtain_subject(commit_subject(theirs, parent, node.subject.kconfig), ())


def _changes(work: Bisecting, before: int, culprit: int) -> dict[str, object]:
    """What the changelog says of the versions between; best effort: the versions are the result."""
    if work.question.kind != "versions":
        return {}
    packages = {kernel.version: kernel for kernel in available(everywhere=True)}
    try:
        found = changes_between(packages[work.nodes[before].name], packages[work.nodes[culprit].name])
    except (LabError, KeyError) as error:
        if isinstance(error, Interrupted):
            raise
        return {"changes_from": f"no changelog: {error}"}
    chosen, others = about(found.entries, work.question.topics)
    shown = tuple(chosen[:MAX_CHANGES])
    more = f", {len(chosen) - len(shown)} more are not shown" if len(chosen) > len(shown) else ""
    return {"changes": shown, "changes_from": found.source + more, "changes_more": others}


def write_logs(run: RunFolder) -> None:
    """The log in git's words, where the history is git's."""
    record = read_bisect(run)
    result = record.result
    if result is None or record.question.kind != "commits":
        return
    culprit = result.culprit if result.status == "found" else None
    text = git_log(record.question, record.nodes, result.rows, culprit)
    write_whole(run.path / GIT_LOG_NAME, text)
