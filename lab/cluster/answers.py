# SPDX-License-Identifier: GPL-2.0-or-later
"""What comes back from a worker, and what the campaign makes of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lab.campaign.inside import NO, OK
from lab.errors import InfraError
from lab.guest.guest import Boot, write_command
from lab.results.models import Trial


def opened(answer: bytes, job: str) -> tuple[dict[str, Any], bytes]:
    """Who did the job and when, and the parcel. InfraError if it was not done, or is another one's."""
    line, _, content = answer.partition(b"\n")
    try:
        head = json.loads(line)
    except ValueError:
        head = {}
    if not isinstance(head, dict) or head.get("job") != job:
        raise InfraError(f"an answer to another job: {str(head)[:200]}")
    if content.startswith(NO):
        raise InfraError(content[len(NO) :][:2000].decode(errors="replace"))
    return head, content[len(OK) :]


def finished(trial: Trial, head: dict[str, Any], dead: Sequence[str], boot: Boot, folder: Path) -> Trial:
    """The trial with what only this side knows, or only the worker's."""
    if boot.launch.machine.passthrough is None:
        # By hand it is booted here: the worker's paths mean nothing. A device is only there.
        write_command(boot, folder)
    environment = trial.environment
    if environment is not None:
        environment = environment.model_copy(update={"host": str(head.get("host", ""))[:64]})
    notes = [f"worker {name} died while it ran this; it was run again" for name in dead]
    update: dict[str, object] = {"environment": environment, "notes": (*trial.notes, *notes)}
    if isinstance(seconds := head.get("seconds"), float) and isinstance(started := head.get("started"), str):
        update |= {"seconds": seconds, "started": started[:40]}
    return trial.model_copy(update=update)
