# SPDX-License-Identifier: GPL-2.0-or-later
"""A recorded trace made short: without BOs that the CPU never touched, with few numbers and with ranges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lab.errors import UserError
from lab.workload.frame_trace import MAX_BO, Op


def tidy(parts: Sequence[Sequence[Op]]) -> list[list[Op]]:
    """The same steps for setup and frames, in order; UserError if there are too many BOs at a time."""
    used = {op.bo for ops in parts for op in ops if op.verb == "touch"}
    numbers = _Numbers()
    return [_joined([numbers.given(op) for op in ops if op.bo in used]) for ops in parts]


class _Numbers:
    """Gives BOs the smallest free numbers, so that a long recording needs few."""

    def __init__(self) -> None:
        self._taken: dict[int, int] = {}
        self._free: list[int] = []

    def given(self, op: Op) -> Op:
        if op.verb == "create":
            self._taken[op.bo] = self._free.pop() if self._free else len(self._taken) + 1
        number = self._taken[op.bo]
        if number > MAX_BO:
            raise UserError(f"more than {MAX_BO} BOs at a time", hint="record for a shorter time")
        if op.verb == "free":
            self._free.append(self._taken.pop(op.bo))
        return replace(op, bo=number)


def _joined(ops: Sequence[Op]) -> list[Op]:
    """The same steps; touches at regular distances become one."""
    out: list[Op] = []
    for op in ops:
        last = out[-1] if out else None
        if (
            last is None
            or op.verb != "touch"
            or (last.verb, last.bo, last.write) != ("touch", op.bo, op.write)
        ):
            out.append(op)
            continue
        step = op.first - last.touched[-1]
        if step > 0 and (last.count == 1 or step == last.stride):
            out[-1] = replace(last, count=last.count + 1, stride=step)
        else:
            out.append(op)
    return out
