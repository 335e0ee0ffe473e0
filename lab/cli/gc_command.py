# SPDX-License-Identifier: GPL-2.0-or-later
"""lab gc"""

from __future__ import annotations

import click

from lab.cli.options import as_json, print_json


@click.command("gc")
@click.option(
    "--days", type=click.FloatRange(0), default=30.0, help="Keep what was used in the last DAYS (default 30)."
)
@click.option(
    "--all", "everything", is_flag=True, help="All caches as well; the next run fetches and builds anew."
)
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@as_json
def command(days: float, everything: bool, dry_run: bool, json_wanted: bool) -> int:
    """Remove old runs, caches that nothing has used, and what killed labs left behind."""
    from lab.workflow.collect import find_garbage, remove

    garbage = find_garbage(days=days, everything=everything)
    freed = sum(item.size for item in garbage) if dry_run else remove(garbage)
    if json_wanted:
        print_json({"removed": [str(item.path) for item in garbage], "bytes": freed, "dry_run": dry_run})
        return 0
    for item in garbage:
        click.echo(f"{item.size / 1e6:10.1f} MB  {item.path}  ({item.why})")
    click.echo(f"{freed / 1e6:10.1f} MB  {'would be freed' if dry_run else 'freed'}")
    return 0
