# SPDX-License-Identifier: GPL-2.0-or-later
"""The order of Debian version numbers (deb-version(7)), for versions of packages of different names."""

from __future__ import annotations

import re

Key = tuple[int, tuple[tuple[tuple[int, ...], int], ...], tuple[tuple[tuple[int, ...], int], ...]]


def version_key(version: str) -> Key:
    """A sort key: epoch, upstream version, Debian revision.

    >>> sorted(["6.12.9-1", "6.12.10-1", "6.12.10-1~deb12u1"], key=version_key)
    ['6.12.9-1', '6.12.10-1~deb12u1', '6.12.10-1']
    """
    epoch, colon, rest = version.partition(":")
    if not colon:
        epoch, rest = "0", version
    upstream, _, revision = rest.rpartition("-") if "-" in rest else (rest, "", "")
    return int(epoch) if epoch.isdecimal() else 0, _parts(upstream), _parts(revision)


def _parts(text: str) -> tuple[tuple[tuple[int, ...], int], ...]:
    """Alternating non-digits and digits; each pair compares as deb-version(7) says."""
    pairs = re.findall(r"([^0-9]*)([0-9]*)", text, re.ASCII)
    return tuple((_weights(word), int(number or "0")) for word, number in pairs)


def _weights(word: str) -> tuple[int, ...]:
    """`~` sorts before the end, the end before letters, letters before all else."""
    return (*(-1 if c == "~" else ord(c) if c.isalpha() else ord(c) + 256 for c in word), 0)
