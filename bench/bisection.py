# SPDX-License-Identifier: GPL-2.0-or-later
"""Does the error that a bisection states hold, and how many boots does it take?

    python bench/bisection.py [-n 500] [--commits 1000] [--error 0.01] [--share P ...] [--quick] [--json FILE]

A simulation over planted histories: in each a culprit is drawn, the failure shows in a share p of the boots
of a kernel that has it, and the search that `lab bisect` uses, p unknown to it, looks for the culprit. How a
boot ends is drawn here; everything else is the lab's own code. Told for each p:

    wrong       searches that named another commit, with the 95 % interval of their share
    stated      the mean of the errors that the searches stated themselves
    boots       median, and the 95th percentile
    kernels     median number of different kernels that were booted
    known p     boots that would do at least if p were known: log2(commits) by the capacity of the channel,
                and ln(1/error) / -ln(1-p) to be sure of the last one

`--cost` weighs a kernel that is not at hand in boots (a build of minutes makes it stay where it is longer).
Not called bisect.py: Python's own module of that name would not be found beside it.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from lab.bisect.history import History
from lab.bisect.noisy import Posterior, interval
from lab.bisect.search import Costs, Search
from lab.workflow.bisect import FIRST_BOOTS, LEAST_SHOWN, MOST_UNSEEN

SHARES = (0.05, 0.1, 0.2, 0.5, 0.8, 1.0)
SEED = 20261121


@dataclass(frozen=True)
class Task:
    """One search."""

    commits: int
    share: float
    error: float
    cost: float  # of a kernel that is not at hand, in boots
    seed: int


@dataclass(frozen=True)
class One:
    """How a search ended."""

    right: bool
    refused: bool  # the bad end did not show it often enough to begin
    stated: float
    boots: int
    kernels: int


def one_search(task: Task) -> One:
    """As `lab bisect` goes about it: first the ends, then what tells most."""
    rng = random.Random(task.seed)
    history = History.line(task.commits + 1)
    culprit = rng.randrange(1, history.size)
    search = Search(history, task.error, Posterior(history))
    booted: set[int] = set()

    def boot(position: int) -> bool:
        shown = position >= culprit and rng.random() < task.share
        search.posterior.note(position, shown=int(shown), passed=int(not shown))
        booted.add(position)
        return shown

    shown = sum(boot(history.bad_end) for _ in range(FIRST_BOOTS))
    while shown < LEAST_SHOWN and (shown or search.posterior.boots < MOST_UNSEEN):
        shown += boot(history.bad_end)
    if not shown:
        return One(right=True, refused=True, stated=0.0, boots=search.posterior.boots, kernels=1)
    for _ in range(FIRST_BOOTS):
        boot(history.good_end)
    while not search.over():
        boot(search.next(Costs(boot=1.0, obtain=task.cost, at_hand=booted)))
    found = search.left()
    stated = 1 - float(search.posterior.weights[found[0]]) if len(found) == 1 else 1.0
    return One(found == [culprit], False, stated, search.posterior.boots, len(booted))


def least_boots(task: Task) -> float:
    """What information theory asks for when p is known (the capacity of the Z-channel)."""
    p = task.share
    if p == 1:
        return math.log2(task.commits)
    capacity = math.log2(1 + p * (1 - p) ** ((1 - p) / p))
    return math.log2(task.commits) / capacity + math.log(1 / task.error) / -math.log(1 - p)


def summed_up(task: Task, all_of_it: Sequence[One], seconds: float) -> dict[str, object]:
    ended = [one for one in all_of_it if not one.refused]
    wrong = sum(not one.right for one in ended)
    boots = sorted(one.boots for one in ended)
    return {
        **{name: value for name, value in asdict(task).items() if name != "seed"},
        "searches": len(ended),
        "refused": len(all_of_it) - len(ended),
        "wrong": wrong,
        "interval": interval(wrong, len(ended)),
        "stated": statistics.mean(one.stated for one in ended),
        "boots": statistics.median(boots),
        "boots_95": boots[min(len(boots) - 1, int(0.95 * len(boots)))],
        "kernels": statistics.median(one.kernels for one in ended),
        "known_p": least_boots(task),
        "seconds": seconds,
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-n", type=int, default=500, help="searches for each share (default 500)")
    parser.add_argument("--commits", type=int, default=1000)
    parser.add_argument("--error", type=float, default=0.01, help="the wanted one (default 0.01)")
    parser.add_argument("--share", type=float, nargs="*", default=SHARES, help="p (default 0.05 to 1)")
    parser.add_argument("--cost", type=float, default=0.0, help="of a new kernel, in boots (default 0)")
    parser.add_argument("--quick", action="store_true", help="60 searches over 100 commits")
    parser.add_argument("--json", type=Path, help="write the table to this file")
    options = parser.parse_args()
    number, commits = (60, 100) if options.quick else (options.n, options.commits)
    print(f"{number} searches over {commits} commits for each p; wanted error {options.error:.2%}\n")
    print("    p   wrong  (95 %)           stated   boots  95th pct  kernels  known p  seconds")
    rows, held = [], True
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for share in options.share:
            tasks = [Task(commits, share, options.error, options.cost, SEED + n) for n in range(number)]
            start = time.monotonic()
            row = summed_up(
                tasks[0], list(pool.map(one_search, tasks, chunksize=5)), time.monotonic() - start
            )
            rows.append(row)
            low, high = row["interval"]  # type: ignore[misc]
            held = held and low <= options.error
            print(
                f"{share:5.2f}  {row['wrong']:>6}  ({low:.2%} to {high:.2%})  {row['stated']:7.2%}"
                f"  {row['boots']:6.0f}  {row['boots_95']:8}  {row['kernels']:7.0f}  {row['known_p']:7.0f}"
                f"  {time.monotonic() - start:7.0f}",
                flush=True,
            )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    print(f"\nthe wanted error {'holds' if held else 'DOES NOT HOLD'}")
    return 0 if held else 1


if __name__ == "__main__":
    raise SystemExit(main())
