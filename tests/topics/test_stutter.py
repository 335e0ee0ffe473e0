# SPDX-License-Identifier: GPL-2.0-or-later
"""Frame traces on real kernels: played, broken on purpose, recorded, and played again."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml
from labrun import Lab, Ran, failed_checks

from lab import proc
from lab.files import shipped
from lab.instrument.drm_probes import probe_lines
from lab.results.models import Outcome, Trial
from lab.workload.compile import build_workload
from lab.workload.frame_trace import FrameTrace, load_trace

STUTTER = Path(__file__).parents[2] / "testcases" / "stutter"
PMD_SIZE = STUTTER.parent / "prefault" / "series" / "pmd-size.mbox"

DEFECTS = {
    "skip-touch": "hz60-touches",
    "corrupt": "content",
    "lose-frame": "hz60-frames",
    "remap": "hz60-faults",
    "no-evict": "hz60-faults",
    "evict-astray": "evict",
}
"""A defect that is planted in the replay, and the check that must see it."""

TRACE = """frame-trace 1
rate 60
create 1 700
map 1
touch 1 w 0+700
create 2 300
map 2
touch 2 w 0+150/2
frame 0
touch 1 r 3
frame 1 50%
touch 1 r 3
evict 1
touch 1 r 0+100/7
create 3 64 vram
map 3
touch 3 w 0+64
frame 2
unmap 1
free 1
unmap 3
touch 2 r 1
end
"""
"""Every step, in a few frames; BO 1 is the oldest when it is evicted."""


def write_case(folder: Path, name: str, trace: str, *args: str) -> Path:
    """A case of the replay in a folder of the test."""
    (folder / f"{name}.trace").write_text(trace)
    case = {
        "title": name,
        "question": "Is it seen?",
        "machines": ["qxl"],
        "workload": str(STUTTER / "stutter_replay.c"),
        "files": {"trace": f"{name}.trace"},
        "args": ["--driver", "{driver}", "--trace", "/lab/files/trace", *args],
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(case))
    return path


def faults(ran: Ran, rate: int = 60) -> list[int]:
    """The faults of each frame."""
    text = ran.file(ran.trial, f"samples/frames-{rate}.txt").read_text()
    return [int(line.split()[3]) for line in text.splitlines()[1:]]


def touched(trace: FrameTrace) -> list[int]:
    """The touches of each frame."""
    return [sum(op.count for op in frame.ops if op.verb == "touch") for frame in trace.frames]


def test_planted_defects_are_seen(lab: Lab, tmp_path: Path) -> None:
    """A small trace with every step passes on qxl, and each planted defect fails the check that is for it."""
    cases = [write_case(tmp_path, "sound", TRACE)]
    cases += [write_case(tmp_path, name, TRACE, "--defect", name) for name in DEFECTS]
    ran = lab("run", *cases)
    assert ran.code == 1, ran.stderr
    seen = {trial.case.removeprefix("local/"): trial for trial in ran.trials}
    assert seen["sound"].outcome is Outcome.PASS, seen["sound"].reason
    for name, check in DEFECTS.items():
        assert seen[name].outcome is Outcome.FAIL, name
        assert check in failed_checks(seen[name]), name


def test_pmd_sized_prefault_misses_frames(lab: Lab) -> None:
    """A video that misses no frame with 16 pages a fault misses some with 512, for touches take longer."""
    ran = lab("validate", PMD_SIZE, "stutter/video", "--machine", "qxl")
    assert ran.code == 1, ran.stderr
    base, patched = (next(t for t in ran.trials if t.role == role) for role in ("base", "patched"))
    assert (base.outcome, patched.outcome) == (Outcome.PASS, Outcome.PASS)

    def value(trial: Trial, metric: str) -> float:
        found = trial.value(metric)
        assert found is not None
        return found.value

    assert (value(base, "window"), value(patched, "window")) == (16, 512)
    assert value(base, "hz144_missed") == 0
    assert value(patched, "hz144_missed") > 0
    assert value(patched, "hz60_stall_max") > 10 * value(base, "hz60_stall_max")
    assert value(patched, "hz60_faults") < value(base, "hz60_faults")


@pytest.mark.parametrize("kernel", ["stock", "debian:7.3"])
def test_recording_gives_back_the_same_faults(lab: Lab, tmp_path: Path, kernel: str) -> None:
    """A recording of a replay, played on the same kernel, faults as often in each frame as the replay did."""
    path = tmp_path / "recorded.trace"
    recording = lab(
        "record", "-o", path, "--case", "stutter/streaming", "--kernel", kernel, "--machine", "qxl"
    )
    assert recording.code == 0, recording.stderr
    assert "note:" not in recording.stdout
    original = faults(recording)
    recorded = load_trace(path)
    assert recorded.rate == 60
    assert [frame.percent for frame in recorded.frames] == [60] * len(original)
    assert sum(original) > 1000
    assert touched(recorded) == original
    again = lab("replay", path, "--kernel", kernel)
    assert again.code == 0, again.stderr
    assert faults(again) == original
    assert "hz60-faults" in {check.name for check in again.trial.checks if check.result == "ok"}


SHARED = TRACE.replace("evict 1\n", "").replace(" vram", "").replace("touch 1 w 0+700", "touch 1 r 0+700")


def test_recording_without_ttm(lab: Lab, tmp_path: Path) -> None:
    """The same holds for the GEM shmem helpers, which on 7.3 take a fault to read and one to write."""
    case = write_case(tmp_path, "shared", SHARED.replace("touch 1 r 3", "touch 1 w 3"))
    path = tmp_path / "recorded.trace"
    where = ("--machine", "virtio-gpu", "--kernel", "debian:7.3")
    recording = lab("record", "-o", path, "--case", case, *where)
    assert recording.code == 0, recording.stderr
    original = faults(recording)
    assert sum(original) > 100
    again = lab("replay", path, *where)
    assert again.code == 0, again.stderr
    assert faults(again) == original


LEFT = "ls /sys/kernel/tracing/instances; cat /sys/kernel/tracing/kprobe_events"
INTERRUPTED = f"""
cat > /tmp/record
chmod 700 /tmp/record
cd /tmp
echo '{probe_lines()}' > probes
./record probes out.txt 1 && grep -c tracer: out.txt
./record probes out.txt 0 sleep 100 &
sleep 2
{{ {LEFT}; }} | grep -c faultlab
kill -INT $!; wait $!; echo interrupted $?
{LEFT}
./record probes out.txt 100 &
sleep 2
kill -KILL $!; wait $!
./record probes out.txt 0 sh -c 'echo "faultlab frame 100%" > "$FAULTLAB_MARKER"; exit 3'; echo status $?
grep -c 'faultlab frame' out.txt
{LEFT}
echo done
"""


def test_recorder_leaves_nothing_behind(state: Path) -> None:
    """After its time, ^C, SIGKILL and a further recording no probe and no tracing instance is left."""
    program = build_workload(STUTTER / "stutter_record.c", shipped("testcases") / "include")
    argv = [sys.executable, "-m", "lab", "-q", "run", "--", "sh", "-c", INTERRUPTED]
    done = proc.run(argv, timeout=600, check=False, data=program.read_bytes())
    assert done.code == 0, done.errors
    timed, armed, ended, status, marks, last = done.text.split("\n")[:6]
    assert (timed, ended, status, marks, last) == ("1", "interrupted 0", "status 3", "1", "done"), done.text
    assert int(armed) > 5
