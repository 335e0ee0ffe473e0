# SPDX-License-Identifier: GPL-2.0-or-later
"""What is searched: kernels from old to new, each with those that it was made from.

A list of versions is a history in which each has one parent; a git repository's has merges. The set of all
that a kernel contains is kept as the bits of an integer: counting those of two sets at once is then one
operation, for twenty thousand commits as for twenty.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


class History:
    """Positions from 0, the old end, on; `parents[n]` are smaller than n.

    A failure that came in with position c shows in every kernel that contains c. With `find_fix` it was there
    from the beginning and ended with c: then it shows in those that do not contain c.
    """

    def __init__(
        self,
        parents: Sequence[Sequence[int]],
        *,
        suspects: Sequence[bool] | None = None,
        find_fix: bool = False,
    ) -> None:
        self.parents = tuple(tuple(found) for found in parents)
        self.find_fix = find_fix
        self.size = len(self.parents)
        possible = [True] * self.size if suspects is None else list(suspects)
        possible[0] = False  # what is in the old end was there before
        self.suspects = _bits(number for number, yes in enumerate(possible) if yes)
        self.linear = all(found == (number - 1,) for number, found in enumerate(self.parents) if number)

    @classmethod
    def line(cls, size: int, *, find_fix: bool = False) -> History:
        """A list of `size` kernels, the two ends among them."""
        return cls([(), *[(number,) for number in range(size - 1)]], find_fix=find_fix)

    @cached_property
    def contained(self) -> tuple[int, ...]:
        """For each position the set of what it contains, itself included."""
        found: list[int] = []
        for number, parents in enumerate(self.parents):
            bits = 1 << number
            for parent in parents:
                bits |= found[parent]
            found.append(bits)
        return tuple(found)

    @property
    def good_end(self) -> int:
        return self.size - 1 if self.find_fix else 0

    @property
    def bad_end(self) -> int:
        return 0 if self.find_fix else self.size - 1

    def blamed(self, position: int) -> int:
        """The suspects (as bits) with which a failure would show in this kernel."""
        inside = self.contained[position] & self.suspects
        return self.suspects & ~inside if self.find_fix else inside

    def mask(self, bits: int) -> Bools:
        """A set as an array."""
        raw = np.frombuffer(bits.to_bytes((self.size + 7) // 8, "little"), dtype=np.uint8)
        return np.unpackbits(raw, count=self.size, bitorder="little").astype(bool)

    def masses(self, weights: Floats) -> Floats:
        """For each kernel the weight of all suspects with which a failure would show in it."""
        if self.linear:
            inside = np.cumsum(weights)
        else:
            inside = np.zeros(self.size)
            for weight in np.unique(weights[weights > 0]):
                bits = _bits(np.flatnonzero(weights == weight).tolist())
                inside += weight * np.array([(own & bits).bit_count() for own in self.contained])
        return weights.sum() - inside if self.find_fix else inside


def members(bits: int) -> list[int]:
    """The positions in a set, in order."""
    return [number for number in range(bits.bit_length()) if bits >> number & 1]


def _bits(numbers: object) -> int:
    found = 0
    for number in numbers:  # type: ignore[attr-defined]
        found |= 1 << number
    return found
