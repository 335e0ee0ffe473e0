# SPDX-License-Identifier: GPL-2.0-or-later
"""Cases as test items. A pytest session is one run of `lab run`, and each item one of its trials."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.errors import Interrupted, LabError
from lab.guest.accelerator import Policy
from lab.kernel.obtain import KCONFIG
from lab.kernel.sources import default_source
from lab.report.clean import last_lines
from lab.results.models import Clock, Outcome, Trial
from lab.spec.catalog import Catalog
from lab.spec.models import Case
from lab.waiting import stop_requested
from lab.workflow.campaigns import Options
from lab.workflow.session import CaseSession, open_session

SHOWN_LINES = 10


class CaseFile(pytest.File):
    """One YAML file: an item for each machine."""

    def collect(self) -> Iterator[pytest.Item]:
        runner = CaseRunner.of(self.config)
        try:
            case, machines = runner.case_at(self.path)
        except LabError as error:
            raise self.CollectError(str(error)) from error
        for machine in machines:
            yield CaseItem.from_parent(self, name=f"{case.name}[{machine}]", case=case, machine=machine)


class CaseItem(pytest.Item):
    """One case on one machine."""

    trial: Trial

    def __init__(self, *, case: Case, machine: str, **kwargs: object) -> None:
        super().__init__(**kwargs)  # type: ignore[arg-type]
        self.case = case
        self.machine = machine

    def setup(self) -> None:
        """Run the trial. Here and not in `runtest`, because what fails here is an error and no failure in
        pytest's words and in JUnit's: it says nothing about the kernel."""
        runner = CaseRunner.of(self.config)
        try:
            session = runner.started([item for item in self.session.items if isinstance(item, CaseItem)])
            with _stopping_in_order():
                self.trial = session.trial(self.case.name, self.machine)
        except LabError as error:
            pytest.fail(f"ERROR: the lab could not run this: {error}", pytrace=False)
        self.user_properties += _properties(session, self.trial)
        if self.trial.outcome is Outcome.ERROR:
            pytest.fail(_story(session, self.trial), pytrace=False)

    def runtest(self) -> None:
        """Say how the trial ended."""
        if self.trial.outcome is Outcome.SKIP:
            raise pytest.skip.Exception(self.trial.reason, _use_item_location=True)
        if self.trial.as_expected:
            pytest.xfail(self.trial.reason)
        if self.trial.outcome is not Outcome.PASS:
            session = CaseRunner.of(self.config).started([])
            pytest.fail(_story(session, self.trial), pytrace=False)

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, 0, self.name


class CaseRunner:
    """What the items of one pytest session share; a pytest plugin that is there once a case is collected."""

    NAME = "faultlab-cases"

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._catalog = Catalog.load()
        self._paths: dict[str, Path] = {}
        self._held = contextlib.ExitStack()
        self._session: CaseSession | None = None
        self._failure: LabError | None = None
        self._last_words: list[str] = []

    @classmethod
    def of(cls, config: pytest.Config) -> CaseRunner:
        known = config.pluginmanager.get_plugin(cls.NAME)
        if not isinstance(known, CaseRunner):
            known = cls(config)
            config.pluginmanager.register(known, cls.NAME)
        return known

    def case_at(self, path: Path) -> tuple[Case, tuple[str, ...]]:
        """The case in a file, and its machines. LabError if one of them is wrong."""
        case = self._catalog.case(str(path))
        other = self._paths.setdefault(case.name, path)
        if other != path:
            raise LabError(
                f"{other} and {path} would both be the case {case.name}", hint="rename one of them"
            )
        machines = tuple(dict.fromkeys(self._config.getoption("lab_machine") or case.machines))
        for machine in machines:
            self._catalog.machine(machine)
        return case, machines

    def started(self, items: list[CaseItem]) -> CaseSession:
        """The run, started by the first item. A start that failed is not tried again for each item."""
        if self._failure is not None:
            raise self._failure
        if self._session is None:
            try:
                with _stopping_in_order():
                    self._session = self._start(items)
            except LabError as error:
                self._failure = error
                raise
        return self._session

    def _start(self, items: list[CaseItem]) -> CaseSession:
        asked = self._config.getoption
        kernel: str = asked("lab_kernel") or default_source(self._config.invocation_params.dir)
        machines = tuple(dict.fromkeys(asked("lab_machine") or ()))
        kconfig: str = asked("lab_kconfig") or KCONFIG
        clock = Clock(asked("lab_clock") or "virtual")
        accelerator: Policy = asked("lab_accel") if asked("lab_accel") else "auto"
        # The report's line to repeat the run is one of the lab's, which runs the same trials.
        command = ["run", *dict.fromkeys(_name_for_lab(item.case) for item in items), "--kernel", kernel]
        command += [word for machine in machines for word in ("--machine", machine)]
        command += ["--kconfig", kconfig, "--clock", str(clock), "--accel", accelerator]
        options = Options(
            machines=machines, clock=clock, accelerator=accelerator, kconfig=kconfig, command=tuple(command)
        )
        wanted = [(item.case, item.machine) for item in items]
        return self._held.enter_context(open_session(self._catalog, wanted, kernel, options))

    def pytest_sessionfinish(self) -> None:
        """Write the run's reports."""
        if self._session is None:
            return
        run = self._session.run
        try:
            with self._held:
                verdict = self._session.finish()
        except LabError as error:
            self._last_words = [str(error)]
            return
        if verdict is None:
            self._last_words = [f"not all trials were run; go on with: lab run --resume {run.path.name}"]
        else:
            self._last_words = [f"verdict: {verdict.verdict}"]
        self._last_words += [f"run: {run.path} (report.txt, report.html, junit.xml)"]

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._last_words:
            terminalreporter.section("faultlab")
            for line in self._last_words:
                terminalreporter.write_line(line)


@contextlib.contextmanager
def _stopping_in_order() -> Iterator[None]:
    """While trials run, ^C asks the lab to stop; when it has ended its guests, pytest hears of it as usual.

    Trials run in threads of their own, which a KeyboardInterrupt in the main thread would wait for.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, lambda *_: stop_requested.set())
    try:
        with contextlib.suppress(Interrupted):
            yield
    finally:
        signal.signal(signal.SIGINT, before)
        asked = stop_requested.is_set()
        stop_requested.clear()
    if asked:
        raise KeyboardInterrupt


def _name_for_lab(case: Case) -> str:
    return str(case.path) if case.name.startswith("local/") else case.name


def _properties(session: CaseSession, trial: Trial) -> list[tuple[str, object]]:
    """For JUnit: all that tells this trial from another one of the same case."""
    about: dict[str, object] = {
        "kernel": session.kernel.name,
        "machine": trial.machine,
        "clock": str(trial.clock),
        "outcome": str(trial.outcome),
        "trial": str(session.run.trial_path(trial.key)),
    }
    if trial.environment is not None:
        about |= {"clock": str(trial.environment.clock), "accelerator": trial.environment.accelerator}
    return list(about.items())


def _story(session: CaseSession, trial: Trial) -> str:
    """What a reader wants to know of a trial that did not pass."""
    folder = session.run.trial_path(trial.key)
    blame = "the lab failed, which says nothing about the kernel: " if trial.outcome is Outcome.ERROR else ""
    lines = [
        f"{trial.outcome} at stage {trial.stage}: {blame}{trial.reason}",
        f"kernel {session.kernel.name}, machine {trial.machine}, clock {trial.clock}",
    ]
    console = last_lines(folder / "console.log", lines=SHOWN_LINES, width=160)
    if console:
        lines += ["last lines of the console:", *(f"  {line}" for line in console)]
    return "\n".join([*lines, f"trial: {folder}"])
