# SPDX-License-Identifier: GPL-2.0-or-later
"""Moving a device between its driver and vfio-pci, through sysfs. The journal is written first.

Nothing here stops half-way because the user wishes to stop: what was begun is brought to an end, and each
wait is short.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from lab import proc
from lab.errors import InfraError
from lab.guest.vfio import journal, usage
from lab.guest.vfio.devices import HERE, VFIO, Device, Host, find_device
from lab.guest.vfio.journal import Entry
from lab.waiting import Deadline

WRITE_SECONDS = 30.0
"""The longest that the kernel may take for a write to sysfs: drivers clean up while it waits."""

SETTLE_SECONDS = 10.0
"""How long a device may take to get its driver, or a QEMU that was killed to let go of it."""

VFIO_SET_IOMMU, VFIO_GROUP_SET_CONTAINER = 0x3B66, 0x3B68  # linux/vfio.h: _IO(';', 100 + n)
TYPE1V2 = 3


def load_driver(host: Host = HERE) -> None:
    """Have vfio-pci there. InfraError if the kernel has none."""
    if (host.pci / "drivers" / VFIO).is_dir() and (host.sys / "module/vfio_iommu_type1").is_dir():
        return
    modprobe = proc.needed("modprobe", package="kmod", why="vfio-pci is loaded with it")
    proc.run([modprobe, "-a", VFIO, "vfio_iommu_type1"], timeout=30)


def take(device: Device, host: Host = HERE, *, held: Literal["run", "user"] = "run") -> Entry:
    """Take the device from its driver and let vfio-pci have it; the caller holds its lock and has asked for
    obstacles. InfraError if the kernel refuses: then it has been given back."""
    load_driver(host)
    entry = journal.new_entry(device.address, device.driver, device.override, held)
    journal.write(entry)
    try:
        _move(host, device.address, override=VFIO, driver=VFIO)
    except (OSError, InfraError) as error:
        left = give_back(entry, host)
        kept = f"; and it did not come back: {left.quarantined}" if left else ""
        raise InfraError(
            f"{device.address} could not be taken from {device.driver or 'the bus'}: {error}{kept}",
            hint="the kernel's log says why (dmesg)",
        ) from error
    return entry


def give_back(entry: Entry, host: Host = HERE) -> Entry | None:
    """Let the device have the driver that it had. None: it has. Else it is in quarantine, and the entry says
    why; asked again, this tries again."""
    try:
        device = _on_the_bus(host, entry.address)
        _await_release(host, device)
        _move(host, entry.address, override=entry.override, driver=entry.driver)
        _check_alive(host, entry.address)
    except (OSError, InfraError) as error:
        return journal.quarantine(entry, error.message if isinstance(error, InfraError) else str(error))
    journal.forget(entry.address)
    return None


def check_group(device: Device, host: Host = HERE) -> None:
    """Do with the device's group what QEMU will do: InfraError says what would be in its way.

    The IOMMU must translate interrupts as well, or a guest could raise those of others; whether to do without
    is the user's decision alone.
    """
    doing = "open"
    try:
        with (
            _opened(host.dev / "vfio/vfio") as container,
            _opened(host.dev / f"vfio/{device.group}") as group,
        ):
            doing = "make a container of"
            fcntl.ioctl(group, VFIO_GROUP_SET_CONTAINER, struct.pack("i", container))
            doing = "translate for"
            fcntl.ioctl(container, VFIO_SET_IOMMU, TYPE1V2)
    except OSError as error:
        if error.errno == errno.EPERM and doing == "translate for":
            raise InfraError(
                f"the IOMMU of {device.address} does not translate interrupts (no interrupt remapping)",
                hint="if you trust the guest with the interrupts of the host, set it yourself: "
                "echo 1 > /sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts",
            ) from error
        raise InfraError(
            f"VFIO cannot {doing} group {device.group} of {device.address}: {error.strerror}",
            hint="`lab vfio list` shows who else is in it",
        ) from error


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    """A descriptor for the time of a block."""
    handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        yield handle
    finally:
        os.close(handle)


def _on_the_bus(host: Host, address: str) -> Device:
    device = find_device(host, address)
    if device is None:
        _write(host, host.pci / "rescan", "1")
        device = find_device(host, address)
    if device is None:
        raise InfraError("it is no longer on the PCI bus", hint="only a reboot may bring it back")
    return device


def _await_release(host: Host, device: Device) -> None:
    """Wait until nobody has the group open: vfio-pci lets go of nothing that is in use, and neither does who
    asks it to."""
    if device.driver != VFIO:
        return
    deadline = Deadline("release of the group", SETTLE_SECONDS)
    while who := usage.open_by(host, device):
        if deadline.expired:
            raise InfraError(who, hint="end that process first")
        time.sleep(deadline.slice())


def _move(host: Host, address: str, *, override: str, driver: str) -> None:
    """Give the device that driver ("": none). InfraError if it has another one in the end, OSError if a write
    was refused."""
    attribute = host.folder(address) / "driver_override"
    # A probe takes the first driver that fits: for its time there is but one.
    only = driver or override
    _write(host, attribute, only or "\n")
    refused: OSError | None = None
    try:
        _rebind(host, address, driver)
    except OSError as error:  # a kernel that does not answer would not answer the next write either
        refused = error
    if only != override:
        _write(host, attribute, override or "\n")
    if refused is not None:
        raise refused
    if (now := _driver(host, address)) != driver:
        raise InfraError(f"its driver is {now or 'none'} and not {driver or 'none'}")


def _rebind(host: Host, address: str, driver: str) -> None:
    """Take the device from the driver that it has, and let the kernel give it the one that it may have."""
    now = _driver(host, address)
    if now and now != driver:
        _write(host, host.folder(address) / "driver/unbind", address)
    if driver and _driver(host, address) != driver:
        _write(host, host.pci / "drivers_probe", address)
        deadline = Deadline("probe", SETTLE_SECONDS)
        if _driver(host, address) == "":
            _write(host, host.pci / "drivers" / driver / "bind", address)
        while _driver(host, address) != driver and not deadline.expired:
            time.sleep(deadline.slice())


def _driver(host: Host, address: str) -> str:
    device = find_device(host, address)
    return device.driver if device is not None else ""


def _check_alive(host: Host, address: str) -> None:
    """A device that lost its power or its link reads as ones."""
    config = host.folder(address) / "config"
    if config.exists() and config.read_bytes()[:2] == b"\xff\xff":
        raise InfraError("it does not answer any more (its configuration reads as ones)")


def _write(host: Host, path: Path, text: str) -> None:
    """Write an attribute, in a thread of its own: a driver that hangs letting go must not take us along.

    OSError if the kernel refuses, InfraError if it does not answer.
    """
    refused: list[OSError] = []

    def write() -> None:
        try:
            host.write(path, text)
        except OSError as error:
            refused.append(error)

    thread = threading.Thread(target=write, daemon=True, name="sysfs")
    thread.start()
    thread.join(WRITE_SECONDS)
    if thread.is_alive():
        raise InfraError(f"the kernel has not answered for {WRITE_SECONDS:.0f} s: {text!r} to {path}")
    if refused:
        raise refused[0]
