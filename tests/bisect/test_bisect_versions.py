# SPDX-License-Identifier: GPL-2.0-or-later
"""Packaged kernels as a history: their order, builds of one source, those that are gone; the changelog."""

from __future__ import annotations

import pytest

from lab.errors import UserError
from lab.kernel.changelog import entries_between
from lab.kernel.kernel_packages import KernelPackages
from lab.kernel.packages import Package
from lab.kernel.sources import Packaged
from lab.workflow import bisect_plan
from lab.workflow.bisect_plan import version_nodes


def kernel(version: str, release: str = "", lost: tuple[str, ...] = ()) -> KernelPackages:
    name = release or f"{version.partition('-')[0]}+deb13-amd64"
    image = Package(
        name=f"linux-image-{name}", version=version, architecture="amd64", sha256="0", size=1, filename="x"
    )
    return KernelPackages(release=name, version=version, image=image, lost=lost)


ARCHIVE = (
    kernel("6.12.117-1"),
    kernel("6.12.117-1~deb12u1", "6.12.117+deb12-amd64"),
    kernel("6.12.107-1", lost=("linux-modules-6.12.107",)),
    kernel("6.12.95-1"),
    kernel("6.12.95-1~bpo12+1", "6.12.95+deb12-amd64"),
    kernel("6.12.90-2~bpo12+1", "6.12.90+deb12-amd64"),
    kernel("6.12.90-1"),
    kernel("6.12.9-1~bpo12+1", "6.12.9+deb12-amd64"),
    kernel("6.12.9-1"),
)


@pytest.fixture(autouse=True)
def archive(monkeypatch: pytest.MonkeyPatch) -> None:
    """An archive that has these, newest first."""

    def resolve(source: Packaged) -> KernelPackages:
        found = [one for one in ARCHIVE if source.wanted in (one.version, one.upstream)]
        if not found:
            raise UserError(f"no suite of the mirror has Linux {source.wanted}", hint="the nearest: 6.12.95")
        return found[-1]

    monkeypatch.setattr(bisect_plan, "available", lambda everywhere: list(ARCHIVE))
    monkeypatch.setattr(bisect_plan, "resolve", resolve)


def test_in_the_order_of_versions() -> None:
    """6.12.9 comes before 6.12.90; of two builds of a source that for the ends' own release is taken."""
    nodes = version_nodes("debian:6.12.9-1~bpo12+1", "debian:6.12.117-1~deb12u1", find_fix=False)
    assert [node.name for node in nodes] == [
        "6.12.9-1~bpo12+1",
        "6.12.90-1",
        "6.12.90-2~bpo12+1",
        "6.12.95-1~bpo12+1",
        "6.12.107-1",
        "6.12.117-1~deb12u1",
    ]
    assert [node.parents for node in nodes] == [(), (0,), (1,), (2,), (3,), (4,)]
    assert nodes[3].others == ("6.12.95-1",)
    assert nodes[4].lost == "the archive no longer has linux-modules-6.12.107"
    assert len({node.role for node in nodes}) == len(nodes)
    assert nodes[3].subject.kernel == "debian:6.12.95-1~bpo12+1"


def test_the_other_direction() -> None:
    """With --find-fix the bad kernel is the older one."""
    nodes = version_nodes("debian:6.12.117-1", "debian:6.12.9-1", find_fix=True)
    assert (nodes[0].name, nodes[-1].name) == ("6.12.9-1", "6.12.117-1")


@pytest.mark.parametrize(
    ("good", "bad", "find_fix", "problem", "hint"),
    [
        ("debian:6.12.95-1", "debian:6.12.95-1", False, "are both Linux 6.12.95-1", "two versions"),
        ("debian:6.12.117-1", "debian:6.12.9-1", False, "are --good and --bad swapped", "--find-fix"),
        ("debian:6.12.9-1", "debian:6.12.117-1", True, "are --good and --bad swapped", "--find-fix"),
        ("debian:6.12.107-1", "debian:6.12.117-1", False, "no kernel between", "--tree"),
        ("debian:6.12.117-1~deb12u1", "debian:6.12.117-1", False, "no kernel between", "--tree"),
        ("debian:6.12.4", "debian:6.12.117-1", False, "no suite of the mirror has Linux 6.12.4", "nearest"),
        ("tree:.", "debian:6.12.117-1", False, "is no packaged kernel", "--tree"),
        ("v6.12", "v6.13", False, "unknown kernel source", "tree:PATH"),
    ],
)
def test_ends_between_which_there_is_nothing(
    good: str, bad: str, find_fix: bool, problem: str, hint: str
) -> None:
    """Told, with what to do."""
    with pytest.raises(UserError, match=problem) as caught:
        version_nodes(good, bad, find_fix=find_fix)
    assert hint in caught.value.hint


CHANGELOG = """\
linux-signed-6.12-amd64 (6.12.117+1~deb12u1) bookworm-security; urgency=high

  * Sign kernel from linux-6.12 6.12.117-1~deb12u1

linux (6.12.117-1) trixie-security; urgency=high

  * New upstream stable update:
    https://www.kernel.org/pub/linux/kernel/v6.x/ChangeLog-6.12.117
    - drm/ttm: one
    - [amd64] perf/x86/intel: Fallback to sw branch type decoding if no hw
      decoding

 -- Ben <ben@debian.org>  Sat, 14 Nov 2026 13:56:01 +0100

linux-6.12 (6.12.115-2~deb12u1) bookworm-security; urgency=high

  * Rebuild for bookworm

linux (6.12.115-2) trixie-security; urgency=high

  * mm: two

linux (6.12.113-1) trixie-security; urgency=high

    - drm/ttm: too old
"""


def test_the_changelog_between_two_versions() -> None:
    """After the older and up to the newer one, rebuilds for other releases alike; folded lines are joined."""
    found = list(entries_between(CHANGELOG, "6.12.113-1~deb12u1", "6.12.117-1~deb12u1"))
    assert found == [
        "New upstream stable update: https://www.kernel.org/pub/linux/kernel/v6.x/ChangeLog-6.12.117",
        "drm/ttm: one",
        "[amd64] perf/x86/intel: Fallback to sw branch type decoding if no hw decoding",
        "Rebuild for bookworm",
        "mm: two",
    ]
    assert list(entries_between(CHANGELOG, "6.12.115-2", "6.12.116-1")) == []
    assert list(entries_between(CHANGELOG, "6.12.113-1", "6.12.115-2")) == ["Rebuild for bookworm", "mm: two"]


@pytest.mark.parametrize("junk", ["", "\0" * 1000, "linux (", "linux (1) x;\n" * 9, "  - x\n" * 100])
def test_a_changelog_that_is_none(junk: str) -> None:
    """Says nothing, and breaks nothing."""
    assert list(entries_between(junk, "6.12.1-1", "6.12.9-1")) == []
