# SPDX-License-Identifier: GPL-2.0-or-later
"""What a case asks of its guest is what the guest gets, as the guest itself sees it."""

from __future__ import annotations

from pathlib import Path

import pytest
from labrun import Lab

from lab import proc
from lab.results.models import Clock, Outcome

WORKLOADS = Path(__file__).parent / "workloads"
KERNELS = ["stock", "debian:7.3"]


def test_guest_is_as_its_case_asks(lab: Lab) -> None:
    """Disks with their sizes and throttle, memory, command line, a module and a parameter; on the case's own
    clock, whatever the default; one trial that cannot be is SKIP, one that is wrong is ERROR."""
    names = ("guest-keys", "too-new", "no-parameter")
    ran = lab("run", *(WORKLOADS / f"{name}.yaml" for name in names))
    keys, new, wrong = ran.trials
    assert keys.outcome is Outcome.PASS, keys.reason
    assert {check.name for check in keys.checks} >= {
        "/dev/vda",
        "/dev/vdb",
        "throttled",
        "parameter",
        "memory",
    }
    assert keys.environment is not None
    assert keys.environment.clock is Clock.FUNCTIONAL
    argv = keys.environment.qemu_argv
    assert "384M" in argv
    assert "-icount" not in argv
    (drive,) = [word for word in argv if "throttling" in word]
    assert drive.startswith("if=none,id=disk0,file=/proc/self/fd/")
    assert drive.endswith("throttling.bps-total=1000000")
    assert (new.outcome, new.stage) == (Outcome.SKIP, "plan")
    assert "needs Linux >=99.1" in new.reason
    assert "nobody has written it yet" in new.reason
    assert wrong.outcome is Outcome.ERROR
    assert "module ttm" in wrong.reason
    assert "page_pool_size" in wrong.reason  # the nearest that there is


def test_script_makes_the_disks(lab: Lab, state: Path, tmp_path: Path) -> None:
    """The script of a dry run boots the same guest by hand, with the disks, and leaves none behind."""
    lab("run", WORKLOADS / "guest-keys.yaml", "--dry-run", "--accel", "tcg")
    (script,) = state.glob("dry-runs/*/*/qemu.cmd")
    room = tmp_path / "tmp"
    room.mkdir()
    done = proc.run(["sh", str(script)], timeout=300, check=False, cwd=tmp_path, env={"TMPDIR": str(room)})
    assert done.code == 0, done.errors
    report = (tmp_path / "channel.out").read_text(errors="replace")
    assert "ok 1 /dev/vda # 8388608 bytes" in report
    assert "not ok" not in report
    assert list(room.iterdir()) == []


@pytest.mark.parametrize("kernel", KERNELS)
def test_own_modules_load(lab: Lab, kernel: str) -> None:
    """The lab's own modules are built for a packaged kernel of this and of another suite, and load; the test
    GPU is a TTM driver to the lab."""
    ran = lab("run", WORKLOADS / "own-module.yaml", "--kernel", kernel)
    assert ran.trial.outcome is Outcome.PASS, ran.trial.reason
    log = ran.file(ran.trial, "dmesg.txt").read_text()
    assert "[drm] Initialized lab_gpu" in log
    assert "loading out-of-tree module" in log


def test_series_is_applied_to_the_kernel_alone(lab: Lab) -> None:
    """`--series` boots the patched kernel without a base; the lab's own modules load beside a patched ttm."""
    ran = lab("run", WORKLOADS / "own-module.yaml", "--series", "prefault/pmd-size")
    assert ran.trial.outcome is Outcome.PASS, ran.trial.reason
    (kernel,) = ran.run.kernels().values()
    assert list(kernel.replaced_modules) == ["ttm"]
    assert kernel.name.endswith("+ pmd-size")
    assert (ran.run.path / ran.record.series).read_bytes().startswith(b"From ")
