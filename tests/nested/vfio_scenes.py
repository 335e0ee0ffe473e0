# SPDX-License-Identifier: GPL-2.0-or-later
"""What test_vfio_nested.py does inside the nested lab host, whose kernel and devices are real to it.

Each function is called there by name and returns JSON. Labs are child processes, so that they can be killed.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import re
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from lab import files
from lab.cli.main import _stop_on_signals
from lab.errors import LabError
from lab.guest.guest import Boot, booted
from lab.guest.vfio import hold, journal
from lab.guest.vfio.devices import HERE, find_device
from lab.spec.models import Machine, Passthrough
from lab.waiting import Deadline
from lab.workflow.vfio import offers

PATIENCE = 60.0
"""Seconds for a step of a lab in there, which runs under emulation."""


def in_json(value: object) -> bytes:
    return json.dumps(value).encode()


def driver(address: str) -> str:
    device = find_device(HERE, address)
    return device.driver if device is not None else "no device"


def until(happened: Callable[[], bool], what: str) -> float:
    """Wait; returns the seconds that it took."""
    start = time.monotonic()
    while not happened():
        if time.monotonic() - start > PATIENCE:
            raise LabError(f"{what} did not come")
        time.sleep(0.01)
    return time.monotonic() - start


def listed() -> bytes:
    """`lab vfio list`: state and obstacles by address."""
    return in_json(
        {one.device.address: [one.state, *(why.text for why in one.obstacles)] for one in offers()}
    )


@contextlib.contextmanager
def child(do: Callable[[], None]) -> Iterator[int]:
    """A process that does it and ends as `lab` would; dead at the end of the block in any case."""
    pid = os.fork()
    if pid == 0:
        code = 0
        try:
            os.setsid()
            _stop_on_signals()
            do()
        except LabError as error:
            code = error.exit_code
        except BaseException:
            code = 99
        finally:
            os._exit(code)
    try:
        yield pid
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)


def ended(pid: int) -> int:
    """The exit status of a child: negative for a signal."""
    found: list[int] = []

    def gone() -> bool:
        which, status = os.waitpid(pid, os.WNOHANG)
        if which:
            found.append(status)
        return bool(which)

    until(gone, "the end of the lab")
    return os.waitstatus_to_exitcode(found[0])


def qemus() -> list[int]:
    """Process ids of living QEMUs."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            name, _, rest = path.read_text().partition("(")[2].rpartition(") ")
            if name.startswith("qemu-system") and rest[0] not in "ZX":
                found.append(int(path.parent.name))
    return found


def holds_group(pid: int) -> bool:
    with contextlib.suppress(OSError):
        links = [str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()]
        return any(re.match(r"/dev/vfio/\d", link) for link in links)
    return False


def boots(boot: Boot) -> Callable[[], None]:
    """A lab that boots a guest with the device and waits for its end."""

    def run() -> None:
        with tempfile.TemporaryDirectory() as folder, booted(boot, Path(folder)) as guest:
            guest.wait_end(Deadline("the guest", 2 * PATIENCE))

    return run


def status_of(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def ends_by(boot: Boot, address: str, number: int, victim: str) -> bytes:
    """End a lab, or its QEMU, by a signal while a guest has the device; then start another lab."""
    seen: dict[str, object] = {"before": driver(address)}
    with child(boots(boot)) as pid:
        until(lambda: any(holds_group(qemu) for qemu in qemus()), "a QEMU with the device")
        (qemu,) = (one for one in qemus() if holds_group(one))
        limits = Path(f"/proc/{qemu}/limits").read_text()
        seen["user"] = int(status_of(qemu)["Uid"].split()[0])
        seen["may_lock"] = int(next(line for line in limits.splitlines() if "locked" in line).split()[3])
        seen["during"] = driver(address)
        seen["refused"] = refusal(address)
        os.kill(qemu if victim == "qemu" else pid, number)
        start = time.monotonic()
        seen["status"] = ended(pid)
        until(lambda: not qemus(), "the end of QEMU")
        seen["seconds"] = round(time.monotonic() - start, 2)
    seen["after"] = driver(address)
    seen["journal"] = [entry.address for entry in journal.entries()]
    hold.sweep()
    seen["next"] = driver(address)
    seen["left"] = [entry.address for entry in journal.entries()]
    # Where QEMU's copies of devices were made, on a file system of its own mount namespace.
    probe = files.cache_dir("kvm-probe")
    seen["files"] = [str(path) for path in probe.iterdir() if path.suffix not in (".json", ".lock")]
    seen["files"] += [
        line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(probe) in line
    ]
    return in_json(seen)


def refusal(address: str, *, without_reset: bool = False) -> str:
    """What a run is told that wants this device; "" if it gets it (and gives it back)."""
    wanted = Passthrough(device=address, driver="x", modules=("x",), without_reset=without_reset)
    try:
        with hold.passed_through(Machine(title="wants it", passthrough=wanted)):
            return "" if driver(address) == "vfio-pci" else f"its driver is {driver(address)}"
    except LabError as error:
        return error.message


def refusals(*wanted: tuple[str, bool]) -> bytes:
    """`refusal` of each, and the drivers afterwards."""
    return in_json([[refusal(address, without_reset=any_), driver(address)] for address, any_ in wanted])


def busy(address: str) -> bytes:
    """`refusal` while a program has the device's DRM node open, and when it has closed it."""
    (node,) = HERE.folder(address).glob("drm/card*")
    handle = os.open(f"/dev/dri/{node.name}", os.O_RDWR)
    while_open = refusal(address)
    os.close(handle)
    return in_json([while_open, refusal(address), driver(address)])


def bound_until_restored(*addresses: str) -> bytes:
    """The drivers after `bind` and a start of another lab, and after `restore`."""
    hold.bind(addresses, without_reset=True)
    hold.sweep()
    bound = [driver(address) for address in addresses]
    left = [entry is None for _, entry in hold.restore()]
    return in_json([bound, left, [driver(address) for address in addresses]])


@contextlib.contextmanager
def bar(address: str) -> Iterator[mmap.mmap]:
    """BAR 2 of a device that has no driver, as sysfs maps it."""
    folder = HERE.folder(address)
    (folder / "enable").write_text("1")
    try:
        with (folder / "resource2").open("r+b", buffering=0) as file, mmap.mmap(file.fileno(), 0) as mapped:
            yield mapped
    finally:
        (folder / "enable").write_text("0")


def write_words(address: str, first: int) -> bytes:
    """Put `first`, `first` + 1, ... into the pages of the BAR; how many there are."""
    with bar(address) as mapped:
        for page, at in enumerate(range(0, len(mapped), mmap.PAGESIZE)):
            mapped[at : at + 8] = (first + page).to_bytes(8, "little")
        return in_json(len(mapped) // mmap.PAGESIZE)


def read_words(address: str) -> bytes:
    """The first word of each page of the BAR."""
    with bar(address) as mapped:
        starts = range(0, len(mapped), mmap.PAGESIZE)
        return in_json([int.from_bytes(mapped[at : at + 8], "little") for at in starts])
