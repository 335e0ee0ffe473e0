# SPDX-License-Identifier: GPL-2.0-or-later
"""What tracefs can see of BOs and their mappings: the kprobes, and reading the text that they give.

Only arguments of functions are fetched, and fields at the very beginning of two structures, which lie alike
in all 64-bit kernels from 6.1 on: `struct vm_area_struct` {vm_start, vm_end} and `struct vm_fault` {vma,
gfp_mask, pgoff, address, real_address, flags}. So neither debug information nor a build for the kernel at
hand is needed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from lab.errors import UserError

VMA = "start=+0({0}):x64 end=+8({0}):x64"
FAULT = (
    "vma=+0({0}):x64 pgoff=+16({0}):x64 address=+24({0}):x64 flags=+40({0}):x32 "
    "start=+0(+0({0})):x64 end=+8(+0({0})):x64"
)

PROBES: tuple[tuple[str, str, str], ...] = (
    ("create", "drm_gem_private_object_init", "obj=$arg2:x64 size=$arg3:x64"),
    ("create", "drm_gem_object_init", "obj=$arg2:x64 size=$arg3:x64"),
    ("map", "drm_gem_ttm_mmap", "obj=$arg1:x64 vma=$arg2:x64 " + VMA.format("$arg2")),
    ("map", "drm_gem_shmem_mmap", "obj=$arg1:x64 vma=$arg2:x64 " + VMA.format("$arg2")),
    ("fault", "ttm_bo_vm_reserve", FAULT.format("$arg2")),
    ("fault", "drm_gem_shmem_fault", FAULT.format("$arg1")),
    ("fault", "drm_gem_shmem_any_fault", FAULT.format("$arg1")),
    ("fault", "drm_gem_shmem_pfn_mkwrite", FAULT.format("$arg1")),
    ("close", "ttm_bo_vm_close", "vma=$arg1:x64 " + VMA.format("$arg1")),
    ("close", "drm_gem_vm_close", "vma=$arg1:x64 " + VMA.format("$arg1")),
    ("zap", "unmap_mapping_range", "begin=$arg2:x64 length=$arg3:x64"),
    ("release", "drm_gem_object_release", "obj=$arg1:x64"),
    ("flip", "drm_mode_page_flip_ioctl", "none=$arg1:x64"),
    ("atomic", "drm_mode_atomic_ioctl", "flags=+0($arg2):x32"),
)
"""Kind of event, function, what is fetched. Several functions may tell the same event, even twice: drivers
differ, and so do kernels. A function that is not there is left out."""

MAX_TEXT = 256 << 20
MAX_EVENTS = 2_000_000
MAX_LINE = 600


def probe_lines() -> str:
    """The probes as stutter_record reads them: `NAME SYMBOL FETCH...`."""
    return "".join(f"{kind}{at} {symbol} {fetch}\n" for at, (kind, symbol, fetch) in enumerate(PROBES))


@dataclass(frozen=True)
class Event:
    """One line of the trace. `values` are of a probe; `text` is of a mark."""

    kind: str
    time: float  # seconds
    values: Mapping[str, int]
    text: str = ""


_LINE = re.compile(
    r".{1,16}-[0-9]{1,10} +(?:\([ 0-9-]{1,12}\) +)?\[[0-9]{1,5}\] [^ ]{3,8} +"
    r"([0-9]{1,12}\.[0-9]{1,9}): ([a-z_]{1,32})[0-9]{0,3}: (.*)"
)
_ARGUMENTS = re.compile(r"\([^()]{1,160}\)((?: [a-z]{1,16}=0x[0-9a-f]{1,16})*)")
_WRITTEN = re.compile(r"# entries-in-buffer/entries-written: ([0-9]{1,15})/([0-9]{1,15}) .*")
_LOST = re.compile(r"CPU:[0-9]{1,5} \[LOST [0-9 ]{0,15}EVENTS\]")
_FIELDS = {kind: {word.partition("=")[0] for word in fetch.split()} for kind, _symbol, fetch in PROBES}


def read_events(text: str) -> Iterator[Event]:
    """The events of a trace in their order. Lines that are none of ours are passed over.

    Raises UserError if events were lost: what is left would be another story.
    """
    if len(text) > MAX_TEXT:
        raise UserError(
            f"the recording is larger than {MAX_TEXT >> 20} MiB", hint="record for a shorter time"
        )
    count = 0
    for line in text.split("\n"):
        if line.startswith(("#", "CPU:")):
            _refuse_losses(line)
            continue
        event = _event(line)
        if event is None:
            continue
        count += 1
        if count > MAX_EVENTS:
            raise UserError(
                f"the recording has more than {MAX_EVENTS:,} events", hint="record for a shorter time"
            )
        yield event


def _refuse_losses(line: str) -> None:
    written = _WRITTEN.fullmatch(line[:MAX_LINE])
    if (written and written[1] != written[2]) or _LOST.match(line[:MAX_LINE]):
        raise UserError(
            "the kernel's trace buffer overflowed: events are lost", hint="record for a shorter time"
        )


def _event(line: str) -> Event | None:
    match = _LINE.fullmatch(line.lstrip(" ")[:MAX_LINE])
    if match is None:
        return None
    time, kind, rest = float(match[1]), match[2], match[3]
    if kind == "tracing_mark_write":
        return Event("mark", time, {}, rest)
    arguments = _ARGUMENTS.fullmatch(rest)
    if arguments is None or kind not in _FIELDS:
        return None
    values = {
        name: int(value, 16) for name, _, value in (word.partition("=") for word in arguments[1].split())
    }
    return Event(kind, time, values) if values.keys() == _FIELDS[kind] else None
