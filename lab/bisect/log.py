# SPDX-License-Identifier: GPL-2.0-or-later
"""The log of a bisection: all that the search follows from, to be replayed, resumed, or gone on by hand."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import TypeAdapter, ValidationError

from lab.errors import UserError
from lab.results.bisect import BisectRecord, Event, Node, Question, Row, Seen

MAX_LOG = 64 << 20
"""Characters of a log that are read."""

HEAD = '{"event":"start"'

_EVENT: TypeAdapter[Event] = TypeAdapter(Event)  # told apart by their `event`


def head_line(record: BisectRecord) -> str:
    """The first line: what is asked, of which history."""
    return f'{HEAD},"bisect":{record.model_copy(update={"result": None}).model_dump_json()}}}\n'


def event_line(event: Event) -> str:
    return event.model_dump_json() + "\n"


def parse_log(text: str, *, name: str) -> tuple[BisectRecord | None, list[Event]]:
    """What a log says. A last line that was cut off by a kill counts as not written.

    Raises UserError with the line that is none of a bisection.
    """
    if len(text) > MAX_LOG:
        raise UserError(f"{name} is longer than {MAX_LOG >> 20} MB: it is no log of a bisection")
    lines = text.split("\n")
    whole = lines[:-1]  # what follows the last newline is nothing, or cut off
    record: BisectRecord | None = None
    events: list[Event] = []
    for number, line in enumerate(whole, 1):
        try:
            if number == 1 and line.startswith(HEAD):
                record = BisectRecord.model_validate_json(line[len(HEAD) + len(',"bisect":') : -1])
            elif line.strip():
                events.append(_EVENT.validate_json(line))
        except ValidationError as error:
            first = error.errors()[0]
            raise UserError(
                f"{name}:{number}: this is no line of a bisection's log: {first['msg']}",
                hint="lab bisect --replay takes RUN, or the file bisect.log of one",
            ) from error
    return record, events


def check_conditions(events: Sequence[Event], new: Seen, *, name: str) -> None:
    """UserError if a boot does not go with the earlier ones: of an edited case, on an edited machine or under
    another QEMU, it would be held against them as proof."""
    known = {event.conditions for event in events if isinstance(event, Seen)} - {""}
    if new.conditions and known - {new.conditions}:
        raise UserError(
            f"the case, its machine or QEMU is not what it was in earlier boots of {name}",
            hint="begin a new search, without --resume or --replay",
        )


def git_log(question: Question, nodes: Sequence[Node], rows: Sequence[Row], culprit: int | None) -> str:
    """The same as text for `git bisect replay`; "" where the history is not git's."""
    if question.kind != "commits":
        return ""
    old, new = ("broken", "fixed") if question.find_fix else ("good", "bad")
    words = {"good": new, "bad": old} if question.find_fix else {"good": old, "bad": new}
    by_role = {node.role: node for node in nodes}
    options = [f"--term-old={old}", f"--term-new={new}"] if question.find_fix else []
    options += ["--first-parent"] if question.first_parent else []
    paths = ["--", *question.paths] if question.paths else []
    last, first = nodes[-1].commit, nodes[0].commit
    lines = [
        "# of a bisection by faultlab; go on with it by: git bisect replay THIS-FILE",
        f"git bisect start {' '.join(map(_quoted, [*options, last, first, *paths]))}",
    ]
    for word, node in ((new, nodes[-1]), (old, nodes[0])):
        lines += [f"# {word}: [{node.commit}] {_ascii(node.title)}", f"git bisect {word} {node.commit}"]
    verdicts = {row.role: row.verdict for row in rows}
    for row in rows:
        node = by_role[row.role]
        verdict = verdicts.get(row.other, "skip") if row.verdict == "same" else row.verdict
        word = words.get(verdict, "skip")
        if node in (nodes[0], nodes[-1]):
            continue
        lines += [f"# {word}: [{node.commit}] {_ascii(node.title)}", f"git bisect {word} {node.commit}"]
    if culprit is not None:
        found = nodes[culprit]
        lines.append(f"# first {new} commit: [{found.commit}] {_ascii(found.title)}")
    return "\n".join(lines) + "\n"


def _quoted(word: str) -> str:
    """As git reads it back: in quotes even where a shell needs none."""
    return "'" + word.replace("'", "'\\''") + "'"


def _ascii(text: str) -> str:
    return " ".join(text.encode("ascii", "replace").decode().split())[:200]
