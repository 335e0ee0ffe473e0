# SPDX-License-Identifier: GPL-2.0-or-later
"""report.txt of a bisection: a text that can be sent, and the same as data."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lab.compare.words import amount, counted
from lab.report.clean import one_line, plain
from lab.report.layout import bullets, facts, paragraph, table
from lab.results.bisect import GIT_LOG_NAME, LOG_NAME, BisectRecord, Node, Question, Result, Row
from lab.results.models import Clock, Conclusion, Environment, RunRecord, Verdict

WIDEST = 75
HEADER = ("kernel", "showed", "verdict", "what was seen")
NEAR = 12
"""Rows of the evidence table that report.txt has; of more, those nearest to the result."""

DECISIONS = {"good": "better", "bad": "worse"}
"""The colours of report.css; else undecided."""


@dataclass(frozen=True)
class EvidenceRow:
    """One kernel that was looked at, for report.html."""

    node: Node
    showed: str
    verdict: str
    told: str
    found: bool  # it is what was looked for

    @property
    def decision(self) -> str:
        return DECISIONS.get(self.verdict, "undecided")


def judge_bisect(record: BisectRecord) -> Verdict:
    """PASS when what was looked for is found."""
    result = record.result
    if result is None:
        return Verdict(verdict=Conclusion.INCONCLUSIVE, stage="run", reasons=("the search is not over",))
    found = Conclusion.PASS if result.status == "found" else Conclusion.INCONCLUSIVE
    return Verdict(verdict=found, stage="run", reasons=(result.sentence, *result.reasons))


def bisect_text(run: RunRecord, record: BisectRecord, environments: Sequence[Environment], path: str) -> str:
    """Everything a reader needs to believe the result, or to go on; at most 75 columns, all in ASCII."""
    result, asked = record.result, record.question
    parts: list[list[str]] = [_headline(result), _facts(record, environments)]
    if result is not None:
        parts += [_evidence(record, result), _changes(record, result), _reproduce(record, result, path)]
        parts.append(_regzbot(record, result))
    repeat = plain(shlex.join(("lab", *run.command)))
    by_git = asked.kind == "commits" and result is not None and result.status != "refused"
    logs = [f"{path}/{LOG_NAME}", *([f"{path}/{GIT_LOG_NAME}"] if by_git else [])]
    parts.append(["To repeat, resume or replay it", f"  {repeat}", *_going_on(run, record, logs)])
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def _headline(result: Result | None) -> list[str]:
    if result is None:
        return ["The bisection is not over."]
    head = {"found": "", "unclear": "Cannot tell: ", "refused": "Nothing to search: "}[result.status]
    return [*paragraph(f"{head}{result.sentence}."), *bullets(result.reasons)]


def _facts(record: BisectRecord, environments: Sequence[Environment]) -> list[str]:
    asked, result = record.question, record.result
    first, last = record.nodes[0], record.nodes[-1]
    between = {"versions": "packaged kernels", "commits": "commits", "series": "patches"}[asked.kind]
    suspects = sum(node.suspect for node in record.nodes[1:])
    pairs = [
        ("case", asked.case),
        ("failure", result.by if result else ""),
        ("searched", f"{first.name} .. {last.name}, {suspects} {between}"),
        ("only", ", ".join(asked.paths)),
        ("tree", asked.tree),
        ("machine", f"{asked.machine}, {asked.clock} clock"),
        ("shows", _rate(result)),
        ("confidence", _confidence(record)),
        ("booted", _booted(result)),
        ("accelerator", "; ".join(dict.fromkeys(e.accelerator for e in environments))),
        ("QEMU", "; ".join(dict.fromkeys(e.qemu_version for e in environments))),
    ]
    return facts(pairs)


def _rate(result: Result | None) -> str:
    if result is None or result.rate is None or result.exact:
        return ""
    share, low, high = result.rate
    return f"in {share:.0%} of the boots of a bad kernel (95 %: {low:.0%} to {high:.0%})"


def _confidence(record: BisectRecord) -> str:
    result = record.result
    if result is None or result.status != "found" or result.error is None:
        return ""
    if result.exact:
        if record.question.always:
            return "one boot is proof, as --always says"
        return "every boot repeats itself on the virtual clock: one is proof"
    right = 1 - max(result.error, 1e-6)
    return f"{100 * right:.4g} % that it is this one (wanted: {100 * (1 - record.question.error):.4g} %)"


def _booted(result: Result | None) -> str:
    if result is None or not result.boots:
        return ""
    waited = (
        f", {result.obtaining_seconds:.0f} s of them for kernels" if result.obtaining_seconds >= 1 else ""
    )
    guests = f"{counted(result.kernels, 'kernel')}, {counted(result.boots, 'boot')}"
    return f"{guests}, {result.seconds:.0f} s{waited}"


def _evidence(record: BisectRecord, result: Result) -> list[str]:
    """The kernels that were looked at; of many, the ends and those around the result."""
    if not result.rows:
        return []
    at = {node.role: position for position, node in enumerate(record.nodes)}
    middle = result.culprit if result.culprit is not None else (result.left or (0,))[0]
    ends = (0, len(record.nodes) - 1)
    ranked = sorted(result.rows, key=lambda row: (at[row.role] not in ends, abs(at[row.role] - middle)))
    chosen = {row.role for row in ranked[:NEAR]}
    rows = [_row(record.nodes[at[row.role]], row, result) for row in result.rows if row.role in chosen]
    more = len(result.rows) - len(rows)
    tail = [f"and {more} others, farther away; all of them are in the log"] if more else []
    return ["Evidence", *table(HEADER, rows, widest=WIDEST), *tail]


def evidence_rows(record: BisectRecord) -> list[EvidenceRow]:
    """Every kernel that was looked at, in the order of the history."""
    result = record.result
    if result is None:
        return []
    at = {node.role: node for node in record.nodes}
    found = record.nodes[result.culprit].role if result.culprit is not None else ""
    return [
        EvidenceRow(at[row.role], *_row(at[row.role], row, result)[1:], found=row.role == found)
        for row in result.rows
    ]


def _row(node: Node, row: Row, result: Result) -> tuple[str, str, str, str]:
    values = list(dict.fromkeys(row.values))
    told = f"{amount(min(values))}" if values else row.says
    if len(values) > 1:
        told += f" to {amount(max(values))}"
    if values and result.unit:
        told += f" {result.unit}"
    showed = f"{row.shown} of {row.boots}" if row.boots else "-"
    return node.name, showed, {"same": "same", "skip": "skipped"}.get(row.verdict, row.verdict), told


def _changes(record: BisectRecord, result: Result) -> list[str]:
    if record.question.kind == "commits" and result.culprit is not None and result.status == "found":
        node = record.nodes[result.culprit]
        return ["Commit", f"  {node.commit}", *paragraph(node.title, first="  ")]
    if not result.changes_from:
        return []
    others = f"; {counted(result.changes_more, 'other entry').replace('entrys', 'entries')} left out"
    head = paragraph(f"What came in with it, of what the case is about ({result.changes_from}{others})")
    return [*head, *(bullets(result.changes) or ["  - nothing"])]


def _reproduce(record: BisectRecord, result: Result, path: str) -> list[str]:
    if result.culprit is None or result.before is None:
        return []
    lines = ["To reproduce it"]
    for position in (result.before, result.culprit):
        asked, node = record.question, record.nodes[position]
        words = ["lab", "run", asked.case, "--machine", asked.machine, "--kernel", node.subject.kernel]
        if node.subject.mboxes:
            words += ["--series", f"{path}/{node.subject.mboxes[-1]}"]
        if asked.kind == "commits":
            words += ["--kconfig", node.subject.kconfig]
        if asked.clock is Clock.REAL:
            words += ["--clock", "real"]
        if result.rate is not None and not result.exact and 0 < result.rate[0] < 1:
            words += [
                "--trials",
                str(math.ceil(math.log(0.05) / math.log(1 - result.rate[0]))),
            ]  # shows in 95 %
        lines.append(f"  {plain(one_line(shlex.join(words), limit=600))}")
    return lines


def _regzbot(record: BisectRecord, result: Result) -> list[str]:
    """What regzbot, the kernel's tracker of regressions, understands in a mail."""
    line = regzbot_line(record.question, record.nodes, result)
    return ["For regzbot", f"  {plain(one_line(line))}"] if line else []


def regzbot_line(asked: Question, nodes: Sequence[Node], result: Result) -> str:
    """`#regzbot introduced: ...`; "" for a fix, and for patches that are in no tree."""
    if result.status != "found" or result.culprit is None or result.before is None or asked.find_fix:
        return ""
    if asked.kind == "commits":
        return f"#regzbot introduced: {nodes[result.culprit].commit}"
    if asked.kind == "versions":
        good, bad = (_tag(nodes[position].name) for position in (result.before, result.culprit))
        return f"#regzbot introduced: {good}..{bad}"
    return ""


def _tag(version: str) -> str:
    """v6.12.115 for 6.12.115-2~deb12u1, v7.3-rc7 for 7.3~rc7-1~exp1."""
    upstream = re.sub(r"-[^-]*$", "", version).replace("~", "-")
    return f"v{upstream}"


def _going_on(run: RunRecord, record: BisectRecord, logs: Sequence[str]) -> list[str]:
    lines = [f"  lab bisect --replay {run.id}"]
    if record.result is None:
        lines = [f"  lab bisect --resume {run.id}", *lines]
    if len(logs) > 1:
        lines.append(f"  git bisect replay {plain(logs[1])}")
    kept = paragraph(f"The evidence is run {run.id}, kept by faultlab {run.lab_version}; the log:")
    return [*lines, *kept, f"  {plain(logs[0])}"]


def bisect_data(record: BisectRecord) -> dict[str, Any]:
    """The same for `--json`."""
    asked, result = record.question, record.result

    def named(position: int | None) -> dict[str, str] | None:
        if position is None:
            return None
        node = record.nodes[position]
        return {
            "role": node.role,
            "name": node.name,
            "kernel": node.subject.kernel,
            "commit": node.commit,
            "title": node.title,
        }

    if result is None:
        return {"kind": asked.kind, "status": "running"}
    return {
        "kind": asked.kind,
        "status": result.status,
        "sentence": result.sentence,
        "culprit": named(result.culprit),
        "before": named(result.before),
        "left": [named(position) for position in result.left],
        "failure": result.by,
        "error": result.error,
        "exact": result.exact,
        "rate": result.rate,
        "kernels": result.kernels,
        "boots": result.boots,
        "seconds": result.seconds,
        "rows": [row.model_dump(mode="json") for row in result.rows],
        "changes": list(result.changes),
        "regzbot": regzbot_line(asked, record.nodes, result),
    }
