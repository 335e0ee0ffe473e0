# SPDX-License-Identifier: GPL-2.0-or-later
"""A nested lab host whose kernel measured its clock wrong is booted again with the right one."""

from __future__ import annotations

import pytest

from lab.guest.labhost import right_tsc_khz

BUSY = b"""[    0.000000] tsc: Fast TSC calibration failed
[    0.056000] tsc: PIT calibration deviates from HPET: 440024 2595101
[    0.060000] tsc: Using PIT calibration value
"""


def test_the_right_clock_is_the_other_timers() -> None:
    """The line of a real boot, in which 120 s passed within 51."""
    assert right_tsc_khz(BUSY) == 2595101


@pytest.mark.parametrize(
    "console",
    [
        b"",
        b"[    0.000000] tsc: Fast TSC calibration using PIT\n",
        b"[    0.056000] tsc: PIT calibration matches HPET. 1 loops\n",
        b"[    0.056000] tsc: PIT calibration deviates from HPET: 1 \xff\n",
        b"[    0.056000] tsc: PIT calibration deviates from HPET: 440024 25951",  # cut off
    ],
)
def test_nothing_is_made_of_other_words(console: bytes) -> None:
    assert right_tsc_khz(console) is None
