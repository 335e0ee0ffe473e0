# SPDX-License-Identifier: GPL-2.0-or-later
"""lab scheduler"""

from __future__ import annotations

from pathlib import Path

import click

from lab.cli.options import tls_options


@click.command("scheduler")
@click.option("--host", required=True, help="The address to listen on, and no other: 10.0.0.1.")
@click.option("--port", type=click.IntRange(0, 65535), default=8786, show_default=True, help="0: any.")
@click.option(
    "--lost-after",
    type=click.IntRange(5, 3600),
    default=60,
    show_default=True,
    help="Seconds without a word after which a worker is dead.",
)
@tls_options
def command(
    host: str,
    port: int,
    lost_after: int,
    tls_ca: Path | None,
    tls_cert: Path | None,
    tls_key: Path | None,
) -> int:
    """Hand out trials to `lab worker`s (docs/cluster.md). Runs until it is stopped.

    Whoever reaches a scheduler without TLS can run programs on all its workers: private network only.
    """
    from lab import log
    from lab.cluster.address import Tls, is_loopback
    from lab.cluster.serve import run_scheduler
    from lab.cluster.versions import require_distributed

    require_distributed()
    tls = Tls.of(tls_ca, tls_cert, tls_key)
    if tls is None and not is_loopback(host):
        log.info(f"without TLS: whoever reaches {host}:{port} can run programs on all workers")
    run_scheduler(host, port, tls, lost_after)
    return 0
