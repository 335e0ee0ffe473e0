# SPDX-License-Identifier: GPL-2.0-or-later
"""`lab run` for a caller that asks for one trial after the other, such as a test runner."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from lab.campaign.execute import Campaign, run_campaign
from lab.guest.prepare import Bench
from lab.kernel.obtain import obtain
from lab.kernel.sources import parse_source
from lab.results.models import KernelRecord, Trial, Verdict
from lab.results.runfolder import RunFolder, read_record
from lab.spec.catalog import Catalog
from lab.spec.models import Case
from lab.workflow.campaigns import (
    Options,
    conclude,
    lab_host,
    new_record,
    note_interruption,
    open_campaign,
)
from lab.workflow.subjects import with_series

ROLE = "kernel"


class CaseSession:
    """One run folder and the trials in its plan. Use `open_session`, which holds the folder."""

    def __init__(self, run: RunFolder, campaign: Campaign) -> None:
        self.run = run
        self._campaign = campaign
        self._plan = {(planned.case, planned.machine): planned for planned in run.read().plan}

    @property
    def kernel(self) -> KernelRecord:
        """The kernel that every trial of the session boots."""
        return self._campaign.kernels[ROLE].record

    def trial(self, case: str, machine: str) -> Trial:
        """Run this case on this machine. Raises Interrupted if the user asked to stop."""
        planned = self._plan[case, machine]
        run_campaign(self._campaign, [planned])
        return read_record(self.run.trial_path(planned.key) / "trial.json", Trial)

    def finish(self) -> Verdict | None:
        """Write the reports; None if planned trials were not run: `lab run --resume` can add them."""
        done = {trial.key for trial in self.run.trials()}
        if all(planned.key in done for planned in self._plan.values()):
            return conclude(self.run).verdict
        note_interruption(self.run)
        return None


@contextlib.contextmanager
def open_session(
    catalog: Catalog, wanted: Sequence[tuple[Case, str]], kernel: str, options: Options
) -> Iterator[CaseSession]:
    """Get the kernel and make the folder of a run of these cases, each on the machine beside it.

    Raises LabError if the kernel cannot be had, or if nothing can be booted here.
    """
    source = str(parse_source(kernel))  # a name that is none is told before anything is set up
    bench = Bench.set_up()
    kernels = {ROLE: obtain(source, with_build=False, kconfig=options.kconfig)}
    cases = {case.name: case for case, _ in wanted}
    record = new_record("run", kernel, catalog, list(cases.values()), (ROLE,), options)
    chosen = {(case.name, machine) for case, machine in wanted}
    plan = tuple(planned for planned in record.plan if (planned.case, planned.machine) in chosen)
    subjects = {ROLE: with_series(source, options.kconfig, ())}
    asked = {"base_source": source, "title": source, "plan": plan, "subjects": subjects}
    run = RunFolder.create(record.model_copy(update=asked))
    with run.owned(), lab_host(bench, run) as host:
        yield CaseSession(run, open_campaign(bench, run, kernels, host))
