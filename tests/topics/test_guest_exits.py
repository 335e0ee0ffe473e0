# SPDX-License-Identifier: GPL-2.0-or-later
"""What prefault/exits and prefault/exits-vram say: faults of a guest cost no exit, pages missing below do."""

from __future__ import annotations

from labrun import Lab, metrics

from lab.results.models import Outcome


def test_faults_and_exits_are_two_things(lab: Lab) -> None:
    """128 faults on a BO whose pages the host has given are no exit; each page that it has not is one."""
    ran = lab("run", "prefault/exits", "prefault/exits-vram")
    assert ran.code == 0, ran.stderr
    trials = ran.by_case
    assert {trial.outcome for trial in trials.values()} == {Outcome.PASS}
    there, missing = metrics(trials["exits"]), metrics(trials["exits-vram"])
    assert (there["faults"], there["touch_exits"]) == (128, 0)
    assert missing["touch_exits_npf"] == missing["touch_pf_fixed"] > 0
    assert missing["touch_pages_4k"] + 512 * missing["touch_pages_2m"] == 2048
    assert missing["touch_exits"] >= missing["touch_exits_npf"]
