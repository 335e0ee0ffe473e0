# SPDX-License-Identifier: GPL-2.0-or-later
"""lab vfio"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lab.cli.options import as_json, print_json

if TYPE_CHECKING:
    from lab.guest.vfio.obstacles import Obstacle
    from lab.workflow.vfio import Offer


@click.group("vfio")
def command() -> None:
    """Give a device of this host to guests, and get it back (docs/vfio.md).

    A run takes and returns its device by itself. `bind` takes one until `restore`, such as the sound function
    of a GPU, which must not stay with the host.
    """


@command.command("list")
@as_json
def list_devices(json_wanted: bool) -> int:
    """List devices with their IOMMU groups, drivers and ways to reset, and what stands in the way."""
    from lab.cli.list_command import print_rows
    from lab.guest.vfio.obstacles import not_root
    from lab.workflow.vfio import offers

    found = offers()
    if json_wanted:
        print_json([_row(offer) | {"obstacles": [str(one) for one in offer.obstacles]} for offer in found])
        return 0
    print_rows([_row(offer) for offer in found])
    several: dict[Obstacle, list[str]] = {}
    for offer in found:
        for obstacle in offer.obstacles:
            several.setdefault(obstacle, []).append(offer.device.address)
    for obstacle, addresses in several.items():
        click.echo(f"\n{', '.join(addresses)}: {obstacle.text}\n  -> {obstacle.hint}")
    for obstacle in not_root():
        click.echo(f"lab: {obstacle}; who has a device open was asked of own processes only", err=True)
    return 0


def _row(offer: Offer) -> dict[str, object]:
    device = offer.device
    return {
        "address": device.address,
        "device": device.ids,
        "kind": device.what,
        "group": "none" if device.group is None else str(device.group),
        "driver": device.driver or "none",
        "reset": " ".join(device.resets) or "none",
        "state": offer.state,
    }


@command.command()
@click.argument("devices", nargs=-1, required=True, metavar="ADDRESS...")
@click.option("--without-reset", is_flag=True, help="Also devices that the kernel cannot reset.")
def bind(devices: tuple[str, ...], without_reset: bool) -> int:
    """Take devices from their drivers, all or none, until `lab vfio restore`.

    ADDRESS is a PCI address, or vendor:device where there is one such device.
    """
    from lab.guest.vfio.hold import bind as take_all
    from lab.guest.vfio.hold import sweep

    sweep()
    taken = take_all(devices, without_reset=without_reset)
    for device in taken:
        click.echo(f"{device.address}: taken from {device.driver or 'no driver'}, now vfio-pci's")
    if not taken:
        click.echo("vfio-pci has them already")
    return 0


@command.command()
@click.argument("device", required=False, default="", metavar="[ADDRESS]")
def restore(device: str) -> int:
    """Give back what labs have taken: one device, or all. Ends with 125 if one does not come back."""
    from lab.guest.vfio.hold import restore as give_back_all

    done = give_back_all(device)
    if not done:
        click.echo("nothing is taken")
    for entry, left in done:
        if left is None:
            click.echo(f"{entry.address}: back with {entry.driver or 'no driver'}")
        else:
            click.echo(f"{entry.address}: {left.text}")
    return 125 if any(left is not None and left.lost for _, left in done) else 0
