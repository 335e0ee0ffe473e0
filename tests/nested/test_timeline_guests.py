# SPDX-License-Identifier: GPL-2.0-or-later
"""`lab run --timeline` with real guests: faults on the virtual clock, and exits in the nested lab host."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from labrun import Ran, run_lab

from lab.campaign.nested import nested_host
from lab.campaign.timelines import with_timeline
from lab.guest.prepare import Bench
from lab.report.timeline import NESTED, Timeline, build
from lab.report.timeline_files import read_recorded
from lab.results.models import Outcome

sys.path.append(str(Path(__file__).parents[2]))  # the nested lab host imports the scenes by this name
from tests.nested import trace_scenes

FRESH = Path(__file__).parent / "fresh-vram.yaml"
PREFAULT = 16
"""Pages that a fault of the stock kernel's TTM maps."""


def timeline_of(ran: Ran) -> Timeline:
    recorded = read_recorded(ran.run.trial_path(ran.trial.key))
    assert recorded is not None
    return build(recorded)


def test_guest_faults_on_the_virtual_clock(tmp_path: Path) -> None:
    """The touches that are long are those in which tracefs tells a fault, one each; as many as the case
    counts. Exits are n/a, and the run says where the file is."""
    ran = run_lab("run", "prefault/first-touch", "--timeline", state=tmp_path)
    assert ran.trial.outcome is Outcome.PASS, ran.trial.reason
    found = timeline_of(ran)
    faults = ran.trial.value("faults")
    assert found.guest_faults is not None and faults is not None
    assert len(found.guest_faults) == faults.value == len(found.touches) / PREFAULT
    assert [fault.touch for fault in found.guest_faults] == list(range(0, len(found.touches), PREFAULT))
    lengths = [touch.end - touch.begin for touch in found.touches]
    assert min(lengths[::PREFAULT]) > max(
        length for number, length in enumerate(lengths) if number % PREFAULT
    )
    assert found.unit == "insn" and found.exits is None and not found.problems
    assert "exits n/a" in ran.trial.notes[-1] and "timeline.json" in ran.stdout
    assert json.loads(ran.file(ran.trial, "timeline.json").read_text())["traceEvents"]
    assert "<h2>Timeline</h2>" in (ran.run.path / "report.html").read_text()


@pytest.fixture(scope="module")
def nested(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """One trial under KVM in the nested host."""
    state = tmp_path_factory.mktemp("timeline") / "state"
    return run_lab("run", FRESH, "--timeline", "--accel", "tcg", state=state)


def test_exits_have_their_touches(nested: Ran) -> None:
    """As many nested faults are drawn as KVM counts. Each touch, which also faults in the guest, has its own;
    what lies before them is the guest's kernel coming to them. The host's own faults lie in some of these
    exits, and the clocks of guest and host agree."""
    trial = nested.trial
    assert trial.outcome is Outcome.PASS, trial.reason
    found = timeline_of(nested)
    assert found.exits is not None and found.host_faults is not None and found.guest_faults is not None
    counted = trial.value("touch_pf_taken")
    nested_faults = [one for one in found.exits if one.reason in NESTED]
    assert counted is not None and len(nested_faults) == counted.value > 0
    assert all(one.address is not None for one in nested_faults)
    touches = {touch.number for touch in found.touches}
    assert {fault.touch for fault in found.guest_faults} == touches
    # But for the first: its page the driver may have touched.
    assert {one.touch for one in nested_faults if one.touch is not None} >= touches - {0}
    on_the_way = [one for one in nested_faults if one.touch is None]
    assert all(one.end < found.touches[0].begin for one in on_the_way)
    assert len(on_the_way) < len(touches) / 4
    served = {fault.exit for fault in found.host_faults if fault.for_guest}
    assert served <= {number for number, one in enumerate(found.exits) if one.reason in NESTED}
    assert served
    assert not found.problems
    assert f"{len(nested_faults)} npf" in trial.notes[-1]


def test_no_wrong_offset_moves_an_exit_unnoticed(nested: Ran) -> None:
    """Of 200 wrong offsets, from a tick to seconds, each either shows or leaves every exit with its touch."""
    recorded = read_recorded(nested.run.trial_path(nested.trial.key))
    assert recorded is not None and recorded.clock is not None
    right = [one.touch for one in build(recorded).exits or ()]
    noticed = 0
    for shift in (sign * int(1.25**power) for power in range(100) for sign in (1, -1)):
        clocks = tuple(one.model_copy(update={"offset": one.offset + shift}) for one in recorded.clock.clocks)
        moved = build(replace(recorded, clock=recorded.clock.model_copy(update={"clocks": clocks})))
        noticed += bool(moved.problems)
        assert moved.problems or [one.touch for one in moved.exits or ()] == right, shift
    assert noticed > 50


def test_wrong_offset_of_a_real_guest_is_noticed(nested: Ran) -> None:
    """The same trial with an offset that is wrong by a tenth of the span is ERROR, with what does not fit."""
    folder = nested.run.trial_path(nested.trial.key)
    found = timeline_of(nested)
    shift = (found.touches[-1].end - found.touches[0].begin) // 10
    clock = json.loads((folder / "host-clock.json").read_text())
    for edge in clock["clocks"]:
        edge["offset"] += shift
    (folder / "host-clock.json").write_text(json.dumps(clock))
    trial = with_timeline(nested.trial, folder)
    assert trial.outcome is Outcome.ERROR
    assert "the clocks of guest and host do not fit" in trial.reason


def test_nothing_is_left_in_tracefs(tmp_path: Path) -> None:
    """While it records there are an instance and two probes; after its end and an exception nothing; what a
    killed lab has left, the next one removes."""
    with nested_host(Bench.set_up(), tmp_path) as host:
        during, after, failed, killed, swept = json.loads(host.call(trace_scenes.cleans_up, seconds=120))
    assert len(during) == len(killed) == 3
    assert after == failed == swept == []
