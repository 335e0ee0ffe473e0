# SPDX-License-Identifier: GPL-2.0-or-later
"""Options that several commands share, and how results reach stdout."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

F = TypeVar("F", bound=Callable[..., Any])

PLAN_AND_LINES = "Print the plan and the QEMU lines; boot nothing."
"""What --dry-run does where trials are known beforehand."""


def print_json(value: object) -> None:
    """One JSON object on stdout."""
    click.echo(json.dumps(value, indent=2))


def typed_command() -> tuple[str, ...]:
    """What the user typed after `lab`, for the run's record."""
    return tuple(sys.argv[1:])


def _complete_cases(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from lab.spec.catalog import Catalog

    return [CompletionItem(name) for name in Catalog.load().cases if name.startswith(incomplete)]


def _complete_machines(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from lab.spec.catalog import Catalog

    return [CompletionItem(name) for name in Catalog.load().machines if name.startswith(incomplete)]


def complete_runs(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from lab.results.runfolder import all_runs

    names = ["latest", *(run.path.name for run in all_runs())]
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def as_json(function: F) -> F:
    return click.option("--json", "json_wanted", is_flag=True, help="One JSON object on stdout.")(function)


def run_argument(name: str = "run", *, required: bool = True) -> Callable[[F], F]:
    return click.argument(name, required=required, shell_complete=complete_runs)


def cases_argument(function: F) -> F:
    return click.argument("cases", nargs=-1, shell_complete=_complete_cases)(function)


def case_argument(function: F) -> F:
    """At most one CASE."""
    return click.argument("case", required=False, shell_complete=_complete_cases)(function)


def machine_option(*, multiple: bool) -> Callable[[F], F]:
    text = "Machine preset" + (" (repeatable; default: the case's own)." if multiple else ".")
    default = () if multiple else "qxl"
    return click.option(
        "-m", "--machine", multiple=multiple, default=default, shell_complete=_complete_machines, help=text
    )


def accelerator_option(function: F) -> F:
    return click.option(
        "--accel",
        type=click.Choice(["auto", "kvm", "tcg"]),
        default="auto",
        help="auto: KVM only if this kernel has been seen to boot under it here.",
    )(function)


def executor_option(function: F) -> F:
    return click.option(
        "--executor",
        type=click.Choice(["auto", "local", "nested", "dask"]),
        default="auto",
        help="nested: in a guest that plays the lab host. auto: there, if a case needs what this host lacks. "
        "dask: on the workers of --scheduler.",
    )(function)


def scheduler_option(function: F) -> F:
    return click.option(
        "--scheduler",
        metavar="ADDRESS",
        envvar="LAB_SCHEDULER",
        default="",
        help="tcp://10.0.0.1:8786 or tls://... (docs/cluster.md; default: $LAB_SCHEDULER).",
    )(function)


def host_kernel_option(function: F) -> F:
    return click.option(
        "--host-kernel",
        metavar="KERNEL",
        default="stock",
        help="Of the nested lab host (default: stock; a tree is built with lean+drm+kvm-host).",
    )(function)


def tls_options(function: F) -> F:
    """--tls-ca, --tls-cert, --tls-key: PEM files."""
    for name, what in (("key", "our key"), ("cert", "our certificate"), ("ca", "who signed them all")):
        function = click.option(
            f"--tls-{name}",
            type=click.Path(path_type=Path),
            envvar=f"LAB_TLS_{name.upper()}",
            help=f"PEM file: {what} (default: $LAB_TLS_{name.upper()}).",
        )(function)
    return function


def kconfig_option(function: F) -> F:
    return click.option(
        "--kconfig", metavar="NAMES", default="lean+drm", help="What a tree is built with (default lean+drm)."
    )(function)


def resume_option(what: str = "run") -> Callable[[F], F]:
    return click.option(
        "--resume", metavar="RUN", help=f"Go on with an interrupted {what}.", shell_complete=complete_runs
    )


def dry_run_option(text: str) -> Callable[[F], F]:
    return click.option("--dry-run", is_flag=True, help=text)


def campaign_options(function: F) -> F:
    """--machine, --clock, --accel, --executor, --scheduler, --host-kernel, --trials, --kconfig, --resume,
    --dry-run and --json."""
    decorators = [
        machine_option(multiple=True),
        click.option(
            "--clock",
            type=click.Choice(["virtual", "real"]),
            default="virtual",
            help="virtual: exact guest instructions, anywhere. real: ns; judged under KVM only.",
        ),
        accelerator_option,
        executor_option,
        scheduler_option,
        host_kernel_option,
        click.option("--trials", type=click.IntRange(1, 1000), default=1, help="Boots per kernel and case."),
        kconfig_option,
        resume_option(),
        dry_run_option(PLAN_AND_LINES),
        as_json,
    ]
    for decorate in reversed(decorators):
        function = decorate(function)
    return function
