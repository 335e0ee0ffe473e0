# SPDX-License-Identifier: GPL-2.0-or-later
"""Keeps tests off the user's caches, and marks those that boot guests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# How long an example takes says something about the host, nothing about the lab.
settings.register_profile("lab", deadline=None)
settings.load_profile("lab")

# The tests' repositories are neither those of a hook that runs the tests, nor made as the user likes his.
for name in [name for name in os.environ if name.startswith("GIT_")]:
    del os.environ[name]
os.environ["GIT_CONFIG_GLOBAL"] = os.devnull

# Folder -> the marker of all tests in it.
MARKED = {Path(__file__).parent / name: name for name in ("vm", "nested", "topics", "kernels")}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for folder, marker in MARKED.items():
            if item.path.is_relative_to(folder):
                item.add_marker(marker)


@pytest.fixture(autouse=True)
def _own_folders(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Cache, state and home in a temporary folder, but for guests: they use what is built and downloaded."""
    if any(request.node.get_closest_marker(marker) for marker in MARKED.values()):
        return
    home = tmp_path_factory.mktemp("home")
    for name in ("LAB_CACHE", "LAB_STATE", "HOME"):
        monkeypatch.setenv(name, str(home / name.lower()))
    for name in ("XDG_CACHE_HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
