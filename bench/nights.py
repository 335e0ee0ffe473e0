# SPDX-License-Identifier: GPL-2.0-or-later
"""Made-up nights for the measurements of index and site: run folders as large as real ones, no guest booted.

The figures are invented, and stay in the temporary folder of the measurement.
"""

from __future__ import annotations

import json
import random
import zlib
from pathlib import Path

from lab.results.models import (
    CaseRecord,
    Clock,
    KernelRecord,
    MetricRecord,
    PlannedTrial,
    RunRecord,
    Subject,
    Trial,
)
from lab.results.night import WORKFLOW, NightRecord, write_night
from lab.results.runfolder import RunFolder

METRICS = {"faults": "count", "total": "insn", "max": "insn", "p99": "insn", "first": "insn", "fair": "insn"}
CASES, MACHINES = 50, ("qxl", "virtio-gpu", "test-gpu", "bochs", "q35-qxl")


def make_nights(runs: Path, cells: int, nights: int, *, seed: int = 1, first: int = 0) -> list[RunFolder]:
    """`nights` runs of `cells` cells each: some fail, some flake, some change with a kernel."""
    chance = random.Random(seed)
    return [make_night(runs, cells, number, chance) for number in range(first, first + nights)]


def make_night(runs: Path, cells: int, number: int, chance: random.Random, scale: float = 1.0) -> RunFolder:
    """One night; its kernels move on every third night. `scale` is what all numbers are multiplied by."""
    created = f"2026-{1 + number // 28:02d}-{1 + number % 28:02d}T01:00:00+00:00"
    name = f"{created[:10].replace('-', '')}T010000Z-{WORKFLOW}-bench-{number:04x}"
    roles = [f"kernel-{n}" for n in range(-(-cells // (CASES * len(MACHINES))))]
    ids = {role: f"{zlib.crc32(f'{role} {number // 3}'.encode()):012x}" for role in roles}
    plan = []
    for n in range(cells):
        role, rest = roles[n // (CASES * len(MACHINES))], n % (CASES * len(MACHINES))
        case, machine = f"topic-{rest % 10}/case-{rest % CASES}", MACHINES[rest // CASES]
        key = f"{n + 1:05d}-{case.replace('/', '.')}-{machine}-{role}"
        plan.append(
            PlannedTrial(number=n + 1, key=key, case=case, role=role, machine=machine, clock=Clock.VIRTUAL)
        )
    run = RunFolder(runs / name)
    (run.path / "trials").mkdir(parents=True)
    run.write(_record(name, created, roles, ids, plan))
    for n, role in enumerate(roles):
        run.add_kernel(_kernel(n, ids[role], number))
    for planned in plan:
        _trial(run, planned, ids[planned.role], number, chance, scale)
    write_night(run, NightRecord(matrix="bench"))
    return run


def _record(
    name: str, created: str, roles: list[str], ids: dict[str, str], plan: list[PlannedTrial]
) -> RunRecord:
    metrics = {
        metric: MetricRecord(
            title=metric,
            unit="count" if unit == "count" else "time",
            better="lower",
            tolerance=0.02,
            gate=metric != "faults",
        )
        for metric, unit in METRICS.items()
    }
    about = CaseRecord(title="a case", question="What does it cost?", memory_manager="ttm", metrics=metrics)
    return RunRecord(
        id=name,
        workflow=WORKFLOW,
        command=("nightly",),
        lab_version="0.1.0",
        created=created,
        title="bench",
        subjects={role: Subject(kernel=f"debian:6.{n}") for n, role in enumerate(roles)},
        kernels=ids,
        cases={planned.case: about for planned in plan},
        plan=tuple(plan),
        finished=True,
    )


def _kernel(number: int, ident: str, night: int) -> KernelRecord:
    version = f"6.{number}.{night // 3}-1"
    return KernelRecord(
        id=ident,
        name=f"debian:{version}",
        release=f"6.{number}.{night // 3}-amd64",
        version=version,
        source=f"package linux-image-{version}",
        image_sha256="a" * 64,
        config_sha256="c" * 64,
        compiler="gcc-12",
    )


def _trial(
    run: RunFolder, planned: PlannedTrial, kernel: str, night: int, chance: random.Random, scale: float
) -> None:
    """As JSON by hand: 100,000 models would take longer than what is measured."""
    fate = chance.random()
    outcome = "FAIL" if fate < 0.01 else "CRASH" if fate < 0.012 else "PASS"
    level = scale * (1.1 if planned.number % 500 == night else 1.0)
    base = 1000 * (1 + planned.number % 97)
    told = planned.model_dump(mode="json", include=set(Trial.model_fields)) | {
        "case_digest": "d" * 64,
        "kernel": kernel,
        "attempt": 1,
        "outcome": outcome,
        "reason": "" if outcome == "PASS" else "check content failed: 3 of 8192 pages are not as written",
        "expected": None,
        "stage": "done" if outcome == "PASS" else "run",
        "measurements": [
            {"metric": metric, "value": round(base * level * (n + 1)), "unit": unit, "clock": clock(unit)}
            for n, (metric, unit) in enumerate(METRICS.items())
        ],
        "checks": [
            {
                "name": name,
                "result": "not ok" if outcome == "FAIL" and name == "content" else "ok",
                "detail": "x" * 40,
            }
            for name in ("model", "swap", "moved", "content", "freed")
        ],
        "splats": []
        if outcome != "CRASH"
        else [
            {
                "kind": "oops",
                "title": f"BUG: unable to handle page fault in f{planned.number % 7}",
                "line": 700,
                "excerpt": "x" * 3000,
            }
        ],
        "samples": [],
        "exit_status": 0,
        "notes": [],
        "seconds_to_ready": 3.2,
        "seconds": 5 + chance.random(),
        "started": f"2026-01-01T01:{planned.number % 60:02d}:00+00:00",
        "environment": ENVIRONMENT,
    }
    folder = run.trial_path(planned.key)
    folder.mkdir()
    (folder / "trial.json").write_text(json.dumps(told, indent=2))


def clock(unit: str) -> str:
    return "count" if unit == "count" else "virtual"


ENVIRONMENT = {
    "lab_version": "0.1.0",
    "accelerator": "tcg",
    "accelerator_reason": "the virtual clock counts instructions, which only emulation can",
    "clock": "virtual",
    "nesting": 0,
    "traced": False,
    "qemu_version": "QEMU emulator version 7.2.22",
    "qemu_argv": ["qemu-system-x86_64", *(f"-option-{n}" for n in range(60))],
    "outer_qemu_argv": [],
    "guest_cmdline": "console=ttyS0 printk.time=1 panic=-1 oops=panic lab.nonce=a03ca57b8ed89ff5 nokaslr",
    "memory_backing": "anonymous memory of the host, not preallocated",
    "host_kernel": "Linux 6.18",
    "host_cpu": "a CPU",
    "host_cpus": 2,
}
