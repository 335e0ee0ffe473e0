# SPDX-License-Identifier: GPL-2.0-or-later
"""The virtual clock repeats: three boots of a case on a kernel, one of them on a host that is busy with other
things, give the same counts and the same latency of every single touch."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from labrun import Ran, run_lab

from lab import proc
from lab.host import cpus
from lab.results.models import Outcome, Trial

QXL = ("prefault/first-touch", "prefault/sparse-touch", "prefault/second-touch")
ELSEWHERE = {"prefault/first-touch": "bochs", "virtio-gpu/first-touch": "virtio-gpu"}
ALL = (*((case, "qxl") for case in QXL), *ELSEWHERE.items())
RUNS = ((*QXL, "--machine", "qxl"), (*ELSEWHERE, "--machine", "bochs", "--machine", "virtio-gpu"))
"""What is given to `lab run`; the second also plans what is SKIP, which takes no time."""

BOOTS = 3


@contextlib.contextmanager
def busy_host() -> Iterator[None]:
    """As many processes that only compute as there are processors."""
    hogs = [proc.spawn([sys.executable, "-c", "while True: pass"]) for _ in range(cpus())]
    try:
        yield
    finally:
        for hog in hogs:
            proc.kill_group(hog)


@pytest.fixture(scope="module")
def boots(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], list[tuple[Ran, Trial]]]:
    """The trials of every case: all but the last boot on the host as it is, the last beside hogs."""
    found: dict[tuple[str, str], list[tuple[Ran, Trial]]] = {where: [] for where in ALL}
    for trials, around in ((BOOTS - 1, contextlib.nullcontext()), (1, busy_host())):
        with around:
            for words in RUNS:
                state = tmp_path_factory.mktemp("boots") / "state"
                ran = run_lab("run", *words, "--trials", str(trials), state=state)
                for trial in ran.trials:
                    if (trial.case, trial.machine) in found:
                        found[trial.case, trial.machine].append((ran, trial))
    return found


def samples(ran: Ran, trial: Trial) -> dict[str, bytes]:
    """Every sample file, byte for byte."""
    folder: Path = ran.file(trial, "samples")
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize(("case", "machine"), ALL)
def test_boots_repeat(case: str, machine: str, boots: dict[tuple[str, str], list[tuple[Ran, Trial]]]) -> None:
    """Three boots, one beside a busy host: the same metrics, and sample files that are the same bytes."""
    several = boots[case, machine]
    assert [trial.outcome for _, trial in several] == [Outcome.PASS] * BOOTS
    first_run, first = several[0]
    assert first.measurements
    latencies = samples(first_run, first)["touches.txt"].splitlines()
    assert latencies[0] == b"page insn"
    touches = first.value("touches")
    assert touches is not None and len(latencies) - 1 == touches.value > 0
    for ran, trial in several[1:]:
        assert trial.measurements == first.measurements
        assert samples(ran, trial) == samples(first_run, first)


SLOW = """
import time
from lab.cli.main import main
from lab.guest.streams import Streams
read = Streams._read
def slowly(*arguments):
    time.sleep(0.1)
    return read(*arguments)
Streams._read = slowly
main()
"""


def test_lab_that_is_slow_to_listen_changes_nothing(tmp_path: Path) -> None:
    """A guest never waits for its console to be read: the times of all its words are the same."""
    words = ("run", "smoke/boot", "--machine", "bochs")
    usual = run_lab(*words, state=tmp_path / "usual")
    slow = run_lab(*words, state=tmp_path / "slow", program=("-c", SLOW))
    assert usual.code == slow.code == 0, slow.stderr
    usual_log, slow_log = (ran.file(ran.trial, "dmesg.txt").read_text() for ran in (usual, slow))
    assert usual_log == slow_log
