# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernels that do not come up: said once, with what is known, and the rest of the plan is not run in vain."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import pytest

from lab import files
from lab.campaign import trial
from lab.guest.prepare import Bench
from lab.image.cpio import Archive
from lab.kernel.kernel import Kernel
from lab.kernel.obtain import obtain
from lab.results.models import Outcome, Trial
from lab.results.runfolder import RunFolder
from lab.spec.catalog import Catalog
from lab.workflow.campaigns import Options, conclude, new_record, run_trials

pytestmark = pytest.mark.usefixtures("two_processors")

HALT = bytes.fromhex("f4 ebfd")
"""hlt; jmp to it: with interrupts off, for ever."""

RESET = bytes.fromhex("0f011d 00000000 cc")
"""lidt [0]; int3: an interrupt without a handler, so a triple fault."""

CASES = ("smoke/boot", "prefault/first-touch", "prefault/second-touch", "prefault/misaligned")


def tiny_kernel(code: bytes, path: Path) -> Path:
    """A multiboot image (flat, loaded at 1 MiB) that executes `code` and nothing else."""
    magic, flags, start, header = 0x1BADB002, 1 << 16, 0x100000, 32
    end = start + header + len(code)
    words = (magic, flags, -(magic + flags) & 0xFFFFFFFF, start, start, end, end, start + header)
    path.write_bytes(struct.pack("<8I", *words) + code + bytes(8192))
    return path


def stock() -> Kernel:
    return obtain("stock", with_build=False)


def with_image(code: bytes, folder: Path) -> Kernel:
    """The stock kernel with its image replaced: modules and drivers are what they were."""
    kernel = stock()
    record = kernel.record.model_copy(update={"id": "0123456789ab", "name": "an image of the tests"})
    return replace(kernel, record=record, vmlinuz=tiny_kernel(code, folder / "image"), vmlinux=None)


def run(kernel: Kernel, bench: Bench | None = None) -> tuple[list[Trial], RunFolder, int]:
    """What `lab run CASES` does, with a kernel that no package has; the last is lab's exit code."""
    catalog = Catalog.load()
    record = new_record("run", "broken", catalog, catalog.select(CASES), ("kernel",), Options())
    folder = RunFolder.create(record)
    run_trials(bench or Bench.set_up(), folder, {"kernel": kernel})
    return folder.trials(), folder, conclude(folder).verdict.exit_code


def check_told_once(trials: list[Trial], outcome: Outcome) -> Trial:
    """All that was booted, two guests at most at a time, ended alike; the rest is SKIP with the reason."""
    booted = [one for one in trials if one.environment is not None]
    assert 1 <= len(booted) <= 2 and booted[0].number == 1
    assert {(one.outcome, one.stage) for one in booted} == {(outcome, "boot")}
    for one in trials[len(booted) :]:
        assert one.outcome is Outcome.SKIP
        assert one.reason.startswith("not run: this kernel does not boot on qxl")
    return booted[0]


def test_silent_boot_is_timeout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that never says a word is TIMEOUT for its silence, exit 1, telling where the CPU stands."""
    monkeypatch.setitem(trial.SILENCE_SECONDS, "tcg", 3.0)
    trials, folder, code = run(with_image(HALT, tmp_path))
    first = check_told_once(trials, Outcome.TIMEOUT)
    assert code == 1
    assert "silent: no word on the console for 3 s while booting" in first.reason
    assert "virtual CPU at EIP=0010002" in first.reason
    assert (folder.trial_path(first.key) / "console.log").read_bytes() == b""


def test_reset_is_crash(tmp_path: Path) -> None:
    """A kernel that resets before it says anything is CRASH, exit 1, not a guest that powered off well."""
    trials, _, code = run(with_image(RESET, tmp_path))
    first = check_told_once(trials, Outcome.CRASH)
    assert code == 1
    assert first.reason == "the guest reset or powered off without a word before it was ready"


class WithoutUserland(Bench):
    """A bench whose initramfs holds modules and orders, but no program."""

    def userland(self, name: str) -> Path:
        path = files.state_dir("images") / "empty.cpio"
        path.write_bytes(Archive().packed())
        return path


def test_panic_without_init_is_crash() -> None:
    """A kernel that finds no init is CRASH, exit 1, with its panic's words."""
    bench = Bench.set_up()
    trials, folder, code = run(stock(), WithoutUserland(bench.qemu, bench.init))
    first = check_told_once(trials, Outcome.CRASH)
    assert code == 1
    assert "kernel panic: VFS: Unable to mount root fs" in first.reason
    assert first.splats[0].kind == "panic"
    assert b"Kernel panic - not syncing" in (folder.trial_path(first.key) / "console.log").read_bytes()
