# SPDX-License-Identifier: GPL-2.0-or-later
"""A nested lab host whose kernel measured its clock wrong is not used."""

from __future__ import annotations

import pytest

from lab.guest.labhost import clock_fault

BUSY = b"""[    0.000000] tsc: Fast TSC calibration failed
[    0.056000] tsc: PIT calibration deviates from HPET: 440024 2595101
[    0.060000] tsc: Using PIT calibration value
"""


def test_a_wrong_clock_is_told_in_the_kernels_words() -> None:
    """The line of a real boot, in which 120 s passed within 51."""
    assert clock_fault(BUSY) == "tsc: PIT calibration deviates from HPET: 440024 2595101"


@pytest.mark.parametrize(
    "console",
    [
        b"",
        b"[    0.000000] tsc: Fast TSC calibration using PIT\n",
        b"[    0.056000] tsc: PIT calibration matches HPET. 1 loops\n",
        b"[    0.056000] tsc: PIT calibration deviates from HPET: \xff\n",
    ],
)
def test_a_right_one_is_used(console: bytes) -> None:
    assert clock_fault(console) == ""
