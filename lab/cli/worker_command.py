# SPDX-License-Identifier: GPL-2.0-or-later
"""lab worker"""

from __future__ import annotations

from pathlib import Path

import click

from lab.cli.options import as_json, print_json, scheduler_option, tls_options


@click.command("worker")
@scheduler_option
@click.option("--name", help="Of this slot, unlike any other's (default: host and process id).")
@click.option("--resources", default="", metavar="TAGS", help="kvm=1,memory=4096,...: over what is found.")
@click.option("--host", help="The address to listen on (default: the one that reaches the scheduler).")
@click.option("--store-limit", type=click.IntRange(1, 100_000), default=20, show_default=True, help="GiB.")
@click.option("--probe", is_flag=True, help="Print the tags that this host would offer, and end.")
@tls_options
@as_json
def command(
    scheduler: str,
    name: str | None,
    resources: str,
    host: str | None,
    store_limit: int,
    probe: bool,
    tls_ca: Path | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    json_wanted: bool,
) -> int:
    """Be one slot of a cluster: run one trial at a time (docs/cluster.md). Runs until it is stopped.

    What this host has (KVM, devices, memory) is found by trying.
    """
    from lab.cluster.versions import require_distributed
    from lab.workflow.worker import Asked, probe_host, serve

    asked = Asked(scheduler, name, resources, host, store_limit << 30, tls_ca, tls_cert, tls_key)
    if probe:
        tags, lacking = probe_host(asked)
        if json_wanted:
            print_json({"resources": tags, "lacking": lacking})
        else:
            for tag, amount in sorted(tags.items()):
                click.echo(f"{tag}={amount:.0f}")
            for why in lacking:
                click.echo(f"lab: {why}", err=True)
        return 0
    require_distributed()
    serve(asked)
    return 0
