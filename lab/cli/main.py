# SPDX-License-Identifier: GPL-2.0-or-later
"""The `lab` command: one short module per subcommand, imported only when it is used."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import click

from lab import __version__
from lab.errors import Interrupted, LabError, UserError, did_you_mean
from lab.waiting import stop_requested

COMMANDS = {
    "validate": "Is the kernel with this series better or worse than without it?",
    "run": "Run cases on a kernel, or one command in a guest (run -- COMMAND).",
    "bisect": "Which version, commit or patch did it? Boots what lies between good and bad.",
    "answer": "Measure the answers to a topic's question and write them into its README.",
    "repro": "Confirm reported regressions: boot what was good and what is bad (repro new: a skeleton).",
    "nightly": "Run a matrix of kernels, machines and cases, and tell what broke.",
    "shell": "Open a shell in a guest; --gdb waits for a debugger.",
    "compare": "Compare the kernels of a run, or of two runs.",
    "report": "Write a run's reports again, from its folder alone.",
    "regressions": "What is new in a night: what broke, what costs more, with the commands that show it.",
    "site": "Write what came of the nights as pages: matrix, trends, trials, comparisons.",
    "record": "Record what programs do with BOs, frame by frame, as a trace.",
    "replay": "Play such a trace on a kernel.",
    "vfio": "Give a device of this host to guests, and get it back.",
    "scheduler": "Hand out trials to the workers of a cluster.",
    "worker": "Be one slot of a cluster: run the trials that its scheduler hands out.",
    "ci": "Write a GitLab pipeline that runs a matrix.",
    "list": "List cases, machines, kernels or runs.",
    "series": "List the shipped kernel series, or check that they still apply and build.",
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

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        with _reader_may_leave():  # --help and --version print here
            return super().make_context(*args, **kwargs)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            raise UserError(f"there is no command {args[0]}", hint=did_you_mean(args[0], COMMANDS))
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        from lab.files import named_disk_errors

        with _reader_may_leave(), named_disk_errors(Path("the lab's folders")):
            return super().invoke(ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@contextlib.contextmanager
def _reader_may_leave() -> Iterator[None]:
    """End as by SIGPIPE when the reader of our stdout goes away, as in `lab list cases | head -1`.

    Inside click, because click itself would end with 1, which says that a series is bad.
    """
    try:
        yield
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise click.exceptions.Exit(128 + signal.SIGPIPE) from None


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
    _stop_on_signals()
    sys.exit(run_command_line())


def run_command_line() -> int:
    """Do what sys.argv says; returns the exit code."""
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
    return result if isinstance(result, int) else 0


def _stop_on_signals() -> None:
    """The first ^C or SIGTERM asks every wait to stop in order; a second one ends the process now.

    Python runs signal handlers in the main thread and only between two of its steps: one that arrives just
    before a wait without end is not heard until that wait is over. So a thread listens to the descriptor that
    the signal itself writes to.
    """
    heard, told = os.pipe()
    os.set_blocking(told, False)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda _number, _frame: None)
    signal.set_wakeup_fd(told)
    threading.Thread(target=_listen, args=(heard, _terminal()), daemon=True, name="signals").start()


def _listen(heard: int, restore: Callable[[], None]) -> None:
    while os.read(heard, 1):
        if stop_requested.is_set():
            restore()
            os._exit(Interrupted.exit_code)  # what we started dies with us
        stop_requested.set()


def _terminal() -> Callable[[], None]:
    """How to make the terminal again what it is now: neither raw nor without a cursor."""
    try:
        before = termios.tcgetattr(0)
    except termios.error:  # stdin is no terminal
        return lambda: None

    def restore() -> None:
        termios.tcsetattr(0, termios.TCSANOW, before)
        os.write(2, b"\x1b[?25h" if sys.stderr.isatty() else b"")

    return restore
