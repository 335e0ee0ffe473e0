# SPDX-License-Identifier: GPL-2.0-or-later
"""lab site"""

from __future__ import annotations

from pathlib import Path

import click

from lab.cli.options import as_json, print_json


@click.command("site")
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--nights", type=click.IntRange(1, 1000), default=14, help="Nights that have pages (default 14)."
)
@as_json
def command(out: Path, nights: int, json_wanted: bool) -> int:
    """Write what came of the nights to the folder OUT, as pages for a browser.

    The matrix of the night, trends, a page for each trial, and the comparison of any two kernels. Open
    OUT/index.html: it needs no server and no network. A site that is there already is replaced.
    """
    from lab.history.passed_over import for_terminal
    from lab.workflow.site import make_site

    site = make_site(out, nights=nights)
    index = site.path / "index.html"
    if json_wanted:
        built = site.built
        told = {"nights": built.nights, "trials": built.trials, "trends": built.trends}
        print_json({"site": str(index), **told, "bytes": site.size, "damaged": built.damaged})
        return 0
    for line in for_terminal(site.built.damaged):
        click.echo(line, err=True)
    click.echo(str(index))
    return 0
