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
_LINE = re.compile(rb"[0-9]{1,18} [0-9]{1,18}")
# Possessive: what has matched is not tried again, so that no file takes long.
_BODY = re.compile(rb"(?:[0-9]{1,18} [0-9]{1,18}\n)*+(?:[0-9]{1,18} [0-9]{1,18})?")


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
    header, _, body = raw.partition(b"\n")
    if not _HEADER.fullmatch(header):
        raise BadSamples(f"{path.name} line 1 is not the header `page UNIT`")
    if not _BODY.fullmatch(body):
        raise BadSamples(f"{path.name} line {_odd_line(body)} is not `page latency`")
    if body.count(b" ") > MAX_SAMPLES:
        raise BadSamples(f"{path.name} has more than {MAX_SAMPLES:,} touches")
    latencies = list(map(int, body.split()[1::2]))
    if not latencies:
        raise BadSamples(f"{path.name} holds no touch")
    return latencies


def _odd_line(body: bytes) -> int:
    lines = enumerate(body.split(b"\n"), start=2)
    return next(number for number, line in lines if not _LINE.fullmatch(line))
