# SPDX-License-Identifier: GPL-2.0-or-later
"""Talking with the nested lab host over its port: jobs go in, answers come out, its end is told as such."""

from __future__ import annotations

import contextlib
import time

from pydantic import ValidationError

from lab.campaign.inside import NO, OK, About
from lab.errors import InfraError
from lab.guest.guest import End, Guest
from lab.guest.port import framed
from lab.waiting import Deadline

POKE_SECONDS = 5.0
"""How often a host that does a job is sent an empty message, which it answers with another. For the interrupt
that comes with it: QEMU 7.2 can lose interrupts of a processor that runs a guest (execute.NESTED_ATTEMPTS); a
host with one processor that has lost its timer's stands still until a device interrupts it. One did, in some
130 boots, without a word."""

SILENCE_SECONDS = 90.0
"""A host that does a job and has answered no poke for so long stands. Longer than the soft lockup detector in
there takes (labhost.CMDLINE), which has more to say."""


class Refused(InfraError):
    """The host runs well and could not do the job."""


def send(guest: Guest, data: bytes, deadline: Deadline) -> None:
    """Send all of it. InfraError if the host ends, or does not take it in time."""
    port = guest.streams.port
    assert port is not None
    left = memoryview(data)

    def gone() -> bool:
        nonlocal left
        left = port.write(left)
        return not left

    check(guest, guest.wait_until(gone, deadline), deadline)


def reply(guest: Guest, deadline: Deadline, *, poke: bool = False) -> bytes:
    """The next answer. Refused if it is no; InfraError if the host ends, or gives none in time.

    With `poke` the host does a job meanwhile: it is poked, and must be heard of every SILENCE_SECONDS.
    """
    port = guest.streams.port
    assert port is not None
    found: list[bytes] = []
    poked = time.monotonic()

    def answered() -> bool:
        nonlocal poked
        if poke and time.monotonic() - poked >= POKE_SECONDS:
            poked = time.monotonic()
            with contextlib.suppress(InfraError):  # it has ended: the wait says how
                port.write(memoryview(framed(b"")))  # eight bytes: all of them or none
        while not found and (message := port.messages.take()) is not None:
            if message:  # an empty one answers a poke
                found.append(message)
        return bool(found or port.messages.broken)

    silence = SILENCE_SECONDS if poke else None
    check(guest, guest.wait_until(answered, deadline, silence=silence), deadline)
    if not found:
        raise lost(guest, port.messages.broken)
    verdict, content = found[0][: len(OK)], found[0][len(OK) :]
    if verdict == OK:
        return content
    if verdict == NO:
        raise Refused(f"in the nested lab host: {content[:2000].decode(errors='replace')}")
    raise lost(guest, f"it answered {found[0][:40]!r}")


def facts(guest: Guest, deadline: Deadline) -> About:
    """What a host that was booted says first. InfraError if it is not to be understood."""
    said = reply(guest, deadline)
    try:
        return About.model_validate_json(said)
    except ValidationError as error:
        raise lost(guest, f"it says of itself {said[:40]!r}: {error.errors()[0]['msg']}") from error


def check(guest: Guest, end: End, deadline: Deadline) -> None:
    """InfraError if a wait on the host did not end in what was waited for."""
    if end is End.HAPPENED:
        return
    reader = guest.streams.reader
    if reader.failure is not None and "kvm" in reader.failure[1]:
        raise without_kvm(guest, reader.failure[1])
    if reader.failure is not None:
        raise lost(guest, reader.failure[1])
    if guest.killed_by:
        raise lost(guest, f"QEMU was ended from outside by {guest.killed_by}")
    if end is End.SILENCE:
        raise lost(guest, f"it has answered nothing for {SILENCE_SECONDS:.0f} s")
    if end is End.DEADLINE:
        raise lost(guest, f"{deadline.name} took longer than {deadline.seconds:.0f} s")
    said = [*guest.streams.stderr.strip().splitlines(), *reader.stderr.decode(errors="replace").splitlines()]
    raise lost(guest, f"{end.value}{': ' if said else ''}{' '.join(said[-3:])[:500]}")


def without_kvm(guest: Guest, why: str) -> InfraError:
    cpu = guest.boot.launch.machine.cpu
    return InfraError(
        f"the nested lab host has no KVM: {why}", hint=f"its CPU model must offer SVM; it is {cpu}"
    )


def lost(guest: Guest, why: str) -> InfraError:
    return InfraError(
        f"the nested lab host is lost: {why}", hint=f"its console is in {guest.folder / 'console.log'}"
    )
