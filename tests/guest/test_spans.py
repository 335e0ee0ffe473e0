# SPDX-License-Identifier: GPL-2.0-or-later
"""Attending to a guest whose exits are counted, when its QEMU answers nothing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from lab.errors import InfraError
from lab.guest.spans import SpanCounter


def guest(*, ended: bool) -> Any:
    """One whose monitor fails, because QEMU has ended or for another reason."""

    def fail(*_: object) -> None:
        raise InfraError("QMP query-cpus-fast failed")

    return SimpleNamespace(
        connect_monitor=lambda _: None, monitor=SimpleNamespace(execute=fail), ended_within=lambda _: ended
    )


def test_a_kernel_that_dies_at_once_is_the_guests_end() -> None:
    """It panics right behind its ready marker: whoever waits for it tells a crash, not a broken lab."""
    SpanCounter(guest(ended=True)).start()


def test_a_qemu_that_lives_must_answer() -> None:
    """If nothing ended, the exits could not be counted: that is an error."""
    with pytest.raises(InfraError, match="query-cpus-fast"):
        SpanCounter(guest(ended=False)).start()
