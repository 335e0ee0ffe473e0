# SPDX-License-Identifier: GPL-2.0-or-later
"""What a kernel build said: its first error, and whether the compiler was the reason."""

from __future__ import annotations

import re

ERRORS = (
    r"(?m)^(\S+:[0-9]+(?::[0-9]+)?: (?:fatal )?error: .*)$",
    r"(?m)^((?:\S*/)?Kconfig[^:\s]*:[0-9]+: .*)$",
    r"(?m)^(ERROR: modpost: .*)$",
    r"(?m)^((?:\S*ld(?:\.\w+)?|/usr/bin/ld): .*(?:undefined reference|multiple definition|error).*)$",
    r"(?m)^(\S+: undefined reference to .*)$",
    r"(?m)^(.*(?:not found|No such file or directory).*)$",
    r"(?m)^(make[^\n]*\*\*\* .*)$",
)
"""Most telling first: with -j the line that make gives up with may stand far below, or above."""

BAD_COMPILER = re.compile(
    r"(?m)^(\*\*\* .*(?:[Cc]ompiler|assembler|linker) .*(?:too old|not supported).*|.*unknown C compiler.*"
    r"|.*Sorry, this C compiler is not supported.*|gcc.*: error: unrecognized command.line option.*"
    r"|.*cannot find .*GLIBC_.*|.*version `GLIBC_[^\n]*not found.*)$"
)


def first_error(text: str, rename: dict[str, str] | None = None) -> str:
    """The first error in a build's log; `rename` turns paths of the sandbox into paths of the kernel tree."""
    for pattern in ERRORS:
        if match := re.search(pattern, text):
            line = match[1]
            for inside, outside in (rename or {}).items():
                line = line.replace(inside, outside)
            return line.strip()[:500]
    return "make failed without naming an error"


def bad_compiler(text: str) -> str:
    """The line by which the build refuses the compiler or its libraries; "" if it does not."""
    match = BAD_COMPILER.search(text)
    return match[1].strip("* ")[:300] if match else ""
