# SPDX-License-Identifier: GPL-2.0-or-later
"""Guest exits of a span: KVM's own counters through QMP, and by reason from tracefs where that is permitted.

The guest stands while they are read (testcases/include/span.h), so both are exact and must agree. Without KVM
there are no exits: then nothing here is used, and their metrics are "n/a".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lab.errors import InfraError
from lab.results.models import Clock, Measurement

EMPTY_SPANS = 3
"""How many spans of nothing a workload announces first; what they count is no work of a span's."""

MAX_SPANS = 64

VCPU, VM = "vcpu", "vm"

STATS = ("pf_taken", "pf_fixed", "io_exits", "mmio_exits")
"""Of a vCPU, given as they are: taken and fixed NPT or EPT faults, exits for ports and for device memory."""

PAGES = ("pages_4k", "pages_2m", "pages_1g")
"""Of the VM: how many mappings of each size the span added."""

TIMER_STATS = ("irq_exits", "halt_exits", "irq_window_exits")
"""What the timer contributes, where only statistics are at hand: interrupts of the host, the guest's HLT, and
its waiting for interrupts to be allowed. A guest that also writes MSRs to arm its timer is told by reason."""

TIMER_REASONS = frozenset({"intr", "nmi", "vintr", "hlt", "msr"})
"""The same by reason: exact, as long as the span itself writes no MSR and does not sleep."""

SVM = {
    0x060: "intr",
    0x061: "nmi",
    0x064: "vintr",
    0x072: "cpuid",
    0x077: "pause",
    0x078: "hlt",
    0x07B: "io",
    0x07C: "msr",
    0x081: "vmmcall",
    0x400: "npf",
}
VMX = {
    0: "exception",
    1: "intr",
    7: "vintr",
    10: "cpuid",
    12: "hlt",
    18: "vmmcall",
    30: "io",
    31: "msr",
    32: "msr",
    40: "pause",
    48: "npf",
    49: "mmio",
    52: "preemption",
}
REASONS = {1: VMX, 2: SVM}
"""By `isa` of the tracepoint kvm_exit: exit codes to names. `npf` is AMD's nested page fault and Intel's EPT
violation alike; `mmio` Intel's EPT misconfiguration, an `npf` on AMD."""

NAMES = tuple(sorted({*SVM.values(), *VMX.values()}))
"""Reasons whose count is given also where it is 0."""

_SPAN = re.compile(r"^# span ([a-z][a-z0-9_]{0,23})$", re.MULTILINE)

Execute = Callable[[str, dict[str, object]], Any]
"""Runs a QMP command."""


@dataclass(frozen=True)
class Snapshot:
    """The counters while the guest stands."""

    vcpu: Mapping[str, int]  # the sum of all
    vm: Mapping[str, int]
    reasons: Mapping[str, int] | None = None  # by name; None: not permitted here


def read_stats(execute: Execute, target: str) -> dict[str, int]:
    """KVM's statistics of all vCPUs, added up, or of the VM. InfraError if QEMU has none."""
    found = execute("query-stats", {"target": target, "providers": [{"provider": "kvm"}]})
    sums: dict[str, int] = {}
    for entry in found:
        for stat in entry["stats"]:
            value = stat["value"]
            if isinstance(value, int) and not isinstance(value, bool):
                sums[stat["name"]] = sums.get(stat["name"], 0) + value
    if not sums:
        raise InfraError(f"QEMU has no statistics of KVM for {target}", hint="Linux 5.14 has them, or newer")
    return sums


def snapshot(execute: Execute, reasons: Mapping[str, int] | None) -> Snapshot:
    """Read the statistics of a guest that stands."""
    return Snapshot(read_stats(execute, VCPU), read_stats(execute, VM), reasons)


@dataclass(frozen=True)
class Span:
    """What was counted in one span, without what an empty one counts."""

    name: str
    vcpu: Mapping[str, int]
    vm: Mapping[str, int]
    reasons: Mapping[str, int] | None


@dataclass(frozen=True)
class Counted:
    """The spans of a workload, and what a reader must know of them."""

    spans: tuple[Span, ...] = ()
    baseline: Span | None = None
    notes: tuple[str, ...] = ()


def spans_of(snapshots: Sequence[Snapshot], report: str) -> Counted:
    """The spans that the workload's report names, in its order, out of the snapshots at their edges."""
    names = _SPAN.findall(report)
    if not snapshots and not names:
        return Counted(notes=("exits: the workload announced no span",))
    if len(set(names)) < len(names):
        return Counted(notes=("exits: n/a: two spans have one name",))
    if len(snapshots) != 2 * (EMPTY_SPANS + len(names)):
        return Counted(
            notes=(
                f"exits: n/a: {len(snapshots)} edges of spans were seen, "
                f"{2 * (EMPTY_SPANS + len(names))} belong to {len(names)} named spans",
            )
        )
    raw = [
        _difference(name, before, after)
        for name, before, after in zip(
            [*[""] * EMPTY_SPANS, *names], snapshots[::2], snapshots[1::2], strict=True
        )
    ]
    notes = [note for span in raw if (note := _disagreement(span))]
    if notes:  # one count that is wrong makes the others worth nothing
        raw = [Span(span.name, span.vcpu, span.vm, None) for span in raw]
    baseline = _baseline(raw[:EMPTY_SPANS])
    spans = tuple(_without(span, baseline) for span in raw[EMPTY_SPANS:])
    return Counted(spans, baseline, tuple(notes[:1]))


def _difference(name: str, before: Snapshot, after: Snapshot) -> Span:
    reasons = None
    if before.reasons is not None and after.reasons is not None:
        reasons = _minus(after.reasons, before.reasons)
    return Span(name, _minus(after.vcpu, before.vcpu), _minus(after.vm, before.vm), reasons)


def _minus(after: Mapping[str, int], before: Mapping[str, int]) -> dict[str, int]:
    return {name: value - before.get(name, 0) for name, value in after.items()}


def _disagreement(span: Span) -> str:
    """KVM's `exits` and the tracepoint count the same thing: what is wrong if they differ."""
    if span.reasons is None:
        return ""
    traced, told = sum(span.reasons.values()), span.vcpu.get("exits", 0)
    if traced == told:
        return ""
    where = f"span {span.name}" if span.name else "an empty span"
    return f"exits by reason: n/a: tracefs counted {traced} exits in {where}, KVM's statistics {told}"


def _baseline(empty: Sequence[Span]) -> Span:
    """The least that each counter showed in an empty span: an interrupt in one of them is no part of it."""

    def least(counts: Sequence[Mapping[str, int]]) -> dict[str, int]:
        names = {name for one in counts for name in one}
        return {name: min(one.get(name, 0) for one in counts) for name in names}

    reasons = [span.reasons for span in empty if span.reasons is not None]
    return Span(
        "",
        least([span.vcpu for span in empty]),
        {},
        least(reasons) if len(reasons) == len(empty) else None,
    )


def _without(span: Span, baseline: Span) -> Span:
    reasons = None
    if span.reasons is not None and baseline.reasons is not None:
        reasons = _minus(span.reasons, baseline.reasons)
    return Span(span.name, _minus(span.vcpu, baseline.vcpu), span.vm, reasons)


def timer_share(span: Span) -> int:
    """Exits of the span that the timer caused: by reason where that is known, else as the statistics tell."""
    if span.reasons is not None:
        return sum(count for reason, count in span.reasons.items() if reason in TIMER_REASONS)
    return sum(span.vcpu.get(name, 0) for name in TIMER_STATS)


def measurements(spans: Iterable[Span]) -> list[Measurement]:
    """Metrics of each span: NAME_exits (without the timer's), NAME_exits_timer, NAME_pf_fixed, ..., and
    NAME_exits_npf and others by reason. What the kernel does not count is left out: it is "n/a"."""
    found: dict[str, int] = {}
    for span in spans:
        if "exits" in span.vcpu:
            found[f"{span.name}_exits"] = span.vcpu["exits"] - timer_share(span)
            found[f"{span.name}_exits_timer"] = timer_share(span)
        found |= {f"{span.name}_{stat}": span.vcpu[stat] for stat in STATS if stat in span.vcpu}
        found |= {f"{span.name}_{size}": span.vm[size] for size in PAGES if size in span.vm}
        if span.reasons is not None:
            for reason in (*NAMES, *span.reasons):
                found[f"{span.name}_exits_{reason}"] = span.reasons.get(reason, 0)
    return [
        Measurement(metric=name, value=value, unit="count", clock=Clock.COUNT)
        for name, value in sorted(found.items())
        if value >= 0  # mappings that the span has taken away are no count of what it added
    ]
