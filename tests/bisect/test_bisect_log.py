# SPDX-License-Identifier: GPL-2.0-or-later
"""The log of a bisection: read back, cut off, edited, and in git's words."""

from __future__ import annotations

import pytest

from lab.bisect.log import check_conditions, event_line, git_log, head_line, parse_log
from lab.bisect.topics import about
from lab.errors import UserError
from lab.results.bisect import BisectRecord, Node, Question, Row, Same, Seen, Skipped
from lab.results.models import Outcome, Subject

ASKED = Question(
    kind="commits",
    case="smoke/boot",
    machine="qxl",
    clock="virtual",
    good="v1",
    bad="v2",  # type: ignore[arg-type]
)
NODES = tuple(
    Node(
        role=f"{number:012x}",
        name=f"{number:012x}",
        subject=Subject(kernel="stock"),
        title=f"change {number}",
        commit=f"{number:040x}",
        parents=(number - 1,) if number else (),
    )
    for number in range(4)
)
RECORD = BisectRecord(question=ASKED, nodes=NODES)
EVENTS = [
    Seen(role=NODES[3].role, key="0001", outcome=Outcome.FAIL, complaints=("WARNING in x",)),
    Skipped(role=NODES[1].role, why='does not build: "x"\n2nd line'),
    Same(role=NODES[2].role, other=NODES[0].role),
]
TEXT = head_line(RECORD) + "".join(map(event_line, EVENTS))


def test_it_is_read_as_it_was_written() -> None:
    """One line an event, in order."""
    assert TEXT.count("\n") == 4
    assert parse_log(TEXT, name="log") == (RECORD, EVENTS)


@pytest.mark.parametrize("cut", range(1, 40, 7))
def test_a_line_that_was_cut_off_counts_as_not_written(cut: int) -> None:
    """A kill in the middle of a write loses that event alone."""
    assert parse_log(TEXT[:-cut], name="log") == (RECORD, EVENTS[:-1])


@pytest.mark.parametrize("line", ["hello", '{"event":"dance"}', '{"event":"skip","role":"x"}', "[]", "null"])
def test_a_line_that_is_none(line: str) -> None:
    """Named with its place; exit code 2."""
    with pytest.raises(UserError, match=r"mine\.log:3: this is no line of a bisection's log") as caught:
        parse_log(head_line(RECORD) + event_line(EVENTS[0]) + line + "\n", name="mine.log")
    assert "--replay" in caught.value.hint


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        ('"role":"000000000002"', '"role":"../../../../tmp/x"'),
        ('"role":"000000000002"', '"role":"000000000001"'),
        ('"parents":[0]', '"parents":[7]'),
        ('"parents":[0]', '"parents":[]'),
        ('"mboxes":[]', '"mboxes":["../../x"]'),
        ('"series":"","topics"', '"series":"../x.mbox","topics"'),
        (f'"commit":"{2:040x}"', '"commit":"--upload-pack=x"'),
    ],
)
def test_a_hostile_history_is_refused(was: str, becomes: str) -> None:
    """Nothing in a stranger's log leads out of the run folder, or to git's options."""
    assert was in TEXT
    with pytest.raises(UserError, match="log:1: this is no line"):
        parse_log(TEXT.replace(was, becomes), name="log")


def test_in_git_words() -> None:
    """Bad, good and skipped commits, as `git bisect log` writes them."""
    rows = [
        Row(role=NODES[0].role, verdict="good", shown=0, boots=2),
        Row(role=NODES[1].role, verdict="skip", shown=0, boots=0),
        Row(role=NODES[2].role, verdict="bad", shown=1, boots=1),
    ]
    twin = Row(role=NODES[1].role, verdict="same", shown=0, boots=0, other=NODES[0].role)
    assert f"git bisect good {NODES[1].commit}\n" in git_log(ASKED, NODES, [rows[0], twin, rows[2]], 2)
    text = git_log(ASKED, NODES, rows, 2)
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert lines == [
        f"git bisect start '{NODES[3].commit}' '{NODES[0].commit}'",
        f"git bisect bad {NODES[3].commit}",
        f"git bisect good {NODES[0].commit}",
        f"git bisect skip {NODES[1].commit}",
        f"git bisect bad {NODES[2].commit}",
    ]
    assert text.endswith(f"# first bad commit: [{NODES[2].commit}] change 2\n")
    assert git_log(ASKED.model_copy(update={"kind": "versions"}), NODES, rows, 2) == ""


def test_entries_that_are_about_a_case() -> None:
    """By the subsystem that subjects of commits begin with; an architecture and a revert may stand before."""
    entries = [
        "drm/ttm: return an error when kmapping a BO without pages",
        "[amd64] KVM: x86/mmu: Zap the right pages",
        'Revert "udmabuf: fix vmap_udmabuf error page set"',
        "mm/damon/core: error damos_commit_quota_goal() for zero target_value",
        "mm/huge_memory: bypass THP tuneables for huge pfnmap mappings",
        "drm/amdgpu: add buf length check",
        "ksmbd: wait for negotiation",
    ]
    assert about(entries, ["drivers/gpu/drm/ttm/*", "mm/huge_memory.c"]) == ([entries[0], entries[4]], 5)
    assert about(entries, ["virt/kvm/*", "drivers/dma-buf/*"]) == (entries[1:3], 5)
    assert about(entries, [])[0] == [*entries[:3], entries[4]]


def test_boots_under_other_conditions_do_not_mix() -> None:
    """Of an edited case, say. One that did not start a guest, or is of an older log, has none."""
    one, same, other, unknown = (
        Seen(role=NODES[0].role, key=key, outcome=Outcome.PASS, conditions=conditions)
        for key, conditions in (("1", "a"), ("2", "a"), ("3", "b"), ("4", ""))
    )
    for new in (same, unknown):
        check_conditions([unknown, one, *EVENTS], new, name="RUN")
    check_conditions([unknown], other, name="RUN")
    with pytest.raises(UserError, match="is not what it was in earlier boots of RUN"):
        check_conditions([unknown, one], other, name="RUN")
