# SPDX-License-Identifier: GPL-2.0-or-later
"""A matrix as a child pipeline of GitLab CI: each job is a night of its own, of a part of the cells.

A job's part is written into its script as a matrix file: a runner does what `lab nightly` does with it, and
anybody can do the same by hand. Keywords as in https://docs.gitlab.com/ci/yaml/.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lab import proc
from lab.campaign.cells import NightCell, NightPlan
from lab.campaign.plan import word
from lab.campaign.trial import BOOT_SECONDS, DEBUG_PATIENCE
from lab.cluster.resources import needed
from lab.errors import UserError
from lab.guest.accelerator import Choice
from lab.results.models import Clock
from lab.spec.matrix import STOCK
from lab.spec.matrix_file import LoadedMatrix, built
from lab.spec.models import Case, Machine

MAX_JOBS = 200
"""GitLab plans a pipeline as one; its own projects stay below this."""

MAX_TEXT = 1_000_000
"""Bytes: GitLab's limit for a configuration file is 1 MiB (ci_max_total_yaml_size_bytes)."""

JOB_SECONDS = 3 * 3600.0
"""A job has so many cells that it cannot take longer, even if each trial takes all that it may."""

KERNEL_SECONDS = {True: 2 * 3600.0, False: 1800.0}
"""For the kernel, by whether the lab builds it; a package with a series is one module's build."""

REST_SECONDS = 600.0
"""Between the end of the night's budget and the end of the job: the last trials, reports, upload."""

EXPIRE = "4 weeks"


@dataclass(frozen=True)
class Part:
    """What one job does."""

    name: str
    cells: tuple[NightCell, ...]
    tags: tuple[str, ...]
    device: str  # of the host, "" without one: one job at a time has it
    seconds: float  # for its trials, at most


def pipeline(loaded: LoadedMatrix, parts: Sequence[Part], folder: str) -> str:
    """The YAML of a pipeline that runs every cell of these parts once. `folder`: of the matrix, relative to
    the project; files that the matrix names are found from there.

    Raises UserError if it would be too long.
    """
    document: dict[str, Any] = {
        "stages": ["test"],
        "variables": {
            "LAB": "lab",
            "LAB_STATE": "$CI_PROJECT_DIR/lab-state",
            "GIT_DEPTH": "1",
        },
        "workflow": {"rules": [{"when": "always"}]},
    }
    for part in parts:
        document[part.name] = job(loaded, part, folder)
    text = "# SPDX-License-Identifier: GPL-2.0-or-later\n" + yaml.dump(
        document, Dumper=_Dumper, sort_keys=False, width=1 << 20, allow_unicode=True
    )
    if len(text.encode()) > MAX_TEXT:
        raise UserError(
            f"the pipeline has {len(text.encode()):,} bytes, GitLab takes {MAX_TEXT:,}",
            hint="split the matrix, by kernel for instance",
        )
    return text


def split(
    loaded: LoadedMatrix, plan: NightPlan, machines: Mapping[str, Machine], without: Set[str] = frozenset()
) -> list[Part]:
    """The cells in parts: of one kernel, on one machine, with the same needs, and no longer than a job may
    take. `without`: tags that no runner has, so that a job goes to any: it has the nested lab host.

    Raises UserError if they are too many.
    """
    groups: dict[tuple[str, str, tuple[str, ...], str], list[NightCell]] = {}
    for one in plan.cells:
        machine = machines[one.cell.machine]
        tags, device = _tags(plan.cases[one.cell.case], machine, one.cell.clock, without)
        groups.setdefault((one.role, one.cell.machine, tags, device), []).append(one)
    parts: list[Part] = []
    for (role, machine_name, tags, device), cells in groups.items():
        for number, some in enumerate(_bounded(plan, cells), 1):
            name = ":".join([role, machine_name, *(tag.replace(":", "_") for tag in tags[1:]), str(number)])
            seconds = sum(_seconds(plan, one) for one in some)
            parts.append(Part(name, tuple(some), tags, device, seconds))
    if len(parts) > MAX_JOBS:
        raise UserError(
            f"the pipeline of {loaded.path} would have {len(parts):,} jobs, {MAX_JOBS} is the limit",
            hint="split the matrix, by kernel for instance",
        )
    return parts


def job(loaded: LoadedMatrix, part: Part, folder: str) -> dict[str, Any]:
    """One job of the pipeline."""
    subject = part.cells[0].cell
    own = yaml.safe_dump(matrix_of(loaded, part), sort_keys=False, width=1 << 20, allow_unicode=True)
    mark = f"MATRIX-{hashlib.sha256(own.encode()).hexdigest()[:12]}"
    file = proc.quoted([os.path.normpath(f"{folder}/.{word(part.name)}.yaml")])
    budget = KERNEL_SECONDS[built(subject.kernel)] + part.seconds
    found: dict[str, Any] = {
        "stage": "test",
        "needs": [],
        "tags": list(part.tags),
        "timeout": f"{(budget + REST_SECONDS) // 60:.0f} minutes",
        "interruptible": True,
        "script": [
            f"cat > {file} <<'{mark}'\n{own}{mark}\n",
            f'"$LAB" nightly {file} --budget {budget // 60:.0f}m',
        ],
        "retry": {"max": 1, "when": ["runner_system_failure"]},
        "artifacts": {
            "when": "always",
            "expire_in": EXPIRE,
            "paths": ["lab-state/runs/"],
            "reports": {"junit": ["lab-state/runs/*/junit.xml"]},
        },
    }
    if part.device:
        found["resource_group"] = part.device
    return found


def matrix_of(loaded: LoadedMatrix, part: Part) -> dict[str, Any]:
    """The matrix file of a job's cells: their own, and no other's."""
    first = part.cells[0].cell
    found: dict[str, Any] = {
        "title": f"{loaded.matrix.title}: {part.name}",
        "kernels": [{"kernel": first.kernel, "series": [first.series or STOCK]}],
        "machines": [first.machine],
        "cases": [_case(loaded, one) for one in part.cells],
        "clock": loaded.matrix.clock,
    }
    if first.kconfig:
        found["configurations"] = [first.kconfig]
    limits = []
    for one in part.cells:
        limit = {"case": one.cell.case, "trials": one.trials}
        if one.timeout is not None:
            limit["timeout"] = one.timeout
        if len(limit) > 2 or one.trials != 1:
            limits.append(limit)
    if limits:
        found["limits"] = limits
    if priorities := [
        {"case": one.cell.case, "priority": one.priority} for one in part.cells if one.priority
    ]:
        found["priorities"] = priorities
    return found


def _case(loaded: LoadedMatrix, one: NightCell) -> str:
    """A case of the lab by its name; one from elsewhere by its file, relative to the matrix."""
    if not one.cell.case.startswith("local/"):
        return one.cell.case
    known = {case.name: case for case in (*loaded.cases, *(c for some in loaded.included for c in some))}
    return os.path.relpath(known[one.cell.case].path, Path(loaded.path).parent)


def _tags(case: Case, machine: Machine, clock: Clock, without: Set[str]) -> tuple[tuple[str, ...], str]:
    """Of the runner, and the device of the host that a job has for itself. Tags are those of `lab worker`,
    without memory, which runners are not chosen by."""
    choice = Choice("kvm", "real clock") if clock is Clock.REAL else Choice("tcg", "any runner")
    wanted = [name for name in sorted(needed(case, choice, machine)) if name not in {"memory", *without}]
    device = next((name for name in wanted if name.startswith("vfio:")), "")
    return ("faultlab", *wanted), device


def _bounded(plan: NightPlan, cells: Sequence[NightCell]) -> Iterable[list[NightCell]]:
    part: list[NightCell] = []
    seconds = 0.0
    for one in cells:
        more = _seconds(plan, one)
        if part and seconds + more > JOB_SECONDS:
            yield part
            part, seconds = [], 0.0
        part.append(one)
        seconds += more
    yield part


def _seconds(plan: NightPlan, one: NightCell) -> float:
    """What its trials may take, one after the other."""
    timeout = one.timeout if one.timeout is not None else plan.cases[one.cell.case].timeout
    boot = BOOT_SECONDS["kvm" if one.cell.clock is Clock.REAL else "tcg"]
    debugging = DEBUG_PATIENCE if "debug" in one.cell.kconfig.split("+") else 1  # kconfigs/debug.config
    return one.trials * (boot * debugging + timeout)


class _Dumper(yaml.SafeDumper):
    """Scripts as blocks, so that they can be read."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)
