# SPDX-License-Identifier: GPL-2.0-or-later
"""How long a boot takes, as a ratio to the floor and to a peer in the same run.

    python bench/boot.py [-n 10] [--vng PATH] [--json FILE]

All boot the stock kernel under plain TCG with one CPU and 512 MiB, in turn, so that a host that gets busy
gets busy for all; the first round is a warm-up and is not counted. Quote medians of the ratios, which are
formed round by round.

    floor       bare QEMU, the packaged bzImage, an initramfs of busybox that says READY and powers off
    floor ELF   the same, with the ELF out of the bzImage (what the lab boots)
    lab         the lab's guest, without a GPU; then with the qxl machine and its driver
    command     `lab run --accel tcg -- uname -r`, the whole command, SSH and all
    virtme-ng   `vng ... -r VMLINUZ -- uname -r`, the whole command, its best options under TCG (as root only:
                the kernel's modules are shown to it at /lib/modules in a mount namespace)
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from lab.guest.accelerator import Choice
from lab.guest.guest import booted
from lab.guest.prepare import Bench, prepare_boot
from lab.image.cpio import Archive
from lab.image.initramfs import Job
from lab.kernel.kernel import Kernel
from lab.kernel.obtain import obtain
from lab.results.models import Clock
from lab.spec.catalog import Catalog
from lab.spec.models import Machine
from lab.waiting import Deadline

LIMIT = 300.0
"""Seconds that any single boot may take before the benchmark gives up."""

FLOOR_INIT = "#!/bin/busybox sh\necho READY >/dev/console\nexec /bin/busybox poweroff -f\n"

Times = dict[str, float]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-n", type=int, default=10, help="counted rounds (default 10)")
    parser.add_argument("--vng", default="", help="path of virtme-ng's vng; left out if not given")
    parser.add_argument("--json", type=Path, help="write every single time to this file")
    options = parser.parse_args()
    bench, kernel = Bench.set_up(), obtain("stock", with_build=False)
    with tempfile.TemporaryDirectory(prefix="faultlab-bench-") as folder:
        measured = contestants(bench, kernel, Path(folder), options.vng)
        rounds = [one_round(measured, number) for number in range(options.n + 1)][1:]
    report(rounds, kernel, bench)
    if options.json:
        options.json.write_text(json.dumps(rounds, indent=2) + "\n")
    return 0


def one_round(measured: dict[str, Callable[[], Times]], number: int) -> Times:
    times: Times = {}
    for name, run in measured.items():
        times |= {f"{name}{part}": value for part, value in run().items()}
    print(
        f"round {number}{' (warm-up)' if number == 0 else ''}: "
        + ", ".join(f"{k} {v:.2f}" for k, v in times.items()),
        file=sys.stderr,
    )
    return times


def contestants(bench: Bench, kernel: Kernel, folder: Path, vng: str) -> dict[str, Callable[[], Times]]:
    initrd = folder / "floor.cpio"
    initrd.write_bytes(floor_initramfs())
    bare, qxl = Machine(title="no GPU"), Catalog.load().machine("qxl")
    found: dict[str, Callable[[], Times]] = {
        "floor": lambda: floor(bench, kernel.vmlinuz, initrd),
        "lab": lambda: lab(bench, kernel, bare, folder),
        "lab qxl": lambda: lab(bench, kernel, qxl, folder),
        "command": command,
    }
    if kernel.vmlinux is not None:
        elf = kernel.vmlinux
        found["floor ELF"] = lambda: floor(bench, elf, initrd)
    if vng:
        found["virtme-ng"] = lambda: virtme(vng, kernel)
    return found


def floor_initramfs() -> bytes:
    """busybox and a script, as one would make by hand."""
    archive = Archive()
    archive.file("/init", FLOOR_INIT.encode(), 0o755)
    archive.file("/bin/busybox", Path("/bin/busybox").read_bytes(), 0o755)
    archive.char_device("/dev/console", 5, 1)
    return archive.packed()


def floor(bench: Bench, image: Path, initrd: Path) -> Times:
    argv = [bench.qemu.path, "-machine", "pc", "-accel", "tcg", "-cpu", "max", "-m", "512M", "-nodefaults"]
    argv += [
        "-display",
        "none",
        "-serial",
        "stdio",
        "-no-reboot",
        "-kernel",
        str(image),
        "-initrd",
        str(initrd),
    ]
    argv += ["-append", "console=ttyS0 panic=-1"]
    started = time.monotonic()
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as child:
        assert child.stdout is not None
        ready = next(time.monotonic() for line in child.stdout if line.startswith(b"READY"))
        child.stdout.read()
        child.wait(LIMIT)
    return {": ready": ready - started, ": off": time.monotonic() - started}


def lab(bench: Bench, kernel: Kernel, machine: Machine, folder: Path) -> Times:
    started = time.monotonic()
    choice = Choice("tcg", "benchmark")
    boot = prepare_boot(bench, machine, kernel, Job("boot"), clock=Clock.FUNCTIONAL, choice=choice)
    with booted(boot, folder) as guest:
        guest.wait_ready(Deadline("boot", LIMIT), silence=LIMIT)
        ready = time.monotonic()
        guest.wait_end(Deadline("power-off", LIMIT))
    return {": ready": ready - started, ": off": time.monotonic() - started}


def command() -> Times:
    argv = [sys.executable, "-m", "lab", "run", "--accel", "tcg", "--", "uname", "-r"]
    return {"": timed(argv)}


def virtme(vng: str, kernel: Kernel) -> Times:
    best = [
        "--disable-kvm",
        "--disable-microvm",
        "--force-9p",
        "--user",
        "root",
        "--cpus",
        "1",
        "--memory",
        "512M",
    ]
    modules = kernel.root / "lib" / "modules"
    script = 'mount --bind "$1" /lib/modules && shift && exec "$@"'
    argv = ["unshare", "--mount", "sh", "-c", script, "sh", str(modules), vng, *best]
    return {"": timed([*argv, "-r", str(kernel.vmlinuz), "--", "uname", "-r"], near=Path(vng).parent)}


def timed(argv: list[str], near: Path | None = None) -> float:
    path = ":".join([*([str(near)] if near else []), os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    started = time.monotonic()
    done = subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=LIMIT,
        env={**os.environ, "PATH": path},
        check=False,
    )
    if b"6." not in done.stdout + done.stderr and done.returncode != 0:
        raise SystemExit(
            f"{argv} ended with {done.returncode}: {done.stderr.decode(errors='replace')[-400:]}"
        )
    return time.monotonic() - started


def report(rounds: list[Times], kernel: Kernel, bench: Bench) -> None:
    print(f"{kernel.record.name}, {bench.qemu.banner}, TCG, 1 CPU, 512 MiB, n = {len(rounds)}, seconds")
    print(f"{'':18} {'min':>7} {'median':>7} {'max':>7}")
    for name in rounds[0]:
        values = [times[name] for times in rounds]
        print(f"{name:18} {min(values):7.2f} {statistics.median(values):7.2f} {max(values):7.2f}")
    print("ratios, formed round by round")
    for ours, theirs in RATIOS:
        if theirs in rounds[0]:
            values = [times[ours] / times[theirs] for times in rounds]
            label = f"{ours} / {theirs}"
            print(f"{label:32} {min(values):7.2f} {statistics.median(values):7.2f} {max(values):7.2f}")


RATIOS = (
    ("lab: ready", "floor: ready"),
    ("lab: off", "floor: off"),
    ("lab: off", "floor ELF: off"),
    ("lab qxl: off", "floor: off"),
    ("lab: off", "virtme-ng"),
    ("lab qxl: off", "virtme-ng"),
    ("command", "virtme-ng"),
)

if __name__ == "__main__":
    sys.exit(main())
