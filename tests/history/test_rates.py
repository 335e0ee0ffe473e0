# SPDX-License-Identifier: GPL-2.0-or-later
"""Flake rates and their interval."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from lab.history.rates import rate, rate_words


def test_words():
    """As the issue has it."""
    assert rate_words(rate(3, 40)) == "3 of 40 (2.6 to 19.9 %)"
    assert rate_words(rate(0, 40)) == "0 of 40 (0.0 to 8.8 %)"
    assert rate_words(rate(40, 40)) == "40 of 40 (91.2 to 100.0 %)"
    assert rate_words(rate(0, 0)) == "n/a"


@given(st.integers(1, 10_000).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))))
def test_is_wilsons(pair):
    """The interval is the one of scipy."""
    found = rate(*pair)
    wanted = binomtest(*pair).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high), abs=1e-12)
    assert 0 <= found.low <= pair[0] / pair[1] <= found.high <= 1
