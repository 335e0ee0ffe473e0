# SPDX-License-Identifier: GPL-2.0-or-later
"""Holding a device for the life of a guest, and bringing back what labs that were killed have left."""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lab import log
from lab.errors import InfraError, LabError, UserError
from lab.guest.vfio import journal
from lab.guest.vfio.binding import check_group, give_back, load_driver, take
from lab.guest.vfio.devices import HERE, VFIO, Device, Host, find_device, pick
from lab.guest.vfio.journal import Entry
from lab.guest.vfio.obstacles import not_root, obstacles, refuse
from lab.spec.models import Machine
from lab.waiting import Deadline, check_stop

TURN_SECONDS = 4 * 3600.0
"""How long a trial may wait for those before it in the same lab, each of which has its own deadlines."""

_turns: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
_guard = threading.Lock()


@contextlib.contextmanager
def locked(address: str, host: Host = HERE) -> Iterator[None]:
    """Hold the device for this thread. Trials of one lab take turns; UserError if another lab has it.

    The lock is on the device's folder in sysfs: it is the same for every lab on this host, whatever its state
    folder, leaves nothing behind, and ends with its owner.
    """
    with _guard:
        turn = _turns[address]
    deadline = Deadline(f"turn on {address}", TURN_SECONDS)
    while not turn.acquire(timeout=deadline.slice()):
        check_stop()
        if deadline.expired:
            raise InfraError(f"another trial of this lab has held {address} for {TURN_SECONDS:.0f} s")
    try:
        handle = os.open(host.folder(address), os.O_RDONLY | os.O_DIRECTORY)
        try:
            _lock_or_name(handle, address)
            yield
        finally:
            os.close(handle)
    finally:
        turn.release()


def _lock_or_name(handle: int, address: str) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        entry = journal.taken(address)
        who = f" (process {entry.pid})" if entry is not None and entry.owner_lives() else ""
        raise UserError(f"another lab uses {address}{who}", hint="wait for it, or end it") from None


@contextlib.contextmanager
def passed_through(machine: Machine, host: Host = HERE) -> Iterator[Machine]:
    """The machine with the address of its device, which vfio-pci has for the time of the block.

    Raises UserError with all that stands in the way; InfraError if it cannot be taken, or if it does not come
    back: then it is in quarantine.
    """
    wanted = machine.passthrough
    if wanted is None:
        yield machine
        return
    address = pick(host, wanted.device).address
    with locked(address, host):
        device = find_device(host, address)
        if device is None:
            raise InfraError(f"{address} has left the PCI bus")
        if found := not_root() + obstacles(device, host, without_reset=wanted.without_reset):
            raise refuse(device, found)
        load_driver(host)
        named = wanted.model_copy(update={"device": address})
        with _taken(device, host):
            check_group(device, host)
            yield machine.model_copy(update={"passthrough": named})


@contextlib.contextmanager
def _taken(device: Device, host: Host) -> Iterator[None]:
    """Nothing is done to a device that vfio-pci has anyway: whoever gave it to it takes it back."""
    if device.driver == VFIO:
        yield
        return
    entry = take(device, host)
    try:
        yield
    except BaseException:
        if lost := _undo(entry, host):
            log.info(lost)
        raise
    if left := give_back(entry, host):
        raise InfraError(_lost(left), hint=f"`lab vfio restore {device.address}` tries again")


def _undo(entry: Entry, host: Host) -> str:
    """Give a device back because something else went wrong; what goes wrong with that, in words, or ""."""
    try:
        left = give_back(entry, host)
    except InfraError as error:  # its entry cannot be removed
        return error.message
    return _lost(left) if left else ""


def _lost(entry: Entry) -> str:
    return f"{entry.address} did not come back to {entry.driver or 'no driver'}: {entry.quarantined}"


def bind(addresses: Sequence[str], *, without_reset: bool, host: Host = HERE) -> list[Device]:
    """Take devices, all or none, until `restore`; returns those that were not taken before.

    Raises UserError with all that stands in the way, InfraError if one cannot be taken.
    """
    devices = list(dict.fromkeys(pick(host, wanted) for wanted in addresses))
    together = [device.address for device in devices]
    with contextlib.ExitStack() as stack:
        for address in sorted(together):
            stack.enter_context(locked(address, host))
        for device in devices:
            found = not_root() + obstacles(device, host, without_reset=without_reset, together=together)
            if found:
                raise refuse(device, found)
        load_driver(host)
        taken: list[Entry] = []
        try:
            for device in devices:
                if device.driver != VFIO:
                    taken.append(take(device, host, held="user"))
            for device in devices:
                check_group(device, host)
        except BaseException as error:
            if lost := [words for entry in taken if (words := _undo(entry, host))]:
                why = error.message if isinstance(error, LabError) else repr(error)
                text = "; and ".join([why, *lost])
                raise InfraError(text, hint="`lab vfio restore` tries again") from error
            raise
    return [device for device in devices if device.driver != VFIO]


@dataclass(frozen=True)
class Left:
    """Why a device was not given back to its driver, in words."""

    text: str
    lost: bool = False  # it should have gone back, and is in quarantine


def restore(address: str = "", host: Host = HERE) -> list[tuple[Entry, Left | None]]:
    """Give back what labs have taken, without what living runs have, or one device. Each entry with why its
    device is not back with its driver; None if it is.

    Raises UserError if a living run has that device, or if no lab took it.
    """
    if os.geteuid() != 0:
        raise UserError("giving a device back to its driver needs root")
    if address:
        entry = pick_taken(address)
        return [(entry, _restore(entry, host))]
    return [(entry, _restore(entry, host)) for entry in journal.entries() if not _in_use(entry)]


def pick_taken(wanted: str) -> Entry:
    """The entry of a device that the journal names."""
    known = {entry.address: entry for entry in journal.entries()}
    found = [known[one] for one in known if wanted.lower() in (one, one.removeprefix("0000:"))]
    if not found:
        taken = f"taken: {', '.join(known)}" if known else "no device is taken"
        raise UserError(f"no lab took {wanted}, so it cannot be given back", hint=taken)
    return found[0]


def _restore(entry: Entry, host: Host) -> Left | None:
    if not host.folder(entry.address).is_dir():
        return _settle(entry, host)  # not on the bus: there is nothing to lock
    with locked(entry.address, host):
        return _settle(entry, host)


def _settle(entry: Entry, host: Host) -> Left | None:
    """Give a device back if that is still due. The caller has its lock; the entry may be older than that."""
    if journal.read(entry.address) != entry:
        return Left("another lab has seen to it meanwhile")
    device = find_device(host, entry.address)
    if not entry.of_this_boot():
        why = "the host has been booted since, and drivers were bound anew"
    elif device is not None and device.driver not in ("", VFIO, entry.driver):
        # No lab did that: whoever did may be working with it.
        why = f"it was given to {device.driver} meanwhile, and stays there"
    else:
        left = give_back(entry, host)
        return Left(f"in quarantine: {left.quarantined}", lost=True) if left else None
    journal.forget(entry.address)
    return Left(why)


def _in_use(entry: Entry) -> bool:
    """By a run that lives."""
    return entry.held == "run" and not entry.quarantined and entry.of_this_boot() and entry.owner_lives()


def sweep(host: Host = HERE) -> None:
    """Give back what labs that were killed had taken for a run, and drop entries of earlier boots; called
    before new work begins."""
    for entry in journal.entries():
        if entry.of_this_boot() and (entry.held != "run" or entry.quarantined or _in_use(entry)):
            continue
        if os.geteuid() != 0:
            if entry.of_this_boot():
                killed = f"{entry.address} was taken by a lab that was killed"
                log.info(f"{killed}: root's `lab vfio restore` returns it")
            continue
        started = time.monotonic()
        with contextlib.suppress(UserError):  # another lab is at it
            left = _restore(entry, host)
            seconds = time.monotonic() - started
            end = left.text if left else f"back with {entry.driver or 'no driver'} ({seconds:.1f} s)"
            log.info(f"{entry.address}, which a lab had taken: {end}")
