# SPDX-License-Identifier: GPL-2.0-or-later
"""A kernel built to find bugs says nothing about time: its comparisons of time are shown, not judged."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lab.results.models import Comparison, Decision, KernelRecord

TIMES = ("insn", "ns")


def refuse_times(comparisons: Sequence[Comparison], kernels: Iterable[KernelRecord]) -> list[Comparison]:
    """The comparisons, those of time not judged if one of the kernels has debugging options."""
    options = sorted({option for kernel in kernels for option in kernel.debug_options})
    if not options:
        return list(comparisons)
    note = f"a debug kernel ({', '.join(options)}): its times mean nothing"
    refused = {"decision": Decision.NOT_JUDGED, "note": note}
    return [c.model_copy(update=refused) if c.unit in TIMES else c for c in comparisons]
