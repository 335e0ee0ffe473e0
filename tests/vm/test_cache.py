# SPDX-License-Identifier: GPL-2.0-or-later
"""The cache when there is no network, and when what lies in it was harmed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from labrun import run_lab
from processes import partial_cache, started

from lab import files
from lab.kernel.packages import PackageRoot

CASE = "prefault/sparse-touch"


@pytest.fixture(scope="module", autouse=True)
def warm(tmp_path_factory: pytest.TempPathFactory) -> None:
    """All that the tests below want to find in the user's cache is there."""
    done = run_lab("run", "smoke/boot", CASE, state=tmp_path_factory.mktemp("warm"))
    assert done.code == 0, done.stderr


def _own_copy(cache: Path, kind: str) -> Path:
    """One kind of the user's cache, copied to be harmed; without what other labs make just now."""
    passing = shutil.ignore_patterns(".*", "*.log")
    shutil.copytree(files.cache_dir(kind), cache / kind, symlinks=True, ignore=passing)
    return cache / kind


def test_a_warm_cache_needs_no_network(tmp_path: Path, state: Path) -> None:
    """With an index of last week and no network at all: told in a line, and then it runs."""
    cache = partial_cache(tmp_path / "cache", without=("apt",))
    stamp = _own_copy(cache, "apt") / "updated"
    os.utime(stamp, (stamp.stat().st_mtime - 7 * 86400,) * 2)
    unshare = ["unshare", "--net"] + ([] if os.geteuid() == 0 else ["--map-root-user"])
    if subprocess.run([*unshare, "true"], check=False).returncode:
        pytest.skip("this user may not make a network namespace")
    argv = [*unshare, sys.executable, "-m", "lab", "run", "smoke/boot"]
    env = {**os.environ, "LAB_CACHE": str(cache)}
    done = subprocess.run(argv, check=False, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    assert "package index unreachable" in done.stderr
    assert re.search(r"going on with the one that is 1[6-9]\d hours old", done.stderr)


def test_harmed_parts_of_an_initramfs_are_made_again(tmp_path: Path, state: Path) -> None:
    """Cut archives and a changed workload are named and made again; no boot fails mysteriously."""
    cache = partial_cache(tmp_path / "cache", without=("images", "workloads"))
    for archive in _own_copy(cache, "images").glob("*.cpio"):
        os.truncate(archive, archive.stat().st_size // 2)
    for program in _own_copy(cache, "workloads").glob("*/bo_touch"):
        program.write_bytes(program.read_bytes().replace(b"KTAP", b"XTAP"))
    with started("run", CASE, folder=tmp_path / "lab", state=state, cache=cache) as lab:
        assert lab.ended(seconds=300) == 0, lab.progress
        assert lab.progress.count("is damaged: it is made again") >= 2
        assert "bo_touch is damaged: it is compiled again" in lab.progress
        assert lab.unfinished() == []


def test_a_corrupt_package_is_fetched_again(tmp_path: Path, state: Path) -> None:
    """Its digest is checked before it is used; it is named, and fetched from the mirror."""
    (package,) = [one for one in PackageRoot().closure(["busybox-static"]) if one.name == "busybox-static"]
    cache = partial_cache(tmp_path / "cache", without=("images", "packages"))
    (cache / "packages").mkdir()
    harmed = cache / "packages" / f"{package.sha256}.deb"
    harmed.write_bytes(b"\0" * package.size)
    with started("run", "smoke/boot", folder=tmp_path / "lab", state=state, cache=cache) as lab:
        code = lab.ended(seconds=300)
        assert f"{harmed} ({package}) is corrupt: removed, will be fetched again" in lab.progress
        if "cannot fetch" in lab.progress:
            pytest.skip("the mirror cannot be reached")
        assert code == 0, lab.progress
    assert files.sha256_file(harmed) == package.sha256
