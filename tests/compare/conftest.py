# SPDX-License-Identifier: GPL-2.0-or-later
"""The made-up runs are shared with the tests of the reports."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "report"))
