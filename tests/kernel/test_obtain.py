# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernels by their names: what was built before is had without waiting for other labs."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
from fake_tree import fake_tree, mbox

from lab.errors import InfraError
from lab.kernel import trees
from lab.kernel.obtain import obtain, obtain_step
from lab.kernel.series import read_series
from lab.kernel.sources import Tarball
from lab.kernel.trees import checked_out


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """The fake tree, packed."""
    source = fake_tree(tmp_path / "origin").path
    for name in ("Kbuild", "MAINTAINERS"):
        (source / name).touch()
    path = tmp_path / "linux.tar"
    with tarfile.open(path, "w") as tar:
        tar.add(source, "linux-6.12.7")
    return path


def test_built_before_waits_for_nobody(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While another lab holds the tree, its Makefile patched, what was built is had, and the rest is not."""
    monkeypatch.setattr(trees, "LOCK_SECONDS", 1)
    for name in ("one", "two"):
        (tmp_path / f"{name}.config").write_text(f"CONFIG_A={'y' if name == 'one' else 'm'}\n")
    one, two = (str(tmp_path / f"{name}.config") for name in ("one", "two"))
    series = read_series(
        mbox(tmp_path / "x.mbox", "drivers/ttm.c", "int prefault = 16;", "int prefault = 512;")
    )
    name = f"tarball:{archive}"
    built = obtain(name, with_build=False, kconfig=one)
    patched = obtain_step(name, series, 1, kconfig=one)
    assert patched.record.build_id != built.record.build_id
    with checked_out(Tarball(archive)) as tree:
        (tree.path / "Makefile").write_text("VERSION = 7\n")
        assert obtain(name, with_build=False, kconfig=one).record == built.record
        assert obtain_step(name, series, 1, kconfig=one).record == patched.record
        with pytest.raises(InfraError, match="another lab"):
            obtain(name, with_build=False, kconfig=two)
