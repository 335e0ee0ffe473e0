# SPDX-License-Identifier: GPL-2.0-or-later
"""The `lab` command: one short module per subcommand, imported only when it is used."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

import click

from lab import __version__
from lab.errors import LabError, UserError, did_you_mean
from lab.waiting import stop_requested

COMMANDS = {
    "validate": "Is the kernel with this series better or worse than without it?",
    "run": "Run cases on a kernel, or one command in a guest (run -- COMMAND).",
    "shell": "Open a shell in a guest; --gdb waits for a debugger.",
    "compare": "Compare the kernels of a run, or of two runs.",
    "report": "Write a run's reports again, from its folder alone.",
    "list": "List cases, machines, kernels or runs.",
    "doctor": "Say what this host can do, and what each missing thing costs.",
    "gc": "Free the disk of what no run needs.",
    "schema": "Print the JSON schemas of the YAML files.",
    "completion": "Print the shell's completion script.",
}


class LazyGroup(click.Group):
    """Knows its commands' names and help without importing them: `lab --help` answers at once."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"lab.cli.{cmd_name}_command").command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            raise UserError(f"there is no command {args[0]}", hint=did_you_mean(args[0], COMMANDS))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="lab")
@click.option("-q", "--quiet", is_flag=True, help="No progress on stderr.")
def lab(quiet: bool) -> None:
    """A test lab for Linux graphics-memory code: boots kernels, counts faults, compares with evidence.

    Exit codes: 0 pass, 1 fail or regression, 2 usage, 125 cannot tell, 130 interrupted.
    """
    from lab import log

    log.configure(quiet=quiet)


def main() -> NoReturn:
    """Run the command line; every LabError becomes its sentence on stderr and its exit code."""
    # One BLAS thread: scipy would start one per core for arithmetic on a dozen numbers.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    with _stopping_on_signals():
        code = _run()
    sys.stdout.flush()
    sys.exit(code)


def _run() -> int:
    try:
        result = lab.main(standalone_mode=False, prog_name="lab")
    except LabError as error:
        click.echo(f"lab: {error}", err=True)
        return error.exit_code
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except click.ClickException as error:
        error.show()
        return UserError.exit_code
    except (click.Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:
        # The reader of our stdout went away; nothing is wrong and nobody wants to hear of it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return result if isinstance(result, int) else 0


@contextlib.contextmanager
def _stopping_on_signals() -> Iterator[None]:
    """The first ^C or SIGTERM asks every wait to stop in order; a second one stops now."""

    def ask(number: int, _frame: FrameType | None) -> None:
        if stop_requested.is_set():
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        stop_requested.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, ask)
    yield
