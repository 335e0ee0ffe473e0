# SPDX-License-Identifier: GPL-2.0-or-later
"""Trials whose guest exits are counted (instrument.exits): which they are, and what that adds to them."""

from __future__ import annotations

from lab.guest.accelerator import Choice
from lab.guest.guest import Guest
from lab.guest.spans import SpanCounter
from lab.instrument.exits import measurements
from lab.results.models import Clock, Trial
from lab.spec.models import Case


def can_count(choice: Choice, clock: Clock) -> bool:
    """Only where there are any: never on the virtual clock, where counting would stop the guest."""
    return choice.accelerator == "kvm" and clock is not Clock.VIRTUAL


def why_none(choice: Choice, clock: Clock) -> str:
    """The note of a trial whose case wants exits where there are none."""
    return f"exits: n/a: there are none under {choice.accelerator} on the {clock} clock"


def with_exits(case: Case, trial: Trial, spans: SpanCounter, guest: Guest) -> Trial:
    """The trial with those counts of its spans that the case has metrics for, and what a reader must know."""
    counted = spans.counted(guest.streams.reader.stdout.decode(errors="replace"))
    wanted = [one for one in measurements(counted.spans) if one.metric in case.metrics]
    return trial.model_copy(
        update={
            "measurements": (*trial.measurements, *wanted),
            "notes": (*trial.notes, *counted.notes),
        }
    )
