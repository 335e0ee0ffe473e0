# SPDX-License-Identifier: GPL-2.0-or-later
"""Reading samples/touches.txt: the latency of every touch of a buffer, in the order of the touches.

    page insn
    0 21840
    1 97

The file comes from the guest: it is bounded, parsed strictly, and refused whole at the first odd line.
"""

from __future__ import annotations

import re
from pathlib import Path

from lab.report.untrusted import open_regular

MAX_SAMPLES = 1_000_000
MAX_BYTES = 64 << 20
FILE_NAME = "touches.txt"

_HEADER = re.compile(rb"(?:# ?)?page [a-z]{1,16}")
_LINE = re.compile(rb"([0-9]{1,18}) ([0-9]{1,18})")


class BadSamples(Exception):
    """The file is not what it should be; the message says where."""


def read_touches(path: Path) -> list[int]:
    """The latencies, in instructions or ns as the trial's clock has it; at most MAX_SAMPLES of them.

    Raises BadSamples if the file is missing, too large, or has a line that is not `page latency`.
    """
    try:
        with open_regular(path) as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise BadSamples(f"{path.name} cannot be read: {error.strerror}") from error
    if len(raw) > MAX_BYTES:
        raise BadSamples(f"{path.name} is larger than {MAX_BYTES >> 20} MiB")
    lines = raw.split(b"\n")
    if not _HEADER.fullmatch(lines[0]):
        raise BadSamples(f"{path.name} line 1 is not the header `page UNIT`")
    latencies: list[int] = []
    for number, line in enumerate(lines[1:], start=2):
        if not line and number == len(lines):
            break
        match = _LINE.fullmatch(line)
        if match is None:
            raise BadSamples(f"{path.name} line {number} is not `page latency`")
        if len(latencies) == MAX_SAMPLES:
            raise BadSamples(f"{path.name} has more than {MAX_SAMPLES:,} touches")
        latencies.append(int(match[2]))
    if not latencies:
        raise BadSamples(f"{path.name} holds no touch")
    return latencies
