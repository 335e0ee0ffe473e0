# SPDX-License-Identifier: GPL-2.0-or-later
"""The accelerator: what is chosen by rule, and what one boot found out and the lab remembers."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from lab.errors import UserError
from lab.guest import accelerator
from lab.guest.accelerator import Choice, Probed, Remembered, kvm_obstacle, without_probe
from lab.guest.qemu import Qemu
from lab.results.models import Clock

QEMU = Qemu("/usr/bin/qemu-system-x86_64", (7, 2), "QEMU emulator version 7.2")


def test_virtual_clock_is_emulation() -> None:
    """The virtual clock never needs a probing boot: only TCG counts instructions, and the result says so."""
    for policy in ("auto", "tcg"):
        choice = without_probe(policy, Clock.VIRTUAL)  # type: ignore[arg-type]
        assert choice is not None
        assert choice.accelerator == "tcg"
        assert "counts instructions" in choice.reason


def test_virtual_clock_under_kvm_is_refused() -> None:
    """--accel kvm with the virtual clock is a contradiction: exit 2, saying what to type instead."""
    with pytest.raises(UserError, match="counts instructions") as caught:
        without_probe("kvm", Clock.VIRTUAL)
    assert "--clock real" in caught.value.hint


def test_tcg_can_be_asked_for() -> None:
    """--accel tcg needs no probe on the real clock either."""
    assert without_probe("tcg", Clock.REAL) == Choice("tcg", "asked for with --accel tcg")


def test_obstacle_decides_for_emulation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a usable /dev/kvm `auto` is TCG with that reason, and --accel kvm an error with it."""
    monkeypatch.setattr(accelerator, "kvm_obstacle", lambda: "this host has no /dev/kvm")
    assert without_probe("auto", Clock.REAL) == Choice("tcg", "this host has no /dev/kvm")
    with pytest.raises(UserError, match="this host has no /dev/kvm"):
        without_probe("kvm", Clock.REAL)


def test_only_a_boot_can_tell_where_kvm_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A /dev/kvm that opens and answers proves nothing: no choice is made without a boot."""
    monkeypatch.setattr(accelerator, "kvm_obstacle", lambda: "")
    assert without_probe("auto", Clock.REAL) is None
    assert without_probe("kvm", Clock.REAL) is None


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (FileNotFoundError(2, "No such file"), "has no /dev/kvm"),
        (PermissionError(13, "Permission denied"), "group kvm"),
        (OSError(16, "Device or resource busy"), "Device or resource busy"),
    ],
)
def test_obstacles(error: OSError, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each reason why /dev/kvm cannot be opened is told in words."""

    def fail(*_: object) -> int:
        raise error

    monkeypatch.setattr(os, "open", fail)
    assert words in kvm_obstacle()


def test_findings_are_remembered() -> None:
    """What a probing boot found is there for the next lab, with its reason; before, nothing is known."""
    assert Remembered(QEMU, "k1").read() is None
    Remembered(QEMU, "k1").write(Probed(False, "said not one word"))
    assert Remembered(QEMU, "k1").read() == Choice("tcg", "said not one word")
    Remembered(QEMU, "k1").write(Probed(True, "reached its ready marker"))
    assert Remembered(QEMU, "k1").read() == Choice("kvm", "reached its ready marker")


def test_findings_hold_for_what_was_tried() -> None:
    """Another kernel or another QEMU has to be tried for itself."""
    Remembered(QEMU, "k1").write(Probed(True, "works"))
    assert Remembered(QEMU, "k2").read() is None
    assert Remembered(replace(QEMU, banner="QEMU emulator version 9.0"), "k1").read() is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"works": true}', '{"reason": "x"}'])
def test_damaged_finding_is_no_finding(text: str) -> None:
    """A file that is damaged is as good as none: the probe is made again."""
    remembered = Remembered(QEMU, "k1")
    remembered.write(Probed(True, "works"))
    remembered._path.write_text(text)
    assert remembered.read() is None
