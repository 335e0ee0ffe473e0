# SPDX-License-Identifier: GPL-2.0-or-later
"""The topic virt-faults on guests that are hosts themselves: exits, faults, nested entries, and defects."""

from __future__ import annotations

from pathlib import Path

from labrun import Lab, failed_checks, metrics

from lab.results.models import Outcome

PAGES = 1024
"""Of each case here: 4 MiB."""

SOURCE = Path(__file__).parents[2] / "testcases" / "virt-faults" / "virt_touch.c"
CASE = """\
# SPDX-License-Identifier: GPL-2.0-or-later
title: {backing} with the planted defect {defect}
question: Does a check of the workload see it?
workload: {source}
args: [--backing, {backing}, --defect, {defect}]
machines: [kvm-host]
modules: [kvm-amd, page_walk]
cmdline: [hugepages={hugepages}]
"""
DEFECTS = {
    ("anonymous", "skip", 0): "fresh-nested",
    ("memfd", "early", 0): "unmapped-empty",
    ("anonymous", "untraced", 0): "reasons",
    ("thp", "log-dirty", 0): "fresh-nested",
    ("hugetlb", "none", 0): "mapped",
}
"""Backing, defect and huge pages that the guest reserves, and the check that must see it."""


def cases(*names: str) -> tuple[str, ...]:
    return tuple(f"virt-faults/{name}" for name in names)


def test_prefaulting_removes_host_faults_and_no_exit(lab: Lab) -> None:
    """Each page of a BO exits once whatever the host maps at a fault; only the faults behind it get fewer."""
    stock = lab("run", *cases("qxl-system"), "--kernel", "debian:7.3")
    assert stock.code == 0, stock.stderr
    seen = {"stock": metrics(stock.trial)}
    for series in ("virt-faults/one-page", "prefault/batched-pmd-size", "huge-pte/huge-pte"):
        ran = lab("run", *cases("qxl-system"), "--kernel", "debian:7.3", "--series", series)
        assert ran.code == 0, ran.stderr
        seen[series.partition("/")[2]] = metrics(ran.trial)
    shape = {name: (one["exits"], one["host_faults"], one["pages_2m"]) for name, one in seen.items()}
    assert shape == {
        "one-page": (PAGES, PAGES, 0),
        "stock": (PAGES, PAGES / 16, 0),
        "batched-pmd-size": (PAGES, PAGES / 512, 0),
        "huge-pte": (PAGES / 512, PAGES / 512, PAGES / 512),
    }
    assert all(one["nested_faults"] == one["exits"] for one in seen.values())
    # What an exit costs is the same; what is behind it is not.
    exits = [seen[name]["exit_map_page"] for name in ("one-page", "stock", "batched-pmd-size")]
    assert max(exits) < 1.02 * min(exits)
    assert seen["one-page"]["host_fault_page"] > 2 * seen["stock"]["host_fault_page"]
    assert seen["huge-pte"]["exit_map_page"] < 20


def test_parts_of_the_cost(lab: Lab) -> None:
    """They are the whole, but for the touching itself; and twice the same to the last instruction."""
    first, second = (
        metrics(lab("run", *cases("anonymous"), "--kernel", "debian:6.1").trial) for _ in range(2)
    )
    assert first == second
    parts = sum(first[name] for name in ("exit_map_page", "host_fault_page", "memory_page"))
    assert 0 <= first["touch_page"] - parts <= 12
    assert (first["exits"], first["host_faults"], first["pages_4k"]) == (PAGES, PAGES, PAGES)


def test_what_kvm_refuses_is_expected(lab: Lab) -> None:
    """6.12 stops at the second page of a block, also behind a huge entry, and takes single pages and VRAM."""
    names = cases("qxl-system", "gpu-system-huge", "gpu-pages", "vfio-bar")
    ran = lab("run", *names, "--kernel", "debian:6.12")
    assert ran.code == 0, ran.stderr
    trials = ran.by_case
    for name, done in {"qxl-system": 1, "gpu-system-huge": 512}.items():
        trial = trials[name]
        assert failed_checks(trial) == {"touched"}
        assert trial.expected is not None
        assert trial.expected.met
        assert f"EFAULT after {done} of {PAGES} pages; the next page has 0 references" in trial.reason
    assert metrics(trials["gpu-pages"])["pages_4k"] == PAGES
    assert metrics(trials["vfio-bar"])["pages_2m"] == PAGES / 512


def test_nested_entries_are_as_large_as_addresses_agree(lab: Lab) -> None:
    """Huge where host and guest fit, single pages where either is off."""
    names = ("nested-aligned", "nested-misaligned", "nested-guest-off")
    ran = lab("run", *(f"huge-pte/{name}" for name in names), "--kernel", "debian:6.12")
    assert ran.code == 0, ran.stderr
    seen = {name: metrics(ran.by_case[name]) for name in names}
    assert [(one["pages_2m"], one["pages_4k"], one["host_faults"]) for one in seen.values()] == [
        (4, 0, 4),
        (0, 2048, 128),
        (0, 2048, 4),
    ]
    assert all(one["exits"] == one["pages_2m"] + one["pages_4k"] for one in seen.values())


def test_write_that_kvm_emulates(lab: Lab) -> None:
    """A BO of the GEM shmem helpers on 7.3: KVM carries out each first write itself and maps nothing."""
    ran = lab("run", *cases("vgem"), "--kernel", "debian:7.3")
    assert ran.code == 0, ran.stderr
    assert failed_checks(ran.trial) == {"unmapped-nested"}
    seen = metrics(ran.trial)
    assert (seen["emulated"], seen["pages_4k"], seen["host_faults"]) == (PAGES, 0, 2 * PAGES)


def test_planted_defects_are_seen(lab: Lab, tmp_path: Path) -> None:
    """Each defect planted in the workload, and huge pages that nobody reserved, fail the check for it."""
    for backing, defect, hugepages in DEFECTS:
        text = CASE.format(backing=backing, defect=defect, hugepages=hugepages, source=SOURCE)
        (tmp_path / f"{backing}-{defect}.yaml").write_text(text)
    ran = lab("run", *sorted(tmp_path.glob("*.yaml")))
    assert ran.code == 1, ran.stderr
    for (backing, defect, _), check in DEFECTS.items():
        trial = ran.by_case[f"{backing}-{defect}"]
        assert trial.outcome is Outcome.FAIL, (backing, defect, trial.reason)
        assert check in failed_checks(trial), (backing, defect, failed_checks(trial))
