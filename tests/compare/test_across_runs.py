# SPDX-License-Identifier: GPL-2.0-or-later
"""`lab compare A B`: what two runs that know nothing of each other may be held against each other for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import stand_ins
from made_up import ENVIRONMENT, plan, record, trial

from lab.report.findings import Findings
from lab.results.models import Clock, Conclusion, Decision, Outcome
from lab.results.runfolder import RunFolder, write_record
from lab.workflow.compare import compare_runs

FIRST, SPARSE = "prefault/first-touch", "prefault/sparse-touch"


def run_of(
    path: Path,
    *cells: tuple[str, Clock],
    total: float = 1000.0,
    boots: int = 1,
    outcome: Outcome = Outcome.PASS,
    debug: tuple[str, ...] = (),
    **environment: Any,
) -> str:
    """A run of one kernel, whose first case ends as told."""
    kernel = stand_ins.kernel_record(id=path.name * 12, build_id=path.name, debug_options=debug)
    planned = tuple(
        one.model_copy(
            update={"number": number, "key": f"{number}-{clock}", "clock": clock, "repeat": repeat}
        )
        for number, (repeat, (case, clock)) in enumerate(
            ((repeat, cell) for repeat in range(1, boots + 1) for cell in cells), 1
        )
        for one in plan((case, "kernel"))
    )
    run = RunFolder(path)
    run.path.mkdir()
    (run.path / "trials").mkdir()
    run.write(record(planned, id=path.name, workflow="run", kernels={"kernel": kernel.id}))
    run.add_kernel(kernel)
    for one in planned:
        more: dict[str, Any] = {"outcome": outcome, "reason": "it did"} if one.case == cells[0][0] else {}
        where = ENVIRONMENT.model_copy(update={"clock": one.clock, **environment})
        numbers = {"faults": 1.0, "total": total + one.repeat, "max": 10.0}
        with run.new_trial(one.key) as folder:
            ended = trial(one, numbers, kernel=kernel.id, environment=where, **more)
            write_record(folder / "trial.json", ended)
    return str(path)


def said(findings: Findings) -> str:
    return "; ".join(findings.verdict.reasons)


def test_the_same_conditions_are_judged(tmp_path: Path) -> None:
    """The figures of two runs, on the clock that repeats itself."""
    first, second = (run_of(tmp_path / name, (FIRST, Clock.VIRTUAL)) for name in "ab")
    assert compare_runs(first, second).verdict.verdict is Conclusion.PASS
    worse = run_of(tmp_path / "c", (FIRST, Clock.VIRTUAL), total=1200.0)
    assert compare_runs(first, worse).verdict.verdict is Conclusion.FAIL


def test_a_case_on_another_clock_stands_against_nothing(tmp_path: Path) -> None:
    """However it ended there: it is named, and not counted as one that passed on both."""
    first = run_of(tmp_path / "a", (FIRST, Clock.VIRTUAL), (SPARSE, Clock.VIRTUAL))
    cells = ((FIRST, Clock.REAL), (SPARSE, Clock.VIRTUAL))
    for name, outcome in (("b", Outcome.PASS), ("c", Outcome.CRASH)):
        found = compare_runs(first, run_of(tmp_path / name, *cells, outcome=outcome))
        assert found.verdict.verdict is Conclusion.INCONCLUSIVE
        assert f"{FIRST} on qxl: on the real clock it ran on patched ({outcome}) and not on base" in said(
            found
        )


def test_real_time_of_two_runs_is_no_pair(tmp_path: Path) -> None:
    """A host that is 4 % slower on another day is no slower kernel."""
    first, second = (
        run_of(tmp_path / name, (FIRST, Clock.REAL), total=total, boots=6, accelerator="kvm")
        for name, total in (("a", 1e6), ("b", 1.04e6))
    )
    found = compare_runs(first, second)
    assert found.verdict.verdict is Conclusion.INCONCLUSIVE
    assert "no two boots of base and patched ran as a pair" in said(found)


def test_times_of_debug_kernels_are_not_judged(tmp_path: Path) -> None:
    """As inside one run."""
    first = run_of(tmp_path / "a", (FIRST, Clock.VIRTUAL))
    second = run_of(tmp_path / "b", (FIRST, Clock.VIRTUAL), total=1200.0, debug=("KASAN",))
    found = compare_runs(first, second)
    assert {one.decision for one in found.comparisons if one.unit == "insn"} == {Decision.NOT_JUDGED}
    assert found.verdict.verdict is Conclusion.INCONCLUSIVE


def test_another_machine_is_told(tmp_path: Path) -> None:
    """An edited machine, or another command line: the numbers have two possible causes."""
    argv = ("qemu", "-m", "512M", "-append", "quiet lab.nonce=1", "-add-fd", "fd=8,set=8")
    first = run_of(tmp_path / "a", (FIRST, Clock.VIRTUAL), qemu_argv=argv)
    again = ("qemu", "-m", "512M", "-append", "quiet lab.nonce=2", "-add-fd", "fd=9,set=9")
    second = run_of(tmp_path / "b", (FIRST, Clock.VIRTUAL), qemu_argv=again)
    assert compare_runs(first, second).verdict.verdict is Conclusion.PASS
    for name, word, other in (("c", "512M", "4G"), ("d", "quiet lab.nonce=1", "lab.nonce=1")):
        edited = tuple(other if one == word else one for one in argv)
        found = compare_runs(first, run_of(tmp_path / name, (FIRST, Clock.VIRTUAL), qemu_argv=edited))
        assert found.verdict.verdict is Conclusion.INCONCLUSIVE
        assert "the guest's machine or its command line was not the same" in said(found)
