# SPDX-License-Identifier: GPL-2.0-or-later
"""What decides how a guest behaves beside its kernel and its case."""

from __future__ import annotations

import re

from lab.files import sha256_text
from lab.results.models import Environment, Trial

_OF_ONE_BOOT = re.compile(r"/proc/self/fd/\d+|\bfd=\d+(?:,set=\d+)?|/dev/fdset/\d+|\blab\.nonce=\S+ ?")


def guest_of(environment: Environment) -> tuple[str, ...]:
    """The machine and its command line: QEMU's arguments without what belongs to one boot alone, which are
    its descriptors and the nonce."""
    return tuple(_OF_ONE_BOOT.sub("", word) for word in environment.qemu_argv[1:])


def conditions_digest(trial: Trial) -> str:
    """Equal for two boots that differ in nothing but the kernel, as far as the clock that repeats itself
    goes; "" if no guest was started."""
    environment = trial.environment
    if environment is None:
        return ""
    return sha256_text(
        trial.case_digest, environment.accelerator, environment.qemu_version, *guest_of(environment)
    )[:16]
