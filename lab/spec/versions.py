# SPDX-License-Identifier: GPL-2.0-or-later
"""Ranges of upstream kernel versions, as cases, drivers and expectations write them: `>=6.1,<6.12`."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

_ONE = r"(>=|<=|==|>|<)([1-9][0-9]{0,3}(\.[0-9]{1,5}){1,2})"
RANGE_PATTERN = rf"^{_ONE}(, ?{_ONE})*$"
"""What a range looks like, for models and for their JSON schema."""

Version = tuple[int, ...]

_COMPARE: Mapping[str, Callable[[Version, Version], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    ">": operator.gt,
    "<": operator.lt,
}


@dataclass(frozen=True)
class KernelRange:
    """Comparisons that must all hold. A bound `6.12` means the whole series: `<=6.12` and `==6.12` have
    6.12.43 in them and `>6.12` has not. A release candidate counts as the release that it comes before:
    what a version brings came in its merge window."""

    text: str
    bounds: tuple[tuple[str, Version], ...]

    @classmethod
    def parse(cls, text: str) -> KernelRange:
        """ValueError if `text` is no range."""
        if not re.match(RANGE_PATTERN, text):
            raise ValueError(f"`{text}` is no range of kernel versions such as >=6.1,<6.12")
        found = [(sign, _numbers(number)) for sign, number, *_ in re.findall(_ONE, text)]
        return cls(text, tuple(found))

    def has(self, version: str) -> bool:
        """Is the kernel of this version (6.12.43, 7.3~rc2-1, 6.1.192-2) in the range?"""
        upstream = upstream_version(version)
        return all(_COMPARE[sign](upstream[: len(bound)], bound) for sign, bound in self.bounds)


def upstream_version(text: str) -> Version:
    """The three numbers that a kernel's or a package's version begins with; () if there are none."""
    match = re.match(r"[0-9]{1,4}(\.[0-9]{1,5}){1,2}", text)
    return _numbers(match[0] + ".0" * (2 - match[0].count("."))) if match else ()


def release_line(version: str) -> str:
    """`6.12` of 6.12.43-1: what a stable series of the kernel is called by."""
    return ".".join(map(str, upstream_version(version)[:2]))


def _numbers(text: str) -> Version:
    return tuple(int(part) for part in text.split("."))
