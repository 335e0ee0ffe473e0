# SPDX-License-Identifier: GPL-2.0-or-later
"""A worker that is lost without a word, as when its network is gone, and that comes back."""

from __future__ import annotations

import concurrent.futures
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from services import SECONDS, Service, scheduler, work, worker
from stand_ins import launch

from lab.cluster import cluster as cluster_module
from lab.cluster.cluster import opened_cluster
from lab.cluster.link import connected
from lab.cluster.versions import own_versions, with_qemu
from lab.guest.guest import Boot
from lab.guest.prepare import Bench
from lab.guest.qemu import find_qemu
from lab.image.initramfs import Initramfs
from lab.results.models import Trial
from lab.spec.models import Machine

LOST_AFTER = 8
"""Seconds; dask looks that often, so a worker is lost after twice as long at the latest."""


def stand_in(folder: Path) -> Any:
    """What a worker does for a job, without a guest: says that it has begun, waits until the test lets it
    answer, and answers with a trial that names it. (Defined in here, so that it is sent as it is written.)"""
    place = str(folder)

    def carry(packed: bytes) -> bytes:
        import json
        import pickle
        import time
        from pathlib import Path

        from distributed import get_worker

        from lab import files
        from lab.campaign.inside import OK
        from lab.campaign.parcel import pack
        from lab.results.models import Clock, Outcome, Trial

        name, order = str(get_worker().name), pickle.loads(packed)
        told = Path(place)
        (told / f"begun-{name}").write_text(order.job)
        end = time.monotonic() + 120
        while not (told / "answer").exists() and time.monotonic() < end:
            time.sleep(0.02)
        kept = {"key": "0001-case", "number": 1, "case": "a/b", "case_digest": "", "kernel": "k1"}
        trial = Trial(
            **kept, role="k", machine="m", clock=Clock.VIRTUAL, outcome=Outcome.PASS, notes=(f"by {name}",)
        )
        with files.scratch(told / name) as made:
            (made / "trial.json").write_text(trial.model_dump_json())
            parcel = pack(made)
        (told / f"answered-{name}").touch()
        head = {"job": order.job, "worker": name, "host": name}
        return json.dumps(head).encode() + b"\n" + OK + parcel

    return carry


def until(path: Path) -> str:
    end = time.monotonic() + SECONDS
    while not path.exists() or not path.read_text():
        assert time.monotonic() < end, f"{path.name} did not come"
        time.sleep(0.02)
    return path.read_text()


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the stand-ins tell how far they are; what they are given has no guest in it."""
    folder = tmp_path / "told"
    folder.mkdir()
    (folder / "vmlinux").write_bytes(b"kernel")
    made = launch(Machine(title="m"), kernel=str(folder / "vmlinux"))
    boot = Boot(made, folder / "vmlinux", Initramfs((), b"orders"), "nonce")
    monkeypatch.setattr(cluster_module, "boot_of", lambda *_: boot)
    monkeypatch.setattr(cluster_module, "carry", stand_in(folder))
    return folder


def test_its_job_is_done_by_another_and_counted_once(
    told: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGSTOP of a worker that has a job: after its time it counts as dead, another one does the job. When it
    comes back its answer is nobody's, it ends by itself, and the next job is done once, too. It is looked all
    the time: that a worker is gone is known a moment before that its job is."""
    monkeypatch.setattr(cluster_module, "LOOK_SECONDS", 0.0)
    with (
        scheduler(tmp_path / "scheduler", "--lost-after", str(LOST_AFTER)) as address,
        worker(tmp_path / "w1", address, "w1", "memory=1024") as first,
        concurrent.futures.ThreadPoolExecutor(1) as pool,
        connected(address, with_qemu(own_versions(), find_qemu())) as link,
        opened_cluster(link, {}) as cluster,
    ):
        bench = Bench(find_qemu(), Path("/init"))

        def run(name: str) -> Trial:
            (tmp_path / name).mkdir()
            return cluster.run(bench, work(), tmp_path / name)

        one = pool.submit(run, "one")
        job = until(told / "begun-w1")
        first.process.send_signal(signal.SIGSTOP)
        stopped = time.monotonic()
        try:
            with worker(tmp_path / "w2", address, "w2", "memory=1024"):
                again = until(told / "begun-w2")
                assert time.monotonic() - stopped < 2 * LOST_AFTER + SECONDS
                assert again != job  # the attempts are kept apart
                (told / "answer").touch()
                assert one.result(SECONDS).notes == (
                    "by w2",
                    "worker w1 died while it ran this; it was run again",
                )
                first.process.send_signal(signal.SIGCONT)
                ends(first)
                assert (told / "answered-w1").exists()  # it had an answer, and nobody took it
                assert [slot.name for slot in link.slots()] == ["w2"]
                assert pool.submit(run, "two").result(SECONDS).notes == ("by w2",)
        finally:
            first.process.send_signal(signal.SIGCONT)
    assert sorted(path.parent.name for path in tmp_path.glob("*/trial.json")) == ["one", "two"]


def ends(service: Service) -> None:
    """By itself, and says why."""
    assert service.process.wait(SECONDS) == 125
    assert "worker w1 lost tcp://" in service.log.read_text()
