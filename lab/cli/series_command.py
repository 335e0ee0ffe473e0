# SPDX-License-Identifier: GPL-2.0-or-later
"""lab series"""

from __future__ import annotations

import dataclasses

import click

from lab.cli.options import as_json, print_json


@click.group("series")
def command() -> None:
    """The kernel series that ship with the lab."""


@command.command("list")
@as_json
def list_series(json_wanted: bool) -> int:
    """List the shipped series, what each does, and which releases it is for."""
    from lab.cli.list_command import print_rows
    from lab.workflow.series import offered_series

    rows: list[dict[str, object]] = []
    for offered in offered_series():
        about = offered.index.one(offered.mbox)
        rows.append({"series": offered.name, "versions": " ".join(about.versions), "does": about.does})
    if json_wanted:
        print_json(rows)
    else:
        print_rows(rows)
    return 0


@command.command("check")
@click.argument("names", nargs=-1)
@as_json
def check(names: tuple[str, ...], json_wanted: bool) -> int:
    """Apply and build the named series (default: all), each on each of its releases. Boots nothing.

    Ends with 1 if a series fails, with 125 if one could not be tried.
    """
    from lab.workflow.series import check_series

    found = []
    for checked in check_series(names):
        found.append(checked)
        if not json_wanted:
            where = checked.kernel or checked.version
            click.echo(f"{checked.result:12} {checked.series} on {where}: {checked.detail}")
    if json_wanted:
        print_json([dataclasses.asdict(checked) for checked in found])
    results = {checked.result for checked in found}
    return 1 if "fails" in results else 125 if "cannot tell" in results else 0
