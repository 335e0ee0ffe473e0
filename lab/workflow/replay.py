# SPDX-License-Identifier: GPL-2.0-or-later
"""Make a case of a frame trace that someone sent, so that it can be run and validated as any other."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import yaml

from lab import files
from lab.workload.frame_trace import load_trace, print_trace, summary

REPLAY = Path("stutter") / "stutter_replay.c"


def case_of_trace(trace: Path, rates: Sequence[int]) -> Path:
    """A case that plays the trace at these rates (none: its own): the YAML, with the trace beside it.

    Raises UserError for what is wrong with the trace.
    """
    read = load_trace(trace)
    text = print_trace(read)
    rates = rates or (read.rate,)
    name = re.sub(r"[^a-z0-9_+-]+", "-", trace.stem.lower()).strip("-") or "trace"
    folder = files.state_dir("replays") / files.sha256_text(text, *map(str, rates))[:12]
    files.write_whole(folder / "frames.trace", text)
    case = {
        "title": f"frames of {name}",
        "question": f"How do these frames play? {summary(read)}",
        "workload": str(files.shipped("testcases") / REPLAY),
        "files": {"trace": "frames.trace"},
        "args": ["--driver", "{driver}", "--trace", "/lab/files/trace", "--hz", ",".join(map(str, rates))],
        "machines": ["qxl"],
        "metrics": {key: metric for rate in rates for key, metric in _metrics(rate).items()},
    }
    path = folder / f"{name}.yaml"
    files.write_whole(path, yaml.safe_dump(case, sort_keys=False, width=110))
    return path


def _metrics(rate: int) -> dict[str, dict[str, object]]:
    at = f"at {rate} Hz"
    return {
        f"hz{rate}_missed": {"title": f"missed frames {at}", "unit": "count", "tolerance": 0.0},
        f"hz{rate}_stall_max": {"title": f"longest touch {at}", "unit": "time", "tolerance": 0.1},
        f"hz{rate}_frame_p50": {"title": f"median frame {at}", "unit": "time", "gate": False},
        f"hz{rate}_frame_p99": {"title": f"p99 frame {at}", "unit": "time", "gate": False},
        f"hz{rate}_frame_max": {"title": f"longest frame {at}", "unit": "time", "gate": False},
        f"hz{rate}_faults": {"title": f"page faults {at}", "unit": "count", "tolerance": 0.0, "gate": False},
    }
