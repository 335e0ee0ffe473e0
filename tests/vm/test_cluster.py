# SPDX-License-Identifier: GPL-2.0-or-later
"""A scheduler and two workers on loopback, each a process of its own; the workers' caches are empty, so that
whatever their guests need has come through the store."""

from __future__ import annotations

import contextlib
import os
import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from labrun import run_lab
from processes import Running, descendants, started

from lab.results.models import Outcome
from lab.results.runfolder import RunFolder

CASES = ("prefault/first-touch", "prefault/sparse-touch")
QEMU = "qemu-system-x86"


def boots(pid: int) -> bool:
    """Is it a guest, and not a QEMU that is asked for its version?"""
    try:
        return b"-kernel" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False


@dataclass
class Cluster:
    """Its services, and what a client needs to use it."""

    folder: Path
    stack: contextlib.ExitStack
    scheduler: str = ""
    workers: dict[str, Running] = field(default_factory=dict)
    count: int = 0

    def start(self) -> None:
        words = ("scheduler", "--host", "127.0.0.1", "--port", "0")
        service = self._service("scheduler", *words)
        service.until(lambda: "scheduler: " in service.progress, "the scheduler's address")
        found = re.search(r"scheduler: (tcp://\S+)", service.progress)
        assert found
        self.scheduler = found[1]

    def at_least(self, count: int) -> None:
        """So many workers that live."""
        self.workers = {name: one for name, one in self.workers.items() if one.process.poll() is None}
        fresh = []
        while len(self.workers) < count:
            self.count += 1
            name = f"w{self.count}"
            words = ("worker", "--scheduler", self.scheduler, "--name", name, "--resources", "kvm=0")
            self.workers[name] = self._service(name, *words)
            fresh.append(name)
        for name in fresh:
            one = self.workers[name]
            one.until(
                lambda one=one, name=name: f"worker {name}: " in one.progress, "a worker that has joined"
            )

    def _service(self, name: str, *words: str) -> Running:
        folder = self.folder / name
        cache = folder / "cache"
        return self.stack.enter_context(started(*words, folder=folder, state=folder / "state", cache=cache))

    def stored(self) -> list[Path]:
        return list(self.folder.glob("w*/cache/cluster/store/*"))

    def guests(self, *names: str) -> list[int]:
        """QEMUs below these workers, or all."""
        chosen = [self.workers[name] for name in names or self.workers]
        below = [one for worker in chosen for one in descendants(worker.process.pid)]
        return [one.pid for one in below if one.name == QEMU and boots(one.pid)]

    def words(self, *words: str) -> tuple[str, ...]:
        """Of a client that runs these cases on it."""
        return ("run", *words, "--executor", "dask", "--scheduler", self.scheduler)


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with contextlib.ExitStack() as stack:
        cluster = Cluster(tmp_path_factory.mktemp("cluster"), stack)
        cluster.start()
        yield cluster


@pytest.fixture
def cluster(services: Cluster) -> Cluster:
    services.at_least(2)
    return services


def evidence(run: RunFolder) -> dict[str, tuple[object, dict[str, bytes]]]:
    """What each trial measured, and its samples and report, byte for byte."""
    return {
        trial.key: (
            (trial.outcome, trial.measurements, trial.checks),
            {
                path.name: path.read_bytes()
                for path in [
                    *sorted((run.trial_path(trial.key) / "samples").iterdir()),
                    run.trial_path(trial.key) / "ktap.txt",
                    run.trial_path(trial.key) / "orders.cpio",
                ]
            },
        )
        for trial in run.trials()
    }


def test_results_are_those_of_the_local_executor(cluster: Cluster, tmp_path: Path) -> None:
    """On the virtual clock a worker's trial and a local one are the same bytes; what names a host differs."""
    there = run_lab(*cluster.words(*CASES), state=tmp_path / "there")
    assert there.code == 0, there.stderr
    here = run_lab("run", *CASES, "--executor", "local", state=tmp_path / "here")
    assert here.code == 0, here.stderr
    assert evidence(there.run) == evidence(here.run)
    assert [trial.outcome for trial in there.trials] == [Outcome.PASS] * 2
    hosts = {trial.environment.host for trial in there.trials if trial.environment}
    assert hosts == {os.uname().nodename}
    assert {trial.environment.host for trial in here.trials if trial.environment} == {""}
    assert (there.record.executor, there.record.scheduler) == ("dask", cluster.scheduler)
    assert len(cluster.stored()) >= 4  # kernel, userland, modules, workload


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_no_guest_outlives_its_client(cluster: Cluster, tmp_path: Path, number: signal.Signals) -> None:
    """After ^C or SIGKILL of the client no worker has a guest any more, within seconds; all workers live."""
    with started(*cluster.words(*CASES), folder=tmp_path / "client", state=tmp_path / "state") as lab:
        lab.until(lambda: len(cluster.guests()) == 2, "two guests")
        lab.send(number)
        lab.ended(seconds=10)
        lab.assert_nothing_runs(seconds=10)
        assert cluster.guests() == []
    assert all(one.process.poll() is None for one in cluster.workers.values())


def test_a_worker_that_dies_loses_no_trial(cluster: Cluster, tmp_path: Path) -> None:
    """SIGKILL of a worker whose guest runs: its trial is run again by the other one, and counted once; the
    numbers are those of any other boot."""
    first, second = cluster.workers
    words = cluster.words(CASES[1], "--trials", "2")
    with started(*words, folder=tmp_path / "client", state=tmp_path / "state") as lab:
        lab.until(lambda: bool(cluster.guests(first) and cluster.guests(second)), "a guest on each worker")
        cluster.workers[first].send(signal.SIGKILL)
        assert lab.ended(seconds=120) == 0, lab.progress
        run = lab.run
    trials = run.trials()
    assert [trial.key for trial in trials] == [planned.key for planned in run.read().plan]
    assert {trial.outcome for trial in trials} == {Outcome.PASS}
    assert len(trials) == 2
    again = [note for trial in trials for note in trial.notes if "died" in note]
    assert again == [f"worker {first} died while it ran this; it was run again"]
    assert trials[0].measurements == trials[1].measurements
    assert len(re.findall(r"\[\d/2\] .*: PASS", lab.progress)) == 2


def test_a_job_that_kills_two_workers_is_in_quarantine(cluster: Cluster, tmp_path: Path) -> None:
    """A third worker, and the campaign's own second attempt, do not get it."""
    cluster.at_least(3)  # before: a guest that was given on would not wait for one to start
    words = cluster.words(CASES[1])
    with started(*words, folder=tmp_path / "client", state=tmp_path / "state") as lab:
        killed = []
        for _ in range(2):
            lab.until(lambda: bool(cluster.guests()), "a guest")
            (name,) = (name for name in cluster.workers if cluster.guests(name))
            killed.append(name)
            cluster.workers[name].send(signal.SIGKILL)
            cluster.workers.pop(name).ended()  # its dying guest is not taken for the next
        assert lab.ended(seconds=60) == 125, lab.progress
        (trial,) = lab.run.trials()
    assert trial.outcome is Outcome.ERROR
    assert trial.reason.startswith(
        "in quarantine: 2 workers died while they ran prefault/sparse-touch on qxl"
    )
    assert trial.reason.endswith(", ".join(killed))
    assert cluster.guests() == []
