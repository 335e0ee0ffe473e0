# SPDX-License-Identifier: GPL-2.0-or-later
"""Choosing the accelerator: by rule where a rule suffices, by one bounded boot where only that can tell."""

from __future__ import annotations

from lab import files, log
from lab.errors import InfraError
from lab.guest.accelerator import (
    DOUBTED_SECONDS,
    PROBE_SECONDS,
    Choice,
    Policy,
    Probed,
    Remembered,
    without_probe,
)
from lab.guest.guest import End, booted
from lab.guest.prepare import Bench, prepare_boot
from lab.image.initramfs import Job
from lab.kernel.kernel import Kernel
from lab.results.models import Clock
from lab.spec.models import Machine
from lab.waiting import Deadline

PROBE_MACHINE = Machine(title="accelerator probe", memory="256M")


def choose(bench: Bench, kernel: Kernel, policy: Policy, clock: Clock) -> Choice:
    """The accelerator for this kernel. With policy "kvm" a KVM that fails the probe is a InfraError."""
    ruled = without_probe(policy, clock)
    if ruled is not None:
        return ruled
    found = probe_kvm(bench, kernel)
    if policy == "kvm" and found.accelerator != "kvm":
        raise InfraError(f"--accel kvm: {found.reason}", hint="use --accel tcg or auto")
    return found


def probe_kvm(bench: Bench, kernel: Kernel) -> Choice:
    """Boot this kernel under KVM once, for at most PROBE_SECONDS, and remember what came of it."""
    remembered = Remembered(bench.qemu, kernel.record.id)
    with files.locked(remembered.lock, what="the KVM probe", seconds=4 * PROBE_SECONDS):
        known = remembered.read()
        if known is not None:
            return known
        with log.step("find out whether KVM can run Linux here"):
            found = _boot_under_kvm(bench, kernel)
        return remembered.write(found)


def _boot_under_kvm(bench: Bench, kernel: Kernel) -> Probed:
    choice = Choice("kvm", "probe")
    boot = prepare_boot(bench, PROBE_MACHINE, kernel, Job("boot"), clock=Clock.REAL, choice=choice)
    release = kernel.record.release
    with files.scratch(files.cache_dir("kvm-probe") / "guest") as folder, booted(boot, folder) as guest:
        deadline = Deadline("KVM probe", PROBE_SECONDS - 1)
        end = guest.wait_ready(deadline, silence=PROBE_SECONDS)
        if end is End.HAPPENED:
            return Probed(
                True,
                f"{release} reached its ready marker under KVM on this host in {guest.ready_seconds:.1f} s",
            )
        if guest.killed_by == "SIGKILL":  # by somebody, or for want of memory: says nothing of KVM
            return Probed(False, "QEMU was killed from outside while KVM was tried", holds=0)
        if end is End.EXITED:
            words = guest.streams.stderr.strip().splitlines()[-1:] or ["no word"]
            return Probed(False, f"/dev/kvm opens, but QEMU ended under KVM: {words[0][:200]}")
        said = (
            f"{guest.streams.console_bytes} bytes on the console"
            if guest.streams.console_bytes
            else "not one word"
        )
    return Probed(
        False,
        f"/dev/kvm opens and answers, but {release} did not reach its ready marker under KVM "
        f"within {deadline.seconds:.0f} s ({said})",
        DOUBTED_SECONDS,
    )
