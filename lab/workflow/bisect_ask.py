# SPDX-License-Identifier: GPL-2.0-or-later
"""From what the user typed to a question about a history; or from the log of an earlier bisection."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lab.bisect.judge import MIDWAY
from lab.bisect.log import event_line, head_line, parse_log
from lab.campaign.executor import ExecutorName
from lab.campaign.plan import clock_of
from lab.errors import UserError, did_you_mean
from lab.guest.accelerator import Policy
from lab.kernel.base import choose_base
from lab.kernel.series import Series, joined
from lab.kernel.sources import enclosing_tree, parse_source
from lab.results.bisect import LOG_NAME, Node, Question, Seen
from lab.results.models import Clock
from lab.results.runfolder import RunFolder, runs_dir
from lab.spec.catalog import Catalog
from lab.spec.models import Case
from lab.workflow.bisect_plan import commit_nodes, mbox_of, series_nodes, tree_at, version_nodes
from lab.workflow.campaigns import Options
from lab.workflow.patched import find_series

USAGE = "lab bisect CASE --good debian:6.12.43 --bad debian:6.12.117; lab list kernels --available"


@dataclass(frozen=True)
class Wanted:
    """What was typed."""

    case: str
    command: tuple[str, ...]
    good: str | None = None
    bad: str | None = None
    find_fix: bool = False
    tree: Path | None = None
    first_parent: bool = False
    paths: tuple[str, ...] = ()
    series: str | None = None
    base: str | None = None
    signature: str = ""
    metric: str = ""
    threshold: str = MIDWAY
    error: float = 0.01
    always: bool = False
    machine: tuple[str, ...] = ()
    clock: str = "virtual"
    accel: Policy = "auto"
    executor: ExecutorName = "auto"
    scheduler: str = ""
    kconfig: str = "lean+drm"
    folder: Path = field(default_factory=Path.cwd)  # where the user stands


@dataclass(frozen=True)
class Asked:
    """A question, and the history that it is asked of."""

    question: Question
    nodes: tuple[Node, ...]
    options: Options
    mbox: bytes = b""  # the series
    logs: Mapping[str, str] = field(default_factory=dict)  # what is known already, by name in the run folder


def ask(wanted: Wanted) -> Asked:
    """Find the history. Raises UserError for what cannot be asked; obtains and boots nothing."""
    catalog = Catalog.load()
    case = catalog.case(wanted.case)
    _check_measure(case, wanted)
    if len(wanted.machine) > 1:
        raise UserError("a bisection is on one machine", hint=f"--machine {wanted.machine[0]}")
    machine = catalog.machine(wanted.machine[0] if wanted.machine else case.machines[0]).name
    nodes, more, mbox = _history(wanted)
    question = Question(
        case=case.name,
        machine=machine,
        clock=clock_of(case, Clock(wanted.clock), nested=wanted.executor == "nested"),
        find_fix=wanted.find_fix,
        signature=wanted.signature,
        metric=wanted.metric,
        threshold=wanted.threshold if wanted.metric else "",
        error=wanted.error,
        always=wanted.always,
        topics=case.touches,
        **more,
    )
    options = Options(
        machines=(machine,),
        clock=Clock(wanted.clock),
        accelerator=wanted.accel,
        kconfig=wanted.kconfig,
        command=wanted.command,
        executor=wanted.executor,
        scheduler=wanted.scheduler,
    )
    return Asked(question, nodes, options, mbox)


def _check_measure(case: Case, wanted: Wanted) -> None:
    if wanted.metric and wanted.signature:
        raise UserError("--metric and --signature exclude each other", hint="bad is the one or the other")
    if wanted.metric and wanted.metric not in case.metrics:
        raise UserError(
            f"{case.name} has no metric {wanted.metric}", hint=did_you_mean(wanted.metric, case.metrics)
        )
    if wanted.threshold != MIDWAY:
        if not wanted.metric:
            raise UserError("--threshold needs a metric", hint="--metric NAME --threshold VALUE")
        try:
            number = float(wanted.threshold)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise UserError(f"{wanted.threshold} is no number", hint=f"--threshold 12000, or {MIDWAY}")


def _history(wanted: Wanted) -> tuple[tuple[Node, ...], dict[str, object], bytes]:
    """The nodes, what the question says of them, and the series."""
    if wanted.series is not None:
        return _of_series(wanted, wanted.series)
    if wanted.base is not None:
        raise UserError(
            "--base is what a series is for", hint="lab bisect CASE --series SERIES --base KERNEL"
        )
    if wanted.good is None or wanted.bad is None:
        raise UserError("a bisection needs --good and --bad, or --series", hint=USAGE)
    ends: dict[str, object] = {"good": wanted.good, "bad": wanted.bad}
    tree = wanted.tree
    if tree is None and not any(":" in end or end == "stock" for end in (wanted.good, wanted.bad)):
        tree = enclosing_tree(wanted.folder)
    if tree is None:
        if wanted.first_parent or wanted.paths:
            raise UserError("--first-parent and --path are about commits", hint="name their --tree PATH")
        nodes = version_nodes(wanted.good, wanted.bad, find_fix=wanted.find_fix)
        return nodes, {"kind": "versions", **ends}, b""
    theirs = tree_at(tree)
    nodes = commit_nodes(
        theirs,
        wanted.good,
        wanted.bad,
        find_fix=wanted.find_fix,
        first_parent=wanted.first_parent,
        paths=wanted.paths,
        kconfig=wanted.kconfig,
    )
    place = {"tree": str(theirs.path.resolve()), "first_parent": wanted.first_parent, "paths": wanted.paths}
    return nodes, {"kind": "commits", **ends, **place}, b""


def _of_series(wanted: Wanted, name: str) -> tuple[tuple[Node, ...], dict[str, object], bytes]:
    if wanted.good or wanted.bad or wanted.tree or wanted.paths or wanted.first_parent:
        raise UserError(
            "with --series the ends are its base and all of it",
            hint="lab bisect CASE --series SERIES --base KERNEL",
        )
    series = joined(find_series(name, wanted.base or "stock", wanted.folder))
    base = choose_base(series, wanted.base, enclosing_tree(wanted.folder))
    source = str(parse_source(base.source))
    if len(series.patches) < 2:
        raise UserError(
            f"{series.name} has one patch: there is nothing to search", hint="lab validate judges it"
        )
    good, bad = (series.name, source) if wanted.find_fix else (source, series.name)
    whole = f"series/{_plain(series)}.mbox"
    more: dict[str, object] = {"kind": "series", "good": good, "bad": bad, "series": whole}
    return series_nodes(series, source, wanted.kconfig), more, mbox_of(series)


def _plain(series: Series) -> str:
    """Its name, fit to be that of a file."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", series.name).strip("-.")[:80] or "series"


def replayed(name: str, command: tuple[str, ...]) -> Asked:
    """The question of an earlier bisection, with all that was seen then: only what that lacks is booted."""
    path = Path(name)
    if not path.is_file():
        path = RunFolder.find(name).path / LOG_NAME
    try:
        text = path.read_text(errors="replace")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    record, events = parse_log(text, name=str(path))
    if record is None:
        raise UserError(
            f"{path} does not begin as the log of a bisection does", hint="its first line is needed"
        )
    Catalog.load().case(record.question.case)
    mbox = b""
    if record.question.series:
        kept = path.parent / record.question.series
        if not kept.resolve().is_relative_to(path.parent.resolve()) or not kept.is_file():
            raise UserError(
                f"{kept} is gone: the series that was searched", hint=f"is {path} still in its run folder?"
            )
        mbox = kept.read_bytes()
    asked = record.question
    options = Options(machines=(asked.machine,), clock=asked.clock, command=command)
    before = path.parent / "run.json"
    if before.is_file() and path.parent.parent == runs_dir():
        old = RunFolder(path.parent).read()
        options = Options(
            machines=(asked.machine,),
            clock=asked.clock,
            accelerator=old.accelerator,
            kconfig=old.kconfig,
            command=command,
            executor=old.executor,
            scheduler=old.scheduler,
        )
    # Boots of this run get names from the beginning again.
    told = [
        event.model_copy(update={"key": f"earlier:{event.key}"}) if isinstance(event, Seen) else event
        for event in events
    ]
    lines = head_line(record) + "".join(map(event_line, told))
    return Asked(asked, record.nodes, options, mbox, {LOG_NAME: lines})
