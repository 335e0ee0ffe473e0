# SPDX-License-Identifier: GPL-2.0-or-later
"""`lab run` for a caller that asks for one trial after the other, such as a test runner."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence

from lab.campaign.execute import Campaign, missing, run_campaign
from lab.guest.prepare import Bench
from lab.kernel.obtain import obtain
from lab.results.models import KernelRecord, PlannedTrial, Trial, Verdict
from lab.results.runfolder import RunFolder, read_record
from lab.spec.catalog import Catalog
from lab.spec.models import Case
from lab.workflow.campaigns import Options, conclude, new_record, note_interruption, open_campaign

ROLE = "kernel"


class CaseSession:
    """One run folder, held from `start` to `finish`; its trials are run when they are asked for."""

    def __init__(self, run: RunFolder, campaign: Campaign, held: contextlib.ExitStack) -> None:
        self.run = run
        self._campaign = campaign
        self._held = held
        self._plan = {(planned.case, planned.machine): planned for planned in run.read().plan}

    @classmethod
    def start(
        cls, catalog: Catalog, wanted: Sequence[tuple[Case, str]], kernel: str, options: Options
    ) -> CaseSession:
        """Get the kernel and make the run folder; `wanted` are the cases, each with a machine.

        Raises LabError if the kernel cannot be had or nothing can be booted here.
        """
        bench = Bench.set_up()
        kernels = {ROLE: obtain(kernel, with_build=False)}
        cases = {case.name: case for case, _ in wanted}
        record = new_record("run", kernel, catalog, list(cases.values()), (ROLE,), options)
        chosen = {(case.name, machine) for case, machine in wanted}
        plan = _only(record.plan, chosen)
        run = RunFolder.create(
            record.model_copy(update={"base_source": kernel, "title": kernel, "plan": plan})
        )
        with contextlib.ExitStack() as held:
            held.enter_context(run.owned())
            return cls(run, open_campaign(bench, run, kernels), held.pop_all())
        raise AssertionError("an ExitStack swallows nothing")

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
        """Write the reports; None if trials are missing, so that `lab run --resume` can add them."""
        with self._held:
            if missing(self.run, list(self._plan.values())):
                note_interruption(self.run)
                return None
            return conclude(self.run).verdict


def _only(plan: Iterable[PlannedTrial], chosen: set[tuple[str, str]]) -> tuple[PlannedTrial, ...]:
    return tuple(planned for planned in plan if (planned.case, planned.machine) in chosen)
