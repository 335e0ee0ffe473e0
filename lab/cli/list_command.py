# SPDX-License-Identifier: GPL-2.0-or-later
"""lab list"""

from __future__ import annotations

from collections.abc import Sequence

import click

from lab.cli.options import as_json, print_json

Rows = list[dict[str, object]]


@click.command("list")
@click.argument("what", type=click.Choice(["cases", "machines", "kernels", "runs", "regressions"]))
@click.option("--available", is_flag=True, help="kernels: of every suite of the mirror.")
@as_json
def command(what: str, available: bool, json_wanted: bool) -> int:
    """List cases, machine presets, kernels (the packages that can be had), runs or regressions.

    Kernels are those of the suites that apt is configured with; with --available, of all suites.
    """
    if available and what != "kernels":
        raise click.UsageError("--available is about kernels")
    if what == "kernels":
        rows = _kernels(everywhere=available)
    else:
        lists = {"cases": _cases, "machines": _machines, "runs": _runs, "regressions": _regressions}
        rows = lists[what]()
    if json_wanted:
        print_json(rows)
    else:
        print_rows(rows)
    return 0


def _cases() -> Rows:
    from lab.spec.catalog import Catalog

    catalog = Catalog.load()
    for problem in catalog.problems:
        click.echo(f"lab: {problem}", err=True)
    return [
        {
            "case": name,
            "machines": " ".join(case.machines),
            "about": case.memory_manager or "any",
            "title": case.title,
        }
        for name, case in sorted(catalog.cases.items())
    ]


def _machines() -> Rows:
    from lab.spec.catalog import Catalog

    return [
        {"machine": name, "gpus": " ".join(gpu.device for gpu in machine.graphics), "title": machine.title}
        for name, machine in sorted(Catalog.load().machines.items())
    ]


def _kernels(*, everywhere: bool) -> Rows:
    from lab.kernel.archive import available

    return [kernel.row() for kernel in available(everywhere=everywhere)]


def _regressions() -> Rows:
    from lab.errors import SpecError
    from lab.spec.catalog import Catalog
    from lab.spec.regression_file import load_regression, regressions

    catalog = Catalog.load()
    rows: Rows = []
    for name, path in regressions(catalog).items():
        try:
            one = load_regression(path, catalog).regression
        except SpecError as error:
            click.echo("\n".join(f"lab: {problem}" for problem in error.problems), err=True)
            continue
        rows.append(
            {
                "regression": name,
                "kind": one.report.kind,
                "good": one.good[0].label,
                "bad": one.bad[0].label,
                "case": one.case,
                "title": one.title,
            }
        )
    return rows


def _runs() -> Rows:
    from lab.errors import InfraError
    from lab.results.runfolder import all_runs

    rows: Rows = []
    for run in all_runs():
        try:
            record = run.read()
        except InfraError as error:
            click.echo(f"lab: {error.message}", err=True)
            continue
        state = str(record.verdict.verdict) if record.verdict else ("" if record.finished else "unfinished")
        rows.append(
            {"run": record.id, "verdict": state, "trials": len(record.plan), "title": record.title[:60]}
        )
    return rows


def print_rows(rows: Sequence[dict[str, object]]) -> None:
    """Columns as wide as their widest cell, the last one open."""
    if not rows:
        click.echo("none", err=True)
        return
    names = list(rows[0])
    table = [names, *([str(row[name]) for name in names] for row in rows)]
    widths = [max(len(line[column]) for line in table) for column in range(len(names))]
    for line in table:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
