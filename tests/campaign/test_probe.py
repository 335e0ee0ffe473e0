# SPDX-License-Identifier: GPL-2.0-or-later
"""What a boot under KVM comes to, and for how long it is believed. The boots are made up."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import stand_ins

from lab.campaign import probe
from lab.guest import accelerator
from lab.guest.accelerator import DOUBTED_SECONDS
from lab.guest.guest import End
from lab.guest.prepare import Bench
from lab.guest.qemu import Qemu

BENCH = Bench(Qemu("/usr/bin/qemu-system-x86_64", (7, 2), "QEMU emulator version 7.2"), Path("/init"))


class Guests:
    """The guests that probing boots get to see, one after the other."""

    def __init__(self, *ends: tuple[End, str]) -> None:
        self.left = list(ends)

    @contextlib.contextmanager
    def booted(self, *_: object) -> Iterator[Any]:
        end, killed_by = self.left.pop(0)
        streams = SimpleNamespace(stderr="qemu: assertion failed", console_bytes=0)
        yield SimpleNamespace(
            wait_ready=lambda *_, **__: end, killed_by=killed_by, streams=streams, ready_seconds=1.0
        )


@pytest.fixture
def guests(monkeypatch: pytest.MonkeyPatch) -> Guests:
    made = Guests()
    monkeypatch.setattr(probe, "prepare_boot", lambda *_, **__: None)
    monkeypatch.setattr(probe, "booted", made.booted)
    return made


def choose() -> str:
    return probe.probe_kvm(BENCH, stand_ins.kernel(release="6.1")).accelerator


@pytest.mark.parametrize(
    ("end", "killed_by", "chosen"),
    [(End.HAPPENED, "", "kvm"), (End.EXITED, "", "tcg"), (End.EXITED, "SIGABRT", "tcg")],
    ids=["ready", "ended", "aborted"],
)
def test_what_kvm_itself_did_is_remembered(guests: Guests, end: End, killed_by: str, chosen: str) -> None:
    """One boot is enough. QEMU's own assertion is KVM's doing as well, though a signal ends it."""
    guests.left = [(end, killed_by)]
    assert (choose(), choose()) == (chosen, chosen)


def test_a_qemu_that_was_killed_says_nothing_of_kvm(guests: Guests) -> None:
    """Whoever asks next boots again."""
    guests.left = [(End.EXITED, "SIGKILL"), (End.HAPPENED, "")]
    assert (choose(), choose()) == ("tcg", "kvm")


def test_a_boot_that_took_too_long_is_tried_again_later(
    guests: Guests, monkeypatch: pytest.MonkeyPatch
) -> None:
    """KVM that hangs Linux costs a boot an hour; a host that was busy gets its KVM back."""
    now = 1e9
    monkeypatch.setattr(accelerator, "time", SimpleNamespace(time=lambda: now))
    guests.left = [(End.DEADLINE, ""), (End.HAPPENED, "")]
    assert (choose(), choose()) == ("tcg", "tcg")
    now += DOUBTED_SECONDS
    assert choose() == "kvm"
