# SPDX-License-Identifier: GPL-2.0-or-later
"""`lab vfio` on whatever host the tests run on: it looks, refuses in words, and changes nothing."""

from __future__ import annotations

import os

import pytest
from commandline import CommandLine

from lab.guest.vfio import journal
from lab.guest.vfio.devices import all_devices

NOWHERE = "ffff:ff:1f.7"


def test_list_tells_every_device(lab: CommandLine) -> None:
    """As a table and as JSON: each device that is no bridge, with its state."""
    expected = {device.address for device in all_devices() if not device.is_bridge}
    said = lab("vfio", "list", "--json")
    assert said.code == 0
    assert {row["address"] for row in said.json} == expected
    assert all((row["state"] == "refused") <= bool(row["obstacles"]) for row in said.json)
    table = lab("vfio", "list")
    assert table.code == 0
    assert all(address in table.stdout for address in expected)


@pytest.mark.parametrize(
    ("words", "refusal"),
    [
        (("bind", NOWHERE), f"no PCI device {NOWHERE}"),
        (("bind", "my gpu"), "neither a PCI address nor vendor:device"),
        (("restore", "01:00.0"), "no lab took 01:00.0"),
    ],
)
def test_refusals(
    lab: CommandLine, words: tuple[str, ...], refusal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is no device, or was not taken, is exit 2 and a sentence."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    lab("vfio", *words).check_refusal(2, refusal)


def test_restore_needs_root(lab: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    """As an ordinary user nothing is given back, and that is said."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    lab("vfio", "restore").check_refusal(2, "needs root")


def test_restore_tells_what_does_not_come_back(lab: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that has left the bus stays in quarantine: exit 125. One of an earlier boot is forgotten."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr("lab.guest.vfio.devices.Host.write", lambda self, path, text: None)
    assert lab("vfio", "restore").stdout == "nothing is taken\n"
    entry = journal.new_entry(NOWHERE, "amdgpu", "", "user")
    journal.write(entry)
    said = lab("vfio", "restore")
    assert (said.code, said.stdout) == (125, f"{NOWHERE}: in quarantine: it is no longer on the PCI bus\n")
    journal.write(entry.model_copy(update={"boot_id": "an earlier one"}))
    told = f"{NOWHERE}: the host has been booted since, and drivers were bound anew\n"
    assert lab("vfio", "restore", NOWHERE).stdout == told
