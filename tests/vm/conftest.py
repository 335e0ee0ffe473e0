# SPDX-License-Identifier: GPL-2.0-or-later
"""Real guests, started as a user starts them: with the user's cache of packages and built modules, and with a
state folder (runs, dry runs) that belongs to the test."""

from __future__ import annotations

from labrun import lab, state, two_processors

__all__ = ["lab", "state", "two_processors"]
