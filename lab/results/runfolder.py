# SPDX-License-Identifier: GPL-2.0-or-later
"""The run folder: the only thing that passes between running and judging.

    RUN/run.json
    RUN/kernels/ID/kernel.json
    RUN/trials/KEY/trial.json + console.log, qemu.cmd, samples/, ...

Trials appear whole (filled under a temporary name, then renamed), so a killed run keeps every trial
that ended and `--resume` finds exactly those missing.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from lab import files
from lab.errors import InfraError, UserError, did_you_mean
from lab.results.models import KernelRecord, Record, RunRecord, Trial

R = TypeVar("R", bound=Record)


def read_record(path: Path, kind: type[R]) -> R:
    """Read one JSON record; InfraError names the file and the first thing that is wrong with it."""
    try:
        return kind.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InfraError(f"cannot read {path}: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise InfraError(
            f"{path} is damaged: {where}: {first['msg']}", hint="what else the run has is unharmed"
        ) from error


def write_record(path: Path, record: Record) -> None:
    files.write_whole(path, record.model_dump_json(indent=2) + "\n")


def runs_dir() -> Path:
    return files.state_dir("runs")


class RunFolder:
    """One campaign on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, record: RunRecord) -> RunFolder:
        """Make the folder of a new run; `record.id` must come from `new_run_id`."""
        folder = cls(runs_dir() / record.id)
        for part in ("kernels", "trials"):
            (folder.path / part).mkdir(parents=True)
        folder.write(record)
        _point_latest(folder.path)
        return folder

    @classmethod
    def find(cls, name: str) -> RunFolder:
        """The run of that path, id, unambiguous beginning of an id, or `latest`; UserError if none."""
        as_path = Path(name)
        if (as_path / "run.json").is_file():
            return cls(as_path.resolve())
        if (runs_dir() / name / "run.json").is_file():
            return cls((runs_dir() / name).resolve())
        known = [run.path.name for run in all_runs()]
        near = [run for run in known if run.startswith(name)]
        if len(near) == 1:
            return cls(runs_dir() / near[0])
        problem = f"{len(near)} runs begin with {name}" if near else f"there is no run {name}"
        raise UserError(problem, hint=did_you_mean(name, near or known) + "; see `lab list runs`")

    def read(self) -> RunRecord:
        return read_record(self.path / "run.json", RunRecord)

    def write(self, record: RunRecord) -> None:
        write_record(self.path / "run.json", record)

    def add_kernel(self, kernel: KernelRecord) -> Path:
        """Record a kernel; returns its folder, where build log and config may be put."""
        folder = self.path / "kernels" / kernel.id
        write_record(folder / "kernel.json", kernel)
        return folder

    def kernels(self) -> dict[str, KernelRecord]:
        """Kernel records by id."""
        found = [read_record(p, KernelRecord) for p in sorted(self.path.glob("kernels/*/kernel.json"))]
        return {kernel.id: kernel for kernel in found}

    @contextlib.contextmanager
    def new_trial(self, key: str) -> Iterator[Path]:
        """Yield the folder to fill for trial `key`; it appears under its name only if no exception leaves.

        An earlier attempt of the same key is replaced.
        """
        final = self.path / "trials" / key
        with files.named_disk_errors(final), files.scratch(final) as building:
            (building / "samples").mkdir()
            yield building
            shutil.rmtree(final, ignore_errors=True)
            building.rename(final)

    def drop_trial(self, key: str) -> None:
        """Forget the result of a trial: it is missing again."""
        with files.scratch(self.trial_path(key)) as gone:
            self.trial_path(key).rename(gone / key)

    def trial_path(self, key: str) -> Path:
        return self.path / "trials" / key

    def trials(self) -> list[Trial]:
        """All finished trials in plan order; a damaged one is an InfraError naming its file."""
        found = [read_record(p, Trial) for p in self.path.glob("trials/[!.]*/trial.json")]
        return sorted(found, key=lambda trial: trial.number)

    def readable_trials(self) -> tuple[list[Trial], list[str]]:
        """The finished trials in plan order that can be read, and one sentence for each that cannot."""
        found: list[Trial] = []
        damaged: list[str] = []
        for path in sorted(self.path.glob("trials/[!.]*/trial.json")):
            try:
                trial = read_record(path, Trial)
            except InfraError as error:
                damaged.append(error.message)
                continue
            if trial.key == path.parent.name:
                found.append(trial)
            else:
                damaged.append(f"{path} is damaged: it calls itself {trial.key!r:.80}")
        return sorted(found, key=lambda trial: trial.number), damaged

    def sweep(self) -> None:
        """Remove what a killed lab left half made (only when no lab is running this run)."""
        for left in self.path.glob("trials/.*"):
            shutil.rmtree(left, ignore_errors=True)

    @contextlib.contextmanager
    def owned(self) -> Iterator[None]:
        """Hold the run: one lab at a time may add to it. UserError when another one has it."""
        try:
            with files.locked(self.path / ".lock", what=f"run {self.path.name}", seconds=0):
                self.sweep()
                yield
        except InfraError as error:
            if "lock on run" in error.message:
                raise UserError(
                    f"run {self.path.name} is being run by another lab", hint="wait for it, or stop it first"
                ) from error
            raise


def new_run_id(workflow: str, name: str) -> str:
    """`<utc>-<workflow>-<name>-<4 hex>`: sorts by time; two labs started in one second do not clash."""
    safe = re.sub(r"[^A-Za-z0-9._+-]+", "-", name).strip("-.")[:40] or "run"
    return f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{workflow}-{safe}-{secrets.token_hex(2)}"


def all_runs() -> list[RunFolder]:
    """Every run folder, oldest first."""
    return [RunFolder(p.parent) for p in sorted(runs_dir().glob("*/run.json")) if not p.parent.is_symlink()]


def _point_latest(path: Path) -> None:
    link = path.parent / f".latest.{os.getpid()}.tmp"
    link.unlink(missing_ok=True)
    link.symlink_to(path.name)
    link.replace(path.parent / "latest")
