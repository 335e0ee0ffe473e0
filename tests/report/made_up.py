# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes run folders with made-up trials; the figures follow those of 8 MiB of qxl memory on 6.1."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import stand_ins

from lab.results.models import (
    CaseRecord,
    Clock,
    Measurement,
    MetricRecord,
    Outcome,
    PlannedTrial,
    RunRecord,
    Splat,
    Trial,
)
from lab.results.runfolder import RunFolder, write_record

NASTY = "\x1b[31mred\x1b[0m </script><script>alert(1)</script> \x00\x07\ud7ff\u202e & ]]> \x9b2J"

FIRST = CaseRecord(
    title="sequential first touch of a populated buffer",
    question="What does mapping a buffer cost a program that touches all of it, page after page?",
    memory_manager="ttm",
    metrics={
        "faults": MetricRecord(title="page faults", unit="count", better="lower", tolerance=0.0, gate=False),
        "total": MetricRecord(title="all touches", unit="time", better="lower", tolerance=0.02, gate=True),
        "max": MetricRecord(title="longest touch", unit="time", better="lower", tolerance=0.1, gate=True),
    },
)
SPARSE = FIRST.model_copy(update={"title": "one touch per 2 MiB", "question": "What does one page cost?"})
BOOT = CaseRecord(title="boot", question="Does the kernel boot?", memory_manager=None)

KERNELS = {
    "base": stand_ins.kernel_record(
        source="packages linux-image-6.1.0-56-amd64 and linux-source-6.1",
        replaced_modules={"ttm": "1" * 64},
        module_compiler="gcc 12.2.0",
        build_id="f00d",
    ),
}
KERNELS["patched"] = KERNELS["base"].model_copy(
    update={
        "id": "ba9876543210",
        "name": "debian:6.1.192-2 + pmd-size",
        "replaced_modules": {"ttm": "2" * 64},
        "build_id": "beef",
    }
)

ENVIRONMENT = stand_ins.environment(
    accelerator_reason="KVM opens, but no guest reached its ready marker within 15 s",
    qemu_argv=("qemu-system-x86_64", "-icount", "shift=0,sleep=off", "-append", "console=ttyS0 panic=-1"),
    guest_cmdline="console=ttyS0 nokaslr norandmaps panic=-1",
)


def plan(
    *entries: tuple[str, str], machine: str = "qxl", clock: Clock = Clock.VIRTUAL
) -> tuple[PlannedTrial, ...]:
    """A plan with a trial for each (case, role); a case named twice with a role gets another repeat."""
    planned: list[PlannedTrial] = []
    for number, (case, role) in enumerate(entries, start=1):
        repeat = 1 + sum((p.case, p.role) == (case, role) for p in planned)
        key = f"{number:03d}-{case.replace('/', '-')}-{role}"
        planned.append(
            PlannedTrial(
                number=number, key=key, case=case, role=role, machine=machine, clock=clock, repeat=repeat
            )
        )
    return tuple(planned)


def trial(planned: PlannedTrial, numbers: dict[str, float] | None = None, **more: Any) -> Trial:
    """The trial of a plan's entry: PASS unless told otherwise."""
    defaults: dict[str, Any] = {
        "case_digest": "d" * 64,
        "kernel": KERNELS.get(planned.role, KERNELS["base"]).id,
        "outcome": Outcome.PASS,
        "stage": "done",
        "measurements": measurements(numbers or {}, planned.clock),
        "seconds": 6.2,
        "environment": ENVIRONMENT.model_copy(update={"clock": planned.clock}),
    }
    return Trial(**planned.model_dump(exclude={"timeout", "priority"}), **(defaults | more))


def measurements(numbers: dict[str, float], clock: Clock) -> tuple[Measurement, ...]:
    unit = "insn" if clock is Clock.VIRTUAL else "ns"
    return tuple(
        Measurement(metric=name, value=value, unit="count", clock=Clock.COUNT)
        if name == "faults"
        else Measurement(metric=name, value=value, unit=unit, clock=clock)
        for name, value in numbers.items()
    )


def record(planned: tuple[PlannedTrial, ...], **more: Any) -> RunRecord:
    defaults: dict[str, Any] = {
        "id": "20261121T010203Z-validate-pmd-size-beef",
        "workflow": "validate",
        "command": ("validate", "testcases/prefault/series/pmd-size.mbox"),
        "lab_version": "0.1.0",
        "created": "2026-11-21T01:02:03Z",
        "title": "drm/ttm: increase ttm pre-fault value to PMD size",
        "base_choice": "the distribution's stock kernel, because no base was given",
        "kernels": {role: kernel.id for role, kernel in KERNELS.items()},
        "cases": {"smoke/boot": BOOT, "prefault/first-touch": FIRST, "prefault/sparse-touch": SPARSE},
        "plan": planned,
    }
    return RunRecord(**(defaults | more))


def folder(
    path: Path, run: RunRecord, trials: list[Trial], files: dict[str, dict[str, bytes]] | None = None
) -> RunFolder:
    """Write a run folder; `files` maps a trial's key to files below its folder."""
    made = RunFolder(path / run.id)
    (made.path / "trials").mkdir(parents=True)
    made.write(run)
    for kernel in KERNELS.values():
        made.add_kernel(kernel)
    for one in trials:
        with made.new_trial(one.key) as building:
            write_record(building / "trial.json", one)
            for name, content in (files or {}).get(one.key, {}).items():
                (building / name).write_bytes(content)
    return made


def touches(prefault: int, pages: int = 2048, *, fault: int, step: int) -> bytes:
    """A touches.txt: every `prefault`-th touch faults and pays for the pages that it maps."""
    noise = random.Random(1)
    lines = [b"page insn"]
    for page in range(pages):
        cost = fault + step * prefault if page % prefault == 0 else 95 + noise.randrange(6)
        lines.append(b"%d %d" % (page, cost))
    return b"\n".join(lines) + b"\n"


def pmd_size_run(path: Path) -> RunFolder:
    """The demonstration: a gain in total, a stall in the longest touch, and a case that breaks."""
    entries = [
        (case, role)
        for case in ("smoke/boot", "prefault/first-touch", "prefault/sparse-touch")
        for role in KERNELS
    ]
    planned = plan(*entries)
    numbers = {
        ("prefault/first-touch", "base"): {"faults": 128, "total": 1924310, "max": 22012},
        ("prefault/first-touch", "patched"): {"faults": 3, "total": 1404018, "max": 348120},
        ("prefault/sparse-touch", "base"): {"faults": 4, "total": 66120, "max": 22040},
        ("prefault/sparse-touch", "patched"): {"faults": 4, "total": 1032400, "max": 353007},
    }
    trials, files = [], {}
    for p in planned:
        sampled = ("touches.txt",) if p.case == "prefault/first-touch" else ()
        trials.append(trial(p, numbers.get((p.case, p.role)), samples=sampled))
        if sampled:
            shape = {"base": (16, 1500, 1282), "patched": (512, 5000, 670)}[p.role]
            files[p.key] = {"samples/touches.txt": touches(shape[0], fault=shape[1], step=shape[2])}
    return folder(path, record(planned), trials, files)


def nasty_run(path: Path) -> RunFolder:
    """A patched kernel that crashes, with hostile words wherever a guest or a file can place them."""
    planned = plan(("prefault/first-touch", "base"), ("prefault/first-touch", "patched"))
    crash = trial(
        planned[1],
        outcome=Outcome.CRASH,
        reason="panic: " + NASTY,
        stage="run",
        splats=(Splat(kind="oops", title=NASTY, line=7, excerpt=NASTY * 50),),
        notes=(NASTY,),
        samples=("touches.txt",),
    )
    base = trial(planned[0], {"faults": 128, "total": 5, "max": 5}, samples=("touches.txt",))
    console = (NASTY.encode(errors="surrogatepass") + b"\xff\xfe\n") * 100 + b"A" * (1 << 20) + b"\nthe end\n"
    files = {
        crash.key: {"console.log": console, "samples/touches.txt": b"page insn\n0 </svg><script>\n"},
        base.key: {"samples/touches.txt": b"page insn\n0 nan\n"},
    }
    return folder(path, record(planned, title=NASTY, base_choice=NASTY), [base, crash], files)
