# SPDX-License-Identifier: GPL-2.0-or-later
"""lab shell"""

from __future__ import annotations

from pathlib import Path

import click

from lab.cli.options import accelerator_option, kconfig_option, machine_option


@click.command("shell")
@click.option(
    "-k", "--kernel", metavar="KERNEL", help="As for `lab run` (default: the tree we are in, else stock)."
)
@machine_option(multiple=False)
@accelerator_option
@kconfig_option
@click.option(
    "--gdb", is_flag=True, help="Wait for gdb before the first instruction; prints the line to type."
)
@click.option("--dry-run", is_flag=True, help="Print the QEMU line; boot nothing.")
def command(kernel: str | None, machine: str, accel: str, kconfig: str, gdb: bool, dry_run: bool) -> int:
    """Boot a guest and open a shell in it. The guest ends with the shell; nothing in it is kept."""
    from lab.cli.guest_io import interactive
    from lab.kernel.sources import default_source
    from lab.workflow.guests import Wanted

    kernel = kernel or default_source(Path.cwd())
    wanted = Wanted(kernel, machine, accel, gdb, kconfig)  # type: ignore[arg-type]
    return interactive(wanted, dry_run=dry_run)
