# SPDX-License-Identifier: GPL-2.0-or-later
"""How fast the index over run folders is built, brought up to date and asked.

    python bench/history.py [--cells 10000] [--nights 10] [--json FILE]

The run folders are made up (bench/nights.py), in a temporary folder that is removed at the end. Bounds, for
100,000 trials on 2 cores: built within 60 s, each query answered within 0.2 s. Exits 1 if one is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from nights import make_night, make_nights

from lab.history.index import Index
from lab.history.regressions import new_since
from lab.results.runfolder import RunFolder

BUILD, QUERY = 60.0, 0.2
"""Seconds."""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cells", type=int, default=10_000, help="of a night (default 10000)")
    parser.add_argument("--nights", type=int, default=10, help="(default 10)")
    parser.add_argument("--json", type=Path, help="write the times to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="faultlab-bench-", dir="/var/tmp") as name:
        folder = Path(name)
        runs = make_nights(folder / "runs", options.cells, options.nights)
        print(f"{options.cells * options.nights} trials made", file=sys.stderr)
        times = measure(folder, runs, options.cells)
        size = sum(path.stat().st_size for path in folder.glob("h.sqlite*")) / 1e6
    missed = [what for what, t in times.items() if t.bound is not None and t.wall > t.bound]
    print(f"{'':40} {'wall s':>8} {'CPU s':>8} {'bound':>6}   load {os.getloadavg()[0]:.1f}")
    for what, taken in times.items():
        bound, late = f"{taken.bound:g}" if taken.bound else "", "  MISSED" if what in missed else ""
        print(f"{what:40} {taken.wall:8.3f} {taken.cpu:8.3f} {bound:>6}{late}")
    print(f"{'size of the index, MB':40} {size:8.1f}")
    if options.json:
        told = {what: {"wall": taken.wall, "cpu": taken.cpu} for what, taken in times.items()}
        options.json.write_text(json.dumps(told, indent=2) + "\n")
    return int(bool(missed))


class Time(NamedTuple):
    """Seconds that something took. Wall is what is bound; CPU says how much of it others on the host took."""

    wall: float
    cpu: float
    bound: float | None


def measure(folder: Path, runs: list[RunFolder], cells: int) -> dict[str, Time]:
    """By what was done."""
    times: dict[str, Time] = {}

    def take(what: str, do: Callable[[], Any], bound: float | None = QUERY) -> Any:
        wall, cpu = time.monotonic(), time.process_time()
        found = do()
        times[what] = Time(time.monotonic() - wall, time.process_time() - cpu, bound)
        return found

    with Index.open(folder / "h.sqlite") as index:
        take("build", lambda: index.refresh(runs), BUILD)
        take("refresh, nothing changed", lambda: index.refresh(runs))
        runs.append(make_night(folder / "runs", cells, len(runs), random.Random(2)))
        take("refresh, one night more", lambda: index.refresh(runs), BUILD / 10)
    last = runs[-1].path.name
    with Index.open(folder / "h.sqlite") as index:
        entries = take("cells of a night, first time", lambda: index.cells(last))
        cell = entries[len(entries) // 2].cell
        take("nights", index.nights)
        take("cells of a night", lambda: index.cells(last))
        take("past of a cell", lambda: index.past(cell))
        take("trend of a metric", lambda: index.trend(cell, "total"))
        take("last good", lambda: index.last_good(cell))
        take("first bad", lambda: index.first_bad(cell))
        take("flake rate", lambda: index.flakes(cell))
        take("signatures of a night", lambda: index.signatures(last))
        take("durations", index.durations)
        take("regressions of a night", lambda: new_since(index, last))
        take("all trends of a night", lambda: index.all_trends(last), None)
        take("all flake rates of a night", lambda: index.all_rates(last), None)
        runs.append(make_night(folder / "runs", cells, len(runs) + 1, random.Random(3), scale=1.5))
        index.refresh(runs)
        take("regressions, every number changed", lambda: new_since(index, runs[-1].path.name), None)
    return times


if __name__ == "__main__":
    sys.exit(main())
