# SPDX-License-Identifier: GPL-2.0-or-later
"""How long planning a large night takes, and how busy a small one keeps the processors.

    python bench/nightly.py [--cells 10000] [--night] [--cases prefault dma-buf] [--kernels stock debian:6.12]
                            [--json FILE]

Planning is reading a matrix of that many cells, checking it against cases, machines and series, making cells,
builds and trials of it, and foretelling when each would run. Nothing is asked of the archive. Exits 1 if it
takes longer than allowed.

With --night a real night is run, on the virtual clock, in a state folder of its own. From the beginning of
its first trial to the end of its last one, the processor time of the lab and of its guests is held against
what the host has. Beside it stands how busy the host was with whatever ran on it: only on an idle host are
these two the same question.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lab.campaign.cells import Choice, NightPlan, pairs_named, plan_night
from lab.campaign.schedule import Durations, Room, expected_seconds
from lab.host import cpus
from lab.spec.catalog import Catalog
from lab.spec.matrix_file import load_matrix
from lab.spec.series_index import shipped_indexes
from lab.workflow.night_plan import Planned, demands

PLAN_SECONDS = 2.0
"""In which 10,000 cells are to be planned."""

BUSY = 0.9
"""Part of the processors' time that a night is to use."""

ROUNDS = 5
SPDX = "# SPDX-License-Identifier: GPL-2.0-or-later\n"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cells", type=int, default=10_000, help="cells to plan (default 10,000)")
    parser.add_argument("--night", action="store_true", help="run a night as well (minutes)")
    parser.add_argument("--cases", nargs="+", default=["smoke", "prefault", "dma-buf"], metavar="CASE")
    parser.add_argument("--kernels", nargs="+", default=["stock", "debian:6.12"], metavar="KERNEL")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="faultlab-bench-") as folder:
        figures = planning(Path(folder), options.cells)
        if options.night:
            figures |= night(Path(folder), options.kernels, options.cases)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    return int(figures["plan_ratio"] > 1)


def planning(folder: Path, wanted: int) -> dict[str, float]:
    """Seconds for a matrix of at least that many cells: the middle of some rounds, catalog included."""
    matrix, taken, cells = folder / "large.yaml", [], 0
    pairs = sum(len(case.machines) for case in Catalog.load().cases.values()) - 1  # one is excluded
    kernels = [f"git:https://kernel.example/linux.git@v6.{n}" for n in range(-(-wanted // pairs))]
    lines = [f"  - kernel: {name}\n" for name in kernels]
    matrix.write_text(
        SPDX + 'title: large\ncases: ["*"]\nkernels:\n' + "".join(lines) + "priorities:\n"
        "  - {case: prefault/*, priority: 5}\nlimits:\n  - {machine: qxl, timeout: 60}\n"
        "exclude:\n  - {case: test-gpu/stress-long}\n"
    )
    used = []
    for _ in range(ROUNDS):
        begun, own = time.perf_counter(), time.process_time()
        plan, _expected = plan_and_schedule(matrix)
        taken.append(time.perf_counter() - begun)
        used.append(time.process_time() - own)
        cells = len(plan.cells)
    seconds = statistics.median(taken)
    print(
        f"planning {cells:,} cells on {len(plan.subjects):,} kernels: {seconds:.2f} s "
        f"({seconds / PLAN_SECONDS:.2f} of the {PLAN_SECONDS:g} s allowed), "
        f"of which {statistics.median(used):.2f} s of a processor"
    )
    ratio = seconds / PLAN_SECONDS
    return {"cells": cells, "plan_seconds": seconds, "plan_cpu": statistics.median(used), "plan_ratio": ratio}


def plan_and_schedule(matrix: Path) -> tuple[NightPlan, float]:
    """As `lab nightly --dry-run`, but for what the archive and earlier runs are asked."""
    catalog, indexes = Catalog.load(), shipped_indexes()
    loaded = load_matrix(matrix, catalog, indexes)
    chosen = {pair: Choice(pair[0]) for pair in pairs_named(loaded.matrix)}
    plan = plan_night(loaded, chosen, catalog.machines)
    planned = Planned(loaded, plan, catalog.machines, Durations())
    return plan, expected_seconds(demands(planned, "auto", plan.trials), Room(2, 4 << 30))


@dataclass
class Watched:
    """Processor seconds and wall seconds at two moments."""

    own: float = 0.0  # of the lab and of its children that have ended
    host_busy: float = 0.0
    host_all: float = 0.0
    wall: float = 0.0

    @classmethod
    def now(cls) -> Watched:
        used = os.times()
        words = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
        ticks = [int(word) for word in words]
        idle = ticks[3] + ticks[4]
        return cls(
            used.user + used.system + used.children_user + used.children_system,
            sum(ticks) - idle,
            sum(ticks),
            time.monotonic(),
        )


def night(folder: Path, kernels: list[str], cases: list[str]) -> dict[str, float]:
    """Run a night of virtual-clock cells and watch it."""
    os.environ["LAB_STATE"] = str(folder / "state")
    from lab.workflow.campaigns import Options
    from lab.workflow.night_plan import plan
    from lab.workflow.nightly import run_night, start_night

    matrix = folder / "night.yaml"
    names = "".join(f"  - kernel: {name}\n" for name in kernels)
    needy = [case for case in Catalog.load().cases.values() if case.needs or case.clock == "functional"]
    excluded = "".join(f"  - {{case: {case.name}}}\n" for case in needy if _chosen(case.name, cases))
    matrix.write_text(
        f"{SPDX}title: busy\ncases: [{', '.join(cases)}]\nkernels:\n{names}"
        + (f"exclude:\n{excluded}" if excluded else "")
    )
    planned = plan(matrix)
    run = start_night(planned, Options(executor="local"))
    trials = run.path / "trials"
    moments: list[Watched] = []
    watch = threading.Thread(
        target=_watch, args=(trials, len(planned.plan.trials), moments.append), daemon=True
    )
    watch.start()
    ended = run_night(run)
    watch.join(5.0)
    if len(moments) != 2:
        raise SystemExit(f"the night has trials without a result: {run.path}")
    first, last = moments
    wall = last.wall - first.wall
    own = (last.own - first.own) / (wall * cpus())
    host = (last.host_busy - first.host_busy) / (last.host_all - first.host_all)
    count = len(planned.plan.trials)
    print(
        f"night of {count} trials ({ended.verdict.verdict}): {wall:.0f} s from the beginning of the first to "
        f"the end of the last (foretold: {_foretold(run.path):.0f} s);\nlab and guests used {own:.1%} of "
        f"{cpus()} processors (wanted: {BUSY:.0%}), the host was busy {host:.1%} of the time"
    )
    return {"trials": count, "night_seconds": wall, "busy": own, "host_busy": host}


def _foretold(run: Path) -> float:
    return float(json.loads((run / "night.json").read_text())["expected_seconds"])


def _chosen(name: str, cases: list[str]) -> bool:
    return any(name == case or name.startswith(f"{case.rstrip('/')}/") for case in cases)


def _watch(trials: Path, count: int, tell: Callable[[Watched], None]) -> None:
    """Tell when the first trial has begun, and when the last one has ended."""
    while not any(trials.iterdir()):
        time.sleep(0.01)
    tell(Watched.now())
    while sum(not entry.name.startswith(".") for entry in os.scandir(trials)) < count:
        time.sleep(0.01)
    tell(Watched.now())


if __name__ == "__main__":
    raise SystemExit(main())
