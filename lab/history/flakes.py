# SPDX-License-Identifier: GPL-2.0-or-later
"""Cells that fail now and then on one and the same kernel, and lines of expectations/flakes.txt for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from lab.history.index import Index
from lab.history.model import Entry, Rate
from lab.history.rates import rate_words
from lab.report.clean import one_line, plain

LINK = "where it is discussed: to be filled in"
OWNER = "who looks after this line: to be filled in"


@dataclass(frozen=True, slots=True)
class Flaking:
    """A cell that both passed and failed, with its newest unexplained failure."""

    failed: Entry
    rate: Rate


def flaking(index: Index, run: str) -> list[Flaking]:
    """The cells of a run that fail in some boots of the very kernel that they have there, and not in all.

    What a file of expectations explains is left out.
    """
    found = []
    for cell, rate in index.all_rates(run).items():
        if not 0 < rate.bad < rate.total:
            continue
        past = index.past(cell, until=run)
        same = [one for one in past if (one.kernel_id, one.digest) == (past[0].kernel_id, past[0].digest)]
        failed = next((one for one in same if one.bad), None)
        if failed is not None and not any(one.expected for one in same):
            found.append(Flaking(failed, rate))
    return sorted(found, key=lambda one: (-one.rate.low, one.failed.cell.label))


def proposal(found: Iterable[Flaking], kernels: Callable[[str], str]) -> str:
    """Paragraphs for expectations/flakes.txt; `kernels` makes a range of versions from a kernel's version.

    A person must say whether it is a limitation that one can live with: link and owner are left to fill in.
    """
    return "\n\n".join("\n".join(_paragraph(one, kernels)) for one in found) + "\n"


def _paragraph(one: Flaking, kernels: Callable[[str], str]) -> list[str]:
    cell, failed = one.failed.cell, one.failed
    how = one_line(failed.signature or failed.reason or str(failed.outcome), limit=200)
    lines = [f"# Reason: fails in {rate_words(one.rate)} boots of {failed.kernel_name}: {how}"]
    if versions := kernels(failed.version):
        lines.append(f"# Kernels: {versions}")
    lines += [f"# Machine: {cell.machine}", f"# Link: {LINK}", f"# Owner: {OWNER}", cell.case]
    return [plain(line) for line in lines]
