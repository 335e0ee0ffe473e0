# SPDX-License-Identifier: GPL-2.0-or-later
"""lab repro"""

from __future__ import annotations

from pathlib import Path

import click
from click.shell_completion import CompletionItem

from lab.cli.options import (
    PLAN_AND_LINES,
    accelerator_option,
    as_json,
    dry_run_option,
    print_json,
    resume_option,
    typed_command,
)

CONFIRM = "confirm"
"""What is meant where no subcommand is named; the word itself is for nobody to type."""


class OrNew(click.Group):
    """`lab repro new ...`, or else names of regressions."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, args if args[:1] == ["new"] else [CONFIRM, *args])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, found, rest = super().resolve_command(ctx, args)
        return "" if name == CONFIRM else name, found, rest  # so that the usage line says what is typed


@click.group("repro", cls=OrNew)
def command() -> None:
    """Confirm reported regressions."""


def _complete_names(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from lab.spec.catalog import Catalog
    from lab.spec.regression_file import NEW, regressions

    return [
        CompletionItem(name) for name in (*regressions(Catalog.load()), NEW) if name.startswith(incomplete)
    ]


@command.command(CONFIRM)
@click.argument("names", nargs=-1, shell_complete=_complete_names)
@click.option("--all", "everything", is_flag=True, help="Every regression of the catalogue.")
@click.option(
    "--versions",
    type=click.Choice(["first", "all"]),
    default="first",
    help="first: one good and one bad kernel of each. all: every one that its file names.",
)
@accelerator_option
@resume_option()
@dry_run_option(PLAN_AND_LINES)
@as_json
def confirm(
    names: tuple[str, ...],
    everything: bool,
    versions: str,
    accel: str,
    resume: str | None,
    dry_run: bool,
    json_wanted: bool,
) -> int:
    """Boot the good and the bad kernel of each regression NAME, and look whether it is as its file states.

    NAME is one of `lab list regressions`, or the path of a YAML file. `lab repro new` writes the skeleton of
    one (`lab repro new --help`).

    Exit codes: 0 confirmed; 1 not confirmed, with what was seen instead; 125 cannot tell.
    """
    from lab.cli.campaign_output import finish, show_plan
    from lab.errors import UserError
    from lab.workflow.campaigns import Options, resumable
    from lab.workflow.repro import preview, repro, start_repro
    from lab.workflow.repro_plan import plan_repro

    if bool(names) + everything + (resume is not None) > 1:
        raise UserError("NAMEs, --all and --resume exclude each other", hint="lab repro --all")
    if resume is not None:
        return finish(repro(resumable(resume, "repro")), json_wanted)
    planned = plan_repro(names, everything=everything, every_version=versions == "all")
    options = Options(accelerator=accel, command=typed_command())  # type: ignore[arg-type]
    if dry_run:
        return show_plan(preview(planned, options), json_wanted)
    return finish(repro(start_repro(planned, options)), json_wanted)


@command.command("new")
@click.argument("name")
@click.option("--good", metavar="KERNEL", default="debian:6.1", help="It worked there (default debian:6.1).")
@click.option(
    "--bad", metavar="KERNEL", default="debian:6.12", help="It is broken there (default debian:6.12)."
)
@click.option("-m", "--machine", default="qxl", help="Where it shows (default qxl; `lab list machines`).")
@click.option("--report", metavar="LINK", default="", help="The mail or the bug that says so.")
@click.option("--in", "folder", type=click.Path(path_type=Path), default=Path(), help="Default: here.")
@as_json
def new(name: str, good: str, bad: str, machine: str, report: str, folder: Path, json_wanted: bool) -> int:
    """Write the skeleton of a regression into a folder NAME: a report, a case, a C program, a README.

    It runs as it is, and is not confirmed: what it looks at is yours to write (docs/report-a-regression.md).
    """
    from lab.spec.loader import shown
    from lab.workflow.new_regression import Wanted, write_skeleton

    made = write_skeleton(Wanted(name, good, bad, machine, report), folder)
    if json_wanted:
        print_json({"folder": str(made.folder), "files": [str(path) for path in made.files]})
        return 0
    for path in made.files:
        click.echo(shown(path))
    click.echo(f"\nlab repro {made.path}", err=True)
    return 0
