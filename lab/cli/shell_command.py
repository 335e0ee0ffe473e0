# SPDX-License-Identifier: GPL-2.0-or-later
"""lab shell"""

from __future__ import annotations

import click

from lab.cli.options import accelerator_option, machine_option


@click.command("shell")
@click.option(
    "-k", "--kernel", metavar="KERNEL", default="stock", help="stock, debian:6.12, ... (default: stock)"
)
@machine_option(multiple=False)
@accelerator_option
@click.option(
    "--gdb", is_flag=True, help="Wait for gdb before the first instruction; prints the line to type."
)
@click.option("--dry-run", is_flag=True, help="Print the QEMU line; boot nothing.")
def command(kernel: str, machine: str, accel: str, gdb: bool, dry_run: bool) -> int:
    """Boot a guest and open a shell in it. The guest ends with the shell; nothing in it is kept."""
    from lab.cli.guest_io import interactive
    from lab.workflow.guests import Wanted

    return interactive(Wanted(kernel, machine, accel, gdb), dry_run=dry_run)  # type: ignore[arg-type]
