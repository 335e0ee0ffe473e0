# SPDX-License-Identifier: GPL-2.0-or-later
"""The host's half of a timeline where there is no KVM to trace: what is read, and what is said."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from lab.errors import InfraError
from lab.instrument.host_trace import HostTrace, not_recorded, recording, tgid, tsc_of
from lab.instrument.tracefs import own_instance
from lab.report.timeline_files import HostClock, TscOfGuest
from lab.results.trace_text import HOST_CLOCK


def vcpu(folder: Path, **numbers: str) -> Path:
    """What KVM has in debugfs for a guest of this process; returns the folder of all guests."""
    made = folder / f"{os.getpid()}-11" / "vcpu0"
    made.mkdir(parents=True)
    for name, text in numbers.items():
        (made / name.replace("_", "-")).write_text(text + "\n")
    return folder


def test_offset_and_ratio(tmp_path: Path) -> None:
    """Both are read as KVM has them; without scaling there is no ratio. Guest times lead to the host's."""
    plain = tsc_of(os.getpid(), vcpu(tmp_path / "a", tsc_offset="-105087546055"))
    assert plain == {"offset": -105087546055, "ratio": 1, "bits": 0}
    assert TscOfGuest(**plain).on_host(49342547157) == 154430093212
    numbers = {"tsc_offset": "-700", "tsc_scaling_ratio": str(3 << 31), "tsc_scaling_ratio_frac_bits": "32"}
    scaled = TscOfGuest(**tsc_of(os.getpid(), vcpu(tmp_path / "b", **numbers)))
    assert scaled.on_host(1000 * 3 // 2 - 700) == 1000
    wraps = TscOfGuest(offset=(1 << 64) - 700, ratio=1, bits=0)  # as KVM has it without a sign
    assert wraps.on_host(300) == 1000


@pytest.mark.parametrize("text", ["", "0x10", "1 2", "9" * 30])
def test_strange_offset(text: str, tmp_path: Path) -> None:
    """What is no number is refused with the file's name."""
    with pytest.raises(InfraError, match="tsc-offset is no number"):
        tsc_of(os.getpid(), vcpu(tmp_path, tsc_offset=text))


def test_no_kvm(tmp_path: Path) -> None:
    """A process that is no guest of KVM's has no offset, and nothing is recorded; the reason is kept."""
    assert tgid(os.getpid()) == os.getpid()
    with pytest.raises(InfraError, match="does not tell") as caught, recording(os.getpid(), tmp_path):
        raise AssertionError
    assert list(tmp_path.iterdir()) == []
    not_recorded(tmp_path, 98, str(caught.value))
    kept = HostClock.model_validate_json((tmp_path / HOST_CLOCK).read_bytes())
    assert kept.clocks == () and "does not tell" in kept.missing["exits"]


def test_edges_are_written_down(tmp_path: Path) -> None:
    """Each edge of a span has its offset; tracing is on between two of them."""
    debugfs = vcpu(tmp_path / "kvm", tsc_offset="-5")
    (tmp_path / "trace").write_text("# tracer: nop\n")
    trace = HostTrace(tmp_path, os.getpid(), debugfs)
    trace.edge(begins=True)
    assert (tmp_path / "tracing_on").read_text() == "1"
    trace.edge(begins=False)
    assert (tmp_path / "tracing_on").read_text() == "0"
    trace.keep(tmp_path)
    assert (
        json.loads((tmp_path / HOST_CLOCK).read_text())["clocks"]
        == [{"offset": -5, "ratio": 1, "bits": 0}] * 2
    )


def test_instance_is_removed(tmp_path: Path) -> None:
    """An instance goes with its end, and those of labs that do not live any more with the next one."""
    instances = tmp_path / "instances"
    (instances / "faultlab-999999999-7").mkdir(parents=True)
    (instances / "somebody").mkdir()
    with pytest.raises(KeyError), own_instance("7", tmp_path) as instance:
        assert sorted(path.name for path in instances.iterdir()) == [instance.name, "somebody"]
        raise KeyError
    assert [path.name for path in instances.iterdir()] == ["somebody"]
    with pytest.raises(InfraError, match="tracefs: "), own_instance("7", tmp_path / "none"):
        raise AssertionError
