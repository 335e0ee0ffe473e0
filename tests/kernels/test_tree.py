# SPDX-License-Identifier: GPL-2.0-or-later
"""A developer's git work tree: built, changed, judged, and never touched."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from labrun import Ran, run_lab
from own_tree import forget

from lab import proc
from lab.kernel.sources import parse_source
from lab.kernel.trees import checked_out
from lab.results.models import Conclusion, Outcome

FAULT = "drivers/gpu/drm/ttm/ttm_bo_vm.c"
INSERT = "mm/memory.c"
MODULE = "drivers/gpu/drm/ttm/ttm_module.c"
FAULT_ENTRY = "vm_fault_t ttm_bo_vm_fault(struct vm_fault *vmf)\n{\n"
INSERT_ENTRY = (
    "vm_fault_t vmf_insert_pfn_prot(struct vm_area_struct *vma, unsigned long addr,\n"
    "\t\t\tunsigned long pfn, pgprot_t pgprot)\n{\n"
)
COUNT = "\tunsigned long counted = READ_ONCE(current->mm->total_vm);\n\n\tbarrier_data(&counted);\n"
REFUSE = "static int __init ttm_refuse(void)\n{\n\treturn -ENODEV;\n}\nmodule_init(ttm_refuse);\n\n"
CASE = "prefault/first-touch"


class WorkTree:
    """A git work tree of the kernel, and `lab` commands that are typed in it."""

    def __init__(self, path: Path, state: Path) -> None:
        self.path = path
        self._state = state

    def git(self, *words: str) -> str:
        who = ["-c", "user.name=t", "-c", "user.email=t@faultlab.example", "-c", "gc.auto=0"]
        return proc.run(["git", "-C", str(self.path), *who, *words], timeout=600).text

    def edit(self, path: str, change: Callable[[str], str]) -> None:
        whole = self.path / path
        before = whole.read_text()
        assert change(before) != before
        whole.write_text(change(before))

    def commit(self, subject: str) -> None:
        self.git("commit", "-q", "-a", "-m", subject)

    def lab(self, *words: str) -> Ran:
        return run_lab(*words, state=self._state, seconds=4 * 3600, folder=self.path)

    def seen(self) -> str:
        """All that a lab that wrote into the tree would change."""
        parts = ("status --porcelain", "rev-parse HEAD", "for-each-ref", "stash list", "count-objects")
        return "".join(self.git(*part.split()) for part in parts)


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """6.12 as a git work tree with one commit; what the lab's cache then holds of it goes with it."""
    folder = tmp_path_factory.mktemp("tree") / "linux"
    with checked_out(parse_source("source:6.12")) as checked:  # type: ignore[arg-type]
        shutil.copytree(checked.path, folder, symlinks=True)
    tree = WorkTree(folder, folder.parent / "state")
    tree.git("init", "-q")
    tree.git("add", "-A", "-f")
    tree.git("commit", "-q", "-m", "base")
    yield folder
    forget(folder)


@pytest.fixture
def tree(origin: Path, tmp_path: Path) -> Iterator[WorkTree]:
    """The tree at its first commit, with a state folder of this test's own."""
    work = WorkTree(origin, tmp_path / "state")
    first = work.git("rev-list", "--max-parents=0", "HEAD").strip()
    yield work
    work.git("reset", "-q", "--hard", first)


def counting(text: str) -> str:
    """The fault handler, or the insertion of a PTE, with some instructions more."""
    for entry in (FAULT_ENTRY, INSERT_ENTRY):
        text = text.replace(entry, entry + COUNT)
    return text


def costs(ran: Ran) -> float:
    """How many instructions the patched kernel takes more than the base."""
    totals = {one.role: one.value("touch_total") for one in ran.trials}
    base, patched = totals["base"], totals["patched"]
    assert base is not None, ran.stderr
    assert patched is not None, ran.stderr
    return patched.value - base.value


def test_a_commit_is_judged_where_one_stands(tree: WorkTree) -> None:
    """`lab validate HEAD~1..HEAD` in a tree: base and patched from it; the second time nothing is built."""
    tree.edit(FAULT, counting)
    tree.commit("drm/ttm: read a counter on each fault")
    before = tree.seen()
    first = tree.lab("validate", "HEAD~1..HEAD", CASE)
    assert first.code == 0, first.stderr
    assert first.verdict.verdict is Conclusion.PASS
    assert {one.outcome for one in first.trials} == {Outcome.PASS}
    base, patched = first.run.kernels().values()
    assert base.build_id != patched.build_id
    assert base.compiler == patched.compiler
    assert 0 < costs(first) < 128 * 50  # faults, instructions each
    again = tree.lab("validate", "HEAD~1..HEAD", CASE)
    assert again.code == 0, again.stderr
    assert "building" not in again.stderr
    assert tree.seen() == before


def test_uncommitted_changes_are_used_and_said(tree: WorkTree) -> None:
    """What is being edited is what is booted; the kernel's record names the files."""
    tree.edit(FAULT, counting)
    before = tree.seen()
    ran = tree.lab("run", CASE)
    assert ran.code == 0, ran.stderr
    (kernel,) = ran.run.kernels().values()
    assert f"with 1 uncommitted file: {FAULT}" in kernel.source
    assert tree.seen() == before


def test_each_patch_of_a_range_boots(tree: WorkTree) -> None:
    """Of two commits the first leaves a kernel whose TTM does not load: FAIL, and it is named."""
    tree.edit(MODULE, lambda text: text.replace("MODULE_AUTHOR(", f"{REFUSE}MODULE_AUTHOR(", 1))
    tree.commit("drm/ttm: refuse to load")
    tree.git("revert", "--no-edit", "HEAD")
    ran = tree.lab("validate", "HEAD~2..HEAD", "--each-patch", CASE)
    assert ran.code == 1, ran.stderr
    assert {one.role: one.outcome for one in ran.trials} == {
        "base": Outcome.PASS,
        "patched": Outcome.PASS,
        "patch-1": Outcome.FAIL,
    }
    assert re.match(r"after patch 1: smoke/boot on qxl: FAIL: .*ttm\.ko", ran.verdict.reasons[0])


def test_a_change_of_the_core_rebuilds_the_kernel(tree: WorkTree) -> None:
    """mm/memory.c is in the image: base and patched differ there, and the case sees the difference."""
    tree.edit(INSERT, counting)
    tree.commit("mm: read a counter for each PTE")
    ran = tree.lab("validate", "HEAD~1..HEAD", CASE)
    assert ran.code in (0, 1), ran.stderr
    base, patched = ran.run.kernels().values()
    assert base.image_sha256 != patched.image_sha256
    assert 2048 <= costs(ran) < 2048 * 20  # pages, instructions each
