# SPDX-License-Identifier: GPL-2.0-or-later
"""lab regressions"""

from __future__ import annotations

from pathlib import Path

import click

from lab.cli.options import as_json, run_argument


@click.command("regressions")
@run_argument(required=False)
@click.option(
    "--mail",
    "mail_folder",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="OUT",
    help="Write a mail for each pair of kernels into this folder; nothing is sent.",
)
@click.option(
    "--propose-flakes",
    is_flag=True,
    help="Print lines for expectations/flakes.txt instead: what fails now and then on one kernel.",
)
@as_json
def command(run: str | None, mail_folder: Path | None, propose_flakes: bool, json_wanted: bool) -> int:
    """What is new in a night (default: the newest) since the one before it.

    Newly broken and mended cells, changes of metrics and unknown complaints of kernels, each with the two
    kernels to compare and the command that shows it again. Exit code 1 if somebody must look at it, 0 if not,
    125 without an earlier night.
    """
    from lab.cli.options import print_json
    from lab.history.flakes import proposal
    from lab.history.news import news_json, news_text
    from lab.workflow.regressions import flaky, news, range_of

    if propose_flakes:
        found = flaky(run)
        text = proposal(found, range_of) if found else ""
        if json_wanted:
            print_json({"flaking": [one.failed.cell.label for one in found], "proposal": text})
        else:
            click.echo(text or "# no cell fails now and then", nl=not text)
        return 0
    told = news(run)
    if json_wanted:
        print_json(news_json(told))
    else:
        click.echo(news_text(told), nl=False)
    if mail_folder is not None:
        from lab.workflow.regression_mails import write_mails

        for path in write_mails(told, mail_folder):
            click.echo(f"written: {path}", err=True)
    return told.exit_code
