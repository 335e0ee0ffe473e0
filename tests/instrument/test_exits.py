# SPDX-License-Identifier: GPL-2.0-or-later
"""Exits of spans: what is taken off, what is named how, and that a wrong count is noticed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from lab.errors import InfraError
from lab.instrument.exit_trace import parse, traced
from lab.instrument.exits import EMPTY_SPANS, Counted, Snapshot, measurements, read_stats, spans_of

HIST = """# event histogram
#
# trigger info: hist:keys=exit_reason,isa:vals=hitcount:sort=hitcount:size=2048 if common_pid==98 [active]
#

{ exit_reason:        120, isa:          2 } hitcount:          3
{ exit_reason:       1024, isa:          2 } hitcount:          4
{ exit_reason:        153, isa:          2 } hitcount:          1
{ exit_reason:         48, isa:          1 } hitcount:          2

Totals:
    Hits: 10
    Entries: 4
    Dropped: 0
"""


def edges(*, empty: Mapping[str, int], span: Mapping[str, int], trace: bool = True) -> list[Snapshot]:
    """Snapshots of three empty spans and one named one, each with these exits by reason."""
    found: list[Snapshot] = []
    total: dict[str, int] = {"io": 7}
    for counts in [empty] * EMPTY_SPANS + [span]:
        for add in ({}, counts):
            total = {name: total.get(name, 0) + add.get(name, 0) for name in {*total, *add}}
            vcpu = {
                "exits": sum(total.values()),
                "io_exits": total.get("io", 0),
                "irq_exits": total.get("intr", 0),
                "pf_fixed": total.get("npf", 0),
            }
            found.append(
                Snapshot(vcpu, {"pages_4k": 5 + total.get("npf", 0)}, dict(total) if trace else None)
            )
    return found


def values(counted: Counted) -> dict[str, float]:
    return {one.metric: one.value for one in measurements(counted.spans)}


def test_baseline_and_timer_are_taken_off() -> None:
    """The write that ends a span is no exit of it, nor is what the timer does, which is told apart."""
    seen = values(
        spans_of(edges(empty={"io": 1}, span={"io": 1, "npf": 4, "intr": 2, "msr": 3}), "# span touch\n")
    )
    assert seen["touch_exits"] == 4
    assert seen["touch_exits_timer"] == 5
    assert (seen["touch_exits_npf"], seen["touch_pf_fixed"], seen["touch_pages_4k"]) == (4, 4, 4)
    assert (seen["touch_exits_io"], seen["touch_io_exits"], seen["touch_exits_cpuid"]) == (0, 0, 0)


def test_an_interrupt_in_an_empty_span_is_no_baseline() -> None:
    """The least of the empty spans counts, so one tick in one of them takes nothing off the others."""
    snapshots = edges(empty={"io": 1}, span={"io": 3})
    late = [
        Snapshot({**one.vcpu, "exits": one.vcpu["exits"] + 1}, one.vm, {**(one.reasons or {}), "intr": 1})
        for one in snapshots[1:]
    ]
    seen = values(spans_of([snapshots[0], *late], "# span touch\n"))
    assert (seen["touch_exits"], seen["touch_exits_timer"]) == (2, 0)


def test_without_tracefs_the_statistics_tell_the_timer() -> None:
    """By reason is n/a then: no metric, and no zero."""
    seen = values(
        spans_of(edges(empty={"io": 1}, span={"io": 1, "npf": 4, "intr": 2}, trace=False), "# span touch\n")
    )
    assert (seen["touch_exits"], seen["touch_exits_timer"]) == (4, 2)
    assert "touch_exits_npf" not in seen


def test_a_count_that_disagrees_is_noticed() -> None:
    """If tracefs saw one exit less than KVM, by reason is n/a and a note says both numbers."""
    snapshots = edges(empty={"io": 1}, span={"io": 1, "npf": 4})
    last = snapshots[-1]
    assert last.reasons is not None
    broken = Snapshot(last.vcpu, last.vm, {**last.reasons, "npf": last.reasons["npf"] - 1})
    counted = spans_of([*snapshots[:-1], broken], "# span touch\n")
    assert counted.notes == (
        "exits by reason: n/a: tracefs counted 4 exits in span touch, KVM's statistics 5",
    )
    assert "touch_exits_npf" not in values(counted)
    assert values(counted)["touch_exits"] == 4


@pytest.mark.parametrize("report", ["", "# span touch\n# span rest\n", "# span Touch\n"])
def test_spans_that_do_not_fit_the_report(report: str) -> None:
    """An edge too many or too few, or a name that cannot be one: nothing is counted, and it is said."""
    counted = spans_of(edges(empty={"io": 1}, span={"io": 1}), report)
    assert counted.spans == ()
    assert "n/a" in counted.notes[0]


def test_two_spans_of_one_name() -> None:
    """Neither is the number of that name."""
    snapshots = edges(empty={"io": 1}, span={"io": 1, "npf": 4})
    counted = spans_of([*snapshots, *snapshots[-2:]], "# span touch\n# span touch\n")
    assert (counted.spans, counted.notes) == ((), ("exits: n/a: two spans have one name",))


def test_no_span_at_all() -> None:
    """A workload without spans gives no numbers."""
    assert spans_of([], "ok 1 it # fine\n").notes == ("exits: the workload announced no span",)


def test_histogram() -> None:
    """Both vendors' codes have one name, and unknown ones their number."""
    assert parse(HIST) == {"hlt": 3, "npf": 6, "x99": 1}


@pytest.mark.parametrize("text", ["", HIST.replace("Dropped: 0", "Dropped: 1")])
def test_histogram_that_lost_something(text: str) -> None:
    """One that dropped entries is no count."""
    with pytest.raises(InfraError, match="lost exits"):
        parse(text)


def test_no_tracefs(tmp_path: Path) -> None:
    """Where tracefs is not, or not ours, the reason is given."""
    with pytest.raises(InfraError, match="tracefs: No such file"), traced(1, tmp_path / "tracing"):
        pass


def test_statistics_of_all_vcpus_are_added_up() -> None:
    """Whole numbers only: histograms and flags are no counts."""

    def execute(command: str, arguments: dict[str, object]) -> Any:
        assert (command, arguments["target"]) == ("query-stats", "vcpu")
        stats = [
            {"name": "exits", "value": 3},
            {"name": "guest_mode", "value": True},
            {"name": "h", "value": [1]},
        ]
        return [{"provider": "kvm", "stats": stats}, {"provider": "kvm", "stats": stats}]

    assert read_stats(execute, "vcpu") == {"exits": 6}
    with pytest.raises(InfraError, match="no statistics"):
        read_stats(lambda *_: [], "vm")
