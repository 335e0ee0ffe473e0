# SPDX-License-Identifier: GPL-2.0-or-later
"""Patches that old trees need under newer compilers."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_tree import fake_tree, mbox

from lab import files
from lab.errors import SpecError
from lab.kernel.fixes import fixes_for, table
from lab.kernel.full_build import build_kernel


@pytest.fixture
def fixes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A table of our own in place of the one that ships."""
    folder = tmp_path / "kconfigs/fixes"
    folder.mkdir(parents=True)
    monkeypatch.setattr(files, "shipped", lambda kind: tmp_path / kind)
    return folder / "table.yaml"


def test_shipped_table() -> None:
    """Every row that ships names a patch that can be read, and says why."""
    for fix in table():
        assert fix.reason
        assert fixes_for(fix.first)


def test_versions(fixes: Path) -> None:
    """A row is for its versions, both ends included."""
    mbox(fixes.with_name("a.mbox"), "mm/memory.c", "int memory;", "int fixed;")
    fixes.write_text("- {patch: a.mbox, first: '5.10', last: '6.1', reason: a compiler}\n")
    assert [len(fixes_for(v)) for v in ("5.9", "5.10.3", "6.1.192", "6.2")] == [0, 1, 1, 0]


def test_wrong_row(fixes: Path) -> None:
    """A row without a reason is an error that names the table."""
    fixes.write_text("- {patch: a.mbox, first: '5.10', last: '6.1'}\n")
    with pytest.raises(SpecError, match=r"table\.yaml"):
        table()


def test_applied_below_the_series(fixes: Path, tmp_path: Path) -> None:
    """The kernel is built with the fix, and the tree is as it was afterwards."""
    mbox(fixes.with_name("a.mbox"), "mm/memory.c", "int memory;", "int fixed;")
    fixes.write_text("- {patch: a.mbox, first: '6.12', last: '6.12', reason: a compiler}\n")
    tree = fake_tree(tmp_path / "origin")
    (tmp_path / "mine.config").write_text("CONFIG_A=y\n")
    kernel = build_kernel(tree, str(tmp_path / "mine.config"), name="tree:x")
    assert "int fixed;" in kernel.vmlinuz.read_text()
    assert kernel.record.patch_ids == ()
    assert (tree.path / "mm/memory.c").read_text() == "int memory;\n"
