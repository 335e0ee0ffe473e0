# SPDX-License-Identifier: GPL-2.0-or-later
"""How long `lab site` takes, what it needs, and what it leaves on the disk.

    python bench/site.py [--cells 10000] [--nights 2] [--keep FOLDER] [--json FILE]

The nights are made up (bench/nights.py); their trials have a console, a command line and the latency of 2,048
touches, as those of a real night have. Measured is the whole command as a process of its own, with the newest
night not yet in the index. Bounds for 10,000 cells on 2 cores: 30 s, 500 MB on the disk. Exits 1 if one is
missed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from nights import make_night, make_nights

from lab.history.index import Index
from lab.results.runfolder import RunFolder

SECONDS, MEGABYTES = 30.0, 500.0


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cells", type=int, default=10_000, help="of a night (default 10000)")
    parser.add_argument("--nights", type=int, default=2, help="that there are (default 2)")
    parser.add_argument("--keep", type=Path, help="leave the nights and the site in this folder, to look at")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="faultlab-bench-", dir="/var/tmp") as name:
        figures = measure(options.keep or Path(name), options.cells, options.nights)
    for what, value in figures.items():
        print(f"{what:32} {value:10.1f}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    return int(figures["seconds"] > SECONDS or figures["MB on the disk"] > MEGABYTES)


def measure(state: Path, cells: int, nights: int) -> dict[str, float]:
    runs = state / "runs"
    made = make_nights(runs, cells, nights - 1)
    with Index.open(state / "history.sqlite") as index:
        index.refresh(made)
    made.append(make_night(runs, cells, nights - 1, random.Random(2)))
    for run in made:
        add_files(run)
    out = state / "site"
    begun = time.monotonic()
    command = [sys.executable, "-m", "lab", "--quiet", "site", str(out), "--json"]
    done = subprocess.run(
        command, env=os.environ | {"LAB_STATE": str(state)}, check=True, capture_output=True
    )
    seconds = time.monotonic() - begun
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    told = json.loads(done.stdout)
    files = [path.lstat() for path in out.rglob("*")]
    return {
        "cells of a night": cells,
        "nights": nights,
        "pages of trials": told["trials"],
        "pages of trends": told["trends"],
        "seconds": seconds,
        "seconds of processor": used.ru_utime + used.ru_stime,
        "MB of memory, at most": used.ru_maxrss / 1024,
        "MB in files": told["bytes"] / 1e6,
        "MB on the disk": sum(512 * file.st_blocks for file in files) / 1e6,
        "files": len(files),
        "MB of the matrix's data": max(p.stat().st_size for p in out.glob("nights/*.js")) / 1e6,
    }


def add_files(run: RunFolder) -> None:
    """What a trial's folder holds beside trial.json, of the sizes that it has in a real night."""
    console = "".join(f"[{n / 300:12.6f}] a driver says {'that it is there ' * 4}{n}\n" for n in range(260))
    touches = "page insn\n" + "".join(
        f"{n} {20906 if n % 512 == 0 else 11152 if n % 16 == 0 else 24 + n % 3}\n" for n in range(2048)
    )
    command = "#!/bin/sh\nqemu-system-x86_64 " + " ".join(f"-option-{n} value" for n in range(60)) + "\n"
    for folder in (run.path / "trials").iterdir():
        trial = folder / "trial.json"
        trial.write_text(trial.read_text().replace('"samples": []', '"samples": ["touches.txt"]'))
        (folder / "console.log").write_text(console)
        (folder / "qemu.cmd").write_text(command)
        (folder / "samples").mkdir()
        (folder / "samples" / "touches.txt").write_text(touches)


if __name__ == "__main__":
    sys.exit(main())
