# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests of a guest that plays the lab's host. As in tests/vm: the `lab` command, with the user's cache and a
state folder of the test's own."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent / "vm"))

from labrun import lab, state

__all__ = ["lab", "state"]
