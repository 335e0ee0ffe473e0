# SPDX-License-Identifier: GPL-2.0-or-later
"""The nested lab host: trials under KVM in a guest that plays the host, exits counted exactly, and an end for
every way in which it can be lost."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from labrun import Lab, Ran, run_lab
from one_trial import work_on
from processes import PATIENCE, Running, descendants, started

from lab import files
from lab.campaign import inside, talk
from lab.campaign.nested import NestedHost, nested_host
from lab.campaign.trial import run_trial
from lab.errors import InfraError
from lab.guest.labhost import MACHINE
from lab.guest.prepare import Bench
from lab.results.models import Clock, Outcome, Trial
from lab.spec.catalog import Catalog

HERE = Path(__file__).parent
WORKLOADS = HERE.parent / "vm/workloads"
SPANS = {"none": 0, "some": 137, "many": 2000}
"""Of port_writes.c: exits by construction."""


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """One campaign in the nested host, which is booted once for it."""
    cases = ("smoke/boot", "prefault/first-touch", WORKLOADS / "panic.yaml", HERE / "port-writes.yaml")
    return run_lab("run", *cases, "--executor", "nested", state=tmp_path_factory.mktemp("nested") / "state")


def test_one_host_for_all_trials(campaign: Ran) -> None:
    """All trials ran in one nested host; a kernel that panics in there is a CRASH of its own trial alone."""
    boot, touch, panic, ports = campaign.trials
    assert [trial.outcome for trial in (boot, touch, panic, ports)] == [
        Outcome.PASS,
        Outcome.PASS,
        Outcome.CRASH,
        Outcome.PASS,
    ], [trial.reason for trial in campaign.trials]
    assert [path.name for path in (campaign.run.path / "nested").iterdir()] == ["1"]
    assert b"LAB-READY" in (campaign.run.path / "nested/1/console.log").read_bytes()
    assert "sysrq triggered crash" in panic.reason


def test_result_says_where_it_was_run(campaign: Ran) -> None:
    """KVM, nesting level 1, both QEMU lines, the host's kernel in between, and no time that is judged."""
    for trial in campaign.trials:
        about = trial.environment
        assert about is not None
        assert (about.accelerator, about.nesting, about.clock) == ("kvm", 1, Clock.FUNCTIONAL)
        assert "nested" in about.accelerator_reason
        assert values(about.qemu_argv, "-accel") == ["kvm"]
        assert values(about.outer_qemu_argv, "-accel") == ["tcg"]
        assert about.host_kernel.split()[1] in campaign.run.kernels()[trial.kernel].release


def values(argv: tuple[str, ...], option: str) -> list[str]:
    return [argv[at + 1] for at, word in enumerate(argv) if word == option]


def test_counts_are_exact_in_there(campaign: Ran) -> None:
    """A fault is a fault under nested KVM as well: 2048 pages of a BO by 16."""
    touch = campaign.trials[1]
    assert value(touch, "faults") == 128
    assert (campaign.file(touch, "samples") / "touches.txt").is_file()
    assert (campaign.file(touch, "qemu.cmd")).read_text().startswith("#!/bin/sh")


def value(trial: Trial, metric: str) -> float:
    found = trial.value(metric)
    assert found is not None, (metric, trial.notes)
    return found.value


def test_exits_counted_three_ways_agree(campaign: Ran) -> None:
    """Port writes: KVM's statistics, the tracepoint, and how many the workload makes. Exactly."""
    ports = campaign.trials[3]
    for name, known in SPANS.items():
        assert value(ports, f"{name}_io_exits") == known
        assert value(ports, f"{name}_exits_io") == known
        assert value(ports, f"{name}_exits") == known
    # What only computes has exits of the timer's, and none of its own.
    assert value(ports, "ticks_exits_timer") > 0
    assert value(ports, "ticks_exits") == 0


def test_case_that_needs_kvm_goes_there_by_itself(lab: Lab) -> None:
    """Without KVM here it runs nested, with `--executor local` it is SKIP, and says why both times."""
    ran = lab("run", HERE / "port-writes.yaml", "--executor", "local", "--accel", "tcg")
    assert ran.trial.outcome is Outcome.SKIP
    assert "the case needs what this host lacks: KVM" in ran.trial.reason
    ran = lab("run", HERE / "port-writes.yaml", "--accel", "tcg", "--dry-run")
    assert ran.code == 0, ran.stderr


@pytest.fixture
def host(tmp_path: Path) -> Iterator[NestedHost]:
    with nested_host(Bench.set_up(), tmp_path / "hosts") as opened:
        yield opened


def shell(host: NestedHost, script: str, seconds: float = 30.0) -> str:
    done = json.loads(host.call(inside.command, ["sh", "-c", script], seconds, seconds=seconds + 10))
    assert done["code"] == 0, done
    return str(done["stdout"])


def test_a_lost_host_is_told_and_replaced(host: NestedHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is killed, and one that does not answer in time: InfraError at once, the next job gets a new
    one. The host's files are there and cannot be written; the cache can, in memory. Pokes are no jobs."""
    shell(
        host,
        "test -r /etc/os-release && ! touch /usr/x 2>/dev/null && touch $LAB_CACHE/.x && test -c /dev/kvm",
    )
    assert not (Path(os.environ.get("LAB_CACHE", "~/.cache/faultlab")).expanduser() / ".x").exists()
    assert int(shell(host, "ls /sys/kernel/iommu_groups | wc -l")) > 0
    first = host.guest.process.pid

    def kill() -> None:
        time.sleep(1.0)
        os.kill(first, signal.SIGKILL)

    threading.Thread(target=kill, daemon=True).start()
    begun = time.monotonic()
    with pytest.raises(InfraError, match="ended from outside by SIGKILL"):
        shell(host, "sleep 60", 100)
    assert time.monotonic() - begun < 10
    with pytest.raises(InfraError, match="took longer than 3 s"):
        host.call(inside.command, ["sleep", "60"], 60.0, seconds=3)
    assert host.guest.process.pid != first
    assert shell(host, "echo back") == "back\n"
    monkeypatch.setattr(talk, "POKE_SECONDS", 0.05)
    assert shell(host, "sleep 2; echo slept") == "slept\n"
    assert shell(host, "echo and again") == "and again\n"


def test_a_host_that_stands_is_told_and_replaced(host: NestedHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """One whose processor does nothing any more is given up long before its job's deadline; one that idles
    between two jobs is not."""
    monkeypatch.setattr(talk, "POKE_SECONDS", 0.5)
    monkeypatch.setattr(talk, "SILENCE_SECONDS", 10.0)
    monitor = host.guest.monitor
    time.sleep(11.0)
    assert shell(host, "sleep 12; echo slept") == "slept\n"
    threading.Timer(1.0, monitor.execute, ["stop"]).start()
    begun = time.monotonic()
    with pytest.raises(InfraError, match="it has answered nothing for 10 s"):
        shell(host, "sleep 60", 100)
    assert time.monotonic() - begun < 30
    assert shell(host, "echo back") == "back\n"


def test_a_panic_of_the_host_is_an_error(host: NestedHost, tmp_path: Path) -> None:
    """The host's own kernel panics under a trial: ERROR that says so, and the next trial gets a new host."""
    bench, work = Bench.set_up(), work_on("smoke/boot", Catalog.load().machine("qxl"))
    panics = "until grep -qs qemu /proc/[0-9]*/comm; do sleep 0.2; done; echo c > /proc/sysrq-trigger"
    # A job's own session ends with it: it waits until the script has left that.
    begun = "until test -e /tmp/begun; do sleep 0.1; done"
    shell(host, f"setsid sh -c 'touch /tmp/begun; {panics}' > /dev/null 2>&1 & {begun}")
    trials = []
    for name in ("lost", "next"):
        (tmp_path / name / "samples").mkdir(parents=True)
        trials.append(run_trial(bench, work, tmp_path / name, carrier=host.run))
    lost, after = trials
    assert lost.outcome is Outcome.ERROR
    assert "the nested lab host is lost: the kernel panicked" in lost.reason
    assert "sysrq triggered crash" in (tmp_path / "hosts/1/console.log").read_text()
    assert after.outcome is Outcome.PASS, after.reason
    assert (tmp_path / "hosts/2").is_dir()


def test_cpu_model_without_svm(tmp_path: Path) -> None:
    """No KVM in there: said as such, with what the CPU model must offer."""
    machine = MACHINE.model_copy(update={"cpu": "max,-svm"})
    with (
        nested_host(Bench.set_up(), tmp_path, machine=machine) as opened,
        pytest.raises(InfraError) as caught,
    ):
        opened.call(inside.about, seconds=10)
    assert "SVM" in str(caught.value)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_nothing_outlives_the_lab(number: signal.Signals, state: Path, tmp_path: Path) -> None:
    """^C and SIGKILL while the nested host boots: no QEMU is left, nothing half made is kept."""

    def booting(lab: Running) -> None:
        lab.until(lambda: any(lab.state.glob("runs/latest/nested/1/console.log")), "a nested host")
        lab.until_runs("qemu-system-x86")

    with started("run", "smoke/boot", "--executor", "nested", folder=tmp_path / "lab", state=state) as lab:
        booting(lab)
        lab.send(number)
        code = lab.ended()
        lab.assert_nothing_runs()
        assert code == (130 if number is signal.SIGINT else -signal.SIGKILL)


def test_two_labs_side_by_side(tmp_path: Path) -> None:
    """Each has a nested host of its own. SIGTERM under a trial of the first leaves nothing of it, and the
    second goes on to its end."""

    def running(name: str) -> AbstractContextManager[Running]:
        words = ("run", "smoke/boot", "--executor", "nested")
        return started(*words, folder=tmp_path / name, state=tmp_path / f"{name}-state")

    def serves(lab: Running) -> None:
        lab.until(lambda: "boot the nested lab host (" in lab.progress, "a nested host")

    with running("first") as first, running("second") as second:
        serves(first)
        serves(second)
        first.send(signal.SIGTERM)
        assert first.ended() == 130
        others = {second.process.pid, *(one.pid for one in descendants(second.process.pid))}
        assert [one for one in first.orphans() if one.pid not in others] == []
        assert first.unfinished() == []
        assert first.finished_trials() == {}
        assert second.ended(PATIENCE) == 0, second.progress
        assert [trial.outcome for trial in second.run.trials()] == [Outcome.PASS]


def test_spans_cost_nothing_on_the_virtual_clock(lab: Lab, tmp_path: Path) -> None:
    """A workload that announces spans takes no more instructions than the same without."""
    sources = files.shipped("testcases") / "prefault"
    yaml = (sources / "first-touch.yaml").read_text().partition("touches:")[0]
    for name in ("with", "without"):
        folder = tmp_path / name
        folder.mkdir()
        shutil.copy(sources / "window.h", folder)
        text = (sources / "bo_touch.c").read_text()
        assert text.count("lab_span") == 3
        if name == "without":
            text = re.sub(r"\tlab_span\w*\(.*\);\n", "", text)
        (folder / "bo_touch.c").write_text(text)
        (folder / f"{name}.yaml").write_text(yaml)
    ran = lab("run", tmp_path / "with/with.yaml", tmp_path / "without/without.yaml")
    counted, plain = ran.trials
    assert counted.outcome is plain.outcome is Outcome.PASS
    assert counted.environment is not None
    assert "pvpanic" not in counted.environment.qemu_argv
    assert value(counted, "touch_total") <= 1.01 * value(plain, "touch_total")
    assert value(counted, "touch_max") == value(plain, "touch_max")
