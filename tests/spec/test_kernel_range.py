# SPDX-License-Identifier: GPL-2.0-or-later
"""Ranges of kernel versions, as cases, drivers and expectations write them."""

from __future__ import annotations

import pytest

from lab.spec.versions import KernelRange, upstream_version


@pytest.mark.parametrize(
    ("text", "version", "numbers"),
    [
        ("a Debian package", "6.1.192-2", (6, 1, 192)),
        ("a backport", "7.3.4-1~bpo13+1", (7, 3, 4)),
        ("a candidate in Debian", "7.3~rc2-1~exp1", (7, 3, 0)),
        ("a candidate's tree", "7.3.0-rc7", (7, 3, 0)),
        ("a series", "6.12", (6, 12, 0)),
        ("nothing of the kind", "next-20261101", ()),
    ],
)
def test_upstream_version(text: str, version: str, numbers: tuple[int, ...]) -> None:
    """The three numbers at the beginning, whoever wrote the version."""
    assert upstream_version(version) == numbers, text


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        (">=6.15", ["6.15", "6.15.0-rc1", "7.3.4-1"], ["6.14.9", "6.1.192-2", "5.10.262-1"]),
        (">=6.1,<6.12", ["6.1.192-2", "6.11.10"], ["6.12.0-rc1", "6.12.1", "6.0.9"]),
        ("<=6.12", ["6.12.43", "5.10"], ["6.13"]),
        (">6.12", ["6.13", "7.2.1"], ["6.12.99"]),
        ("==6.12", ["6.12.1"], ["6.1.12", "6.120"]),
        (">=6.12.43, <6.13", ["6.12.43", "6.12.100"], ["6.12.42"]),
    ],
)
def test_range(text: str, inside: list[str], outside: list[str]) -> None:
    """A bound of two numbers is a whole series; numbers are compared as such, not as text."""
    versions = KernelRange.parse(text)
    assert [one for one in inside if not versions.has(one)] == []
    assert [one for one in outside if versions.has(one)] == []


def test_version_that_is_none_is_in_no_range() -> None:
    """A kernel that does not say what it is fits nothing that was asked for by version."""
    assert not KernelRange.parse(">=6.1").has("next-20261101")


@pytest.mark.parametrize("text", ["", "6.1", ">=6", "=>6.1", ">=6.1 <6.12", ">=6.1;<7.0", ">=v6.1", ">=6.1,"])
def test_no_range(text: str) -> None:
    """What is not understood whole is refused."""
    with pytest.raises(ValueError, match="no range"):
        KernelRange.parse(text)
