# SPDX-License-Identifier: GPL-2.0-or-later
"""What was taken from the host, written down before it is taken: STATE/vfio/ADDRESS.json.

An entry is on the disk before the first write to sysfs, and holds all that it takes to go back from any point
of the way. A lab that is killed leaves its entries; whoever starts next sees by them what must go back where.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from lab import files
from lab.errors import InfraError

MAX_ENTRY = 16 << 10


class Entry(BaseModel):
    """One device that is not where it was."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    address: str
    driver: str  # what it had; "" if nothing
    override: str  # its driver_override before; "" if none
    boot_id: str  # of the host's boot in which it was taken: after another one all is as it was
    pid: int  # the lab that took it ...
    started: int  # ... and when, in ticks since boot: a process id alone comes again
    held: Literal["run", "user"]  # "user": bound by command, until it is restored by command
    quarantined: str = ""  # why it did not come back

    def of_this_boot(self) -> bool:
        return self.boot_id == boot_id()

    def owner_lives(self) -> bool:
        return self.started == start_time(self.pid) != 0


def new_entry(address: str, driver: str, override: str, held: Literal["run", "user"]) -> Entry:
    """An entry of this process."""
    pid = os.getpid()
    return Entry(
        address=address,
        driver=driver,
        override=override,
        boot_id=boot_id(),
        pid=pid,
        started=start_time(pid),
        held=held,
    )


def write(entry: Entry) -> None:
    """Write it so that it is on the disk when this returns, however the machine ends. InfraError if it cannot
    be."""
    path = _path(entry.address)
    files.write_whole(path, entry.model_dump_json(indent=2) + "\n")
    with files.named_disk_errors(path):
        for one in (path, path.parent):
            handle = os.open(one, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)


def quarantine(entry: Entry, why: str) -> Entry:
    """Note that the device did not come back. If that cannot be written the entry stays as it is on the disk:
    whoever starts next tries again."""
    noted = entry.model_copy(update={"quarantined": why})
    try:
        write(noted)
    except InfraError as error:
        return noted.model_copy(update={"quarantined": f"{why}; nor could that be noted: {error.message}"})
    return noted


def forget(address: str) -> None:
    """The device is where it was. InfraError if the entry cannot be removed."""
    path = _path(address)
    with files.named_disk_errors(path):
        path.unlink(missing_ok=True)


def read(address: str) -> Entry | None:
    """What is written about a device; None if it was not taken. Raises InfraError if it cannot be read."""
    path = _path(address)
    try:
        with path.open("rb") as handle:
            text = handle.read(MAX_ENTRY)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InfraError(
            f"cannot read {path}: {error.strerror}",
            hint="it says which driver the device had: give it that by hand, then remove what is there",
        ) from error
    try:
        entry = Entry.model_validate_json(text)
    except ValidationError as error:
        raise InfraError(
            f"{path} does not say which driver the device had: {error.errors()[0]['msg']}",
            hint="give the device its driver by hand, then remove the file",
        ) from error
    if entry.address != address:
        raise InfraError(f"{path} is about {entry.address}", hint="remove the file")
    return entry


def taken(address: str) -> Entry | None:
    """The entry of a device, if it was taken in this boot of the host. Raises InfraError as `read` does."""
    entry = read(address)
    return entry if entry is not None and entry.of_this_boot() else None


def entries() -> list[Entry]:
    """All that was taken and not given back, in earlier boots, too. InfraError if one cannot be read."""
    found = (read(path.stem) for path in sorted(files.state_dir("vfio").glob("*.json")))
    return [entry for entry in found if entry is not None]


def _path(address: str) -> Path:
    return files.state_dir("vfio") / f"{address}.json"


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def start_time(pid: int) -> int:
    """When a process began, in ticks since boot; 0 if there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    return int(text.rpartition(") ")[2].split()[19])  # field 22; the name, field 2, may hold anything
