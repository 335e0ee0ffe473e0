# SPDX-License-Identifier: GPL-2.0-or-later
"""The tables of `lab repro`: what good and bad kernels showed, and whether that is the regression."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from lab.compare.repro import Confirmation, Seen, asked
from lab.report.layout import bullets, table

HEADER = ("regression", "good", "seen", "bad", "seen", "confirmed")
WIDEST = 120
"""Two kernels and what each showed do not fit into 100."""

ANSWERS = {True: "yes", False: "NO", None: "cannot tell"}
DECISIONS = {True: "better", False: "worse", None: "undecided"}
"""The colours of report.css."""


@dataclass(frozen=True)
class KernelRow:
    """One kernel of a regression, for report.html; the regression is named where `first`."""

    confirmation: Confirmation
    seen: Seen
    asked: str
    first: bool

    @property
    def answer(self) -> str:
        return ANSWERS[self.seen.as_stated]

    @property
    def decision(self) -> str:
        return DECISIONS[self.seen.as_stated]

    @property
    def confirmed(self) -> str:
        return ANSWERS[self.confirmation.confirmed]

    @property
    def verdict(self) -> str:
        return DECISIONS[self.confirmation.confirmed]


def kernel_rows(found: Sequence[Confirmation]) -> list[KernelRow]:
    """A row for each kernel, the good ones of a regression first."""
    rows = []
    for one in found:
        signs = {"good": asked(one.regression.good_signs), "bad": asked(one.regression.bad_signs)}
        rows += [KernelRow(one, seen, signs[seen.side], at == 0) for at, seen in enumerate(one.seen)]
    return rows


def repro_lines(found: Sequence[Confirmation]) -> list[str]:
    """A row for each pair of a good and a bad kernel; below, a sentence for each that is not as stated."""
    rows, remarks = [], []
    for one in found:
        name, answer = one.regression.name, ANSWERS[one.confirmed]
        for good, bad in zip_longest(one.good, one.bad):
            rows.append((name, *_cells(good), *_cells(bad), answer))
            name = answer = ""
        remarks += [f"{one.regression.name}: {seen.told}" for seen in one.seen if seen.told]
    return [*table(HEADER, rows, widest=WIDEST), *(["", *bullets(remarks)] if remarks else [])]


def _cells(seen: Seen | None) -> tuple[str, str]:
    return ("", "") if seen is None else (seen.kernel.label, seen.main)


def repro_data(found: Sequence[Confirmation]) -> list[dict[str, Any]]:
    """The same for `--json`; `confirmed` and `as_stated` are null where nobody can tell."""
    return [
        {
            "regression": one.regression.name,
            "title": one.regression.title,
            "kind": one.regression.kind,
            "case": one.regression.case,
            "machine": one.regression.machine,
            "confirmed": one.confirmed,
            "good": [_seen(seen) for seen in one.good],
            "bad": [_seen(seen) for seen in one.bad],
        }
        for one in found
    ]


def _seen(seen: Seen) -> dict[str, Any]:
    return {
        "kernel": seen.kernel.label,
        "role": seen.kernel.role,
        "as_stated": seen.as_stated,
        "seen": seen.words,
        "told": seen.told,
        "outcome": str(seen.trial.outcome) if seen.trial else None,
        "folder": f"trials/{seen.trial.key}" if seen.trial else None,
    }
