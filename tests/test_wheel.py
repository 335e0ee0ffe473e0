# SPDX-License-Identifier: GPL-2.0-or-later
"""The wheel: it has all that the lab reads at run time, and works from any directory."""

from __future__ import annotations

import os
import sys
import zipfile
from pathlib import Path

import pytest

from lab import __version__, proc

ROOT = Path(__file__).parent.parent
SHIPPED = ("testcases", "images", "kconfigs")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, built without a network."""
    folder = tmp_path_factory.mktemp("dist")
    argv = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    proc.run(argv, timeout=120)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the wheel's content, as pip puts it there, and nothing of the checkout."""
    folder = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    proc.run([*pip, "--no-deps", "--no-index", "--target", str(folder), str(wheel)], timeout=120)
    return folder


def test_it_ships_what_the_checkout_has(wheel: Path) -> None:
    """Every case, machine, series, image and configuration fragment is in the wheel; so are all modules."""
    names = set(zipfile.ZipFile(wheel).namelist())
    files = [p for kind in SHIPPED for p in (ROOT / kind).rglob("*") if p.is_file()]
    wanted = {f"lab/_shipped/{path.relative_to(ROOT)}" for path in files}
    wanted |= {str(path.relative_to(ROOT)) for path in (ROOT / "lab").rglob("*.py")}
    wanted |= {"lab/report/templates/report.html.j2", "lab/report/templates/report.css"}
    wanted.add("lab/_shipped/ci/nightly.yaml")
    wanted.add(f"faultlab-{__version__}.dist-info/licenses/LICENSE")
    assert wanted - names == set()
    assert not [name for name in names if name.startswith(("tests/", "bench/")) or "__pycache__" in name]


def test_the_installed_command_finds_what_it_ships(installed: Path, tmp_path: Path) -> None:
    """From another directory, `lab` lists the same cases as the checkout does, out of its own files."""
    assert (
        run_lab(installed, tmp_path, "list", "cases").text
        == proc.run([sys.executable, "-m", "lab", "list", "cases"], timeout=60, cwd=ROOT).text
    )
    assert f"lab, version {__version__}" in run_lab(installed, tmp_path, "--version").text
    where = [sys.executable, "-c", "from lab import files; print(files.shipped('testcases'))"]
    found = proc.run(where, timeout=60, cwd=tmp_path, env=environment(installed)).text.strip()
    assert Path(found) == installed / "lab/_shipped/testcases"


def test_pytest_loads_the_plugin_of_the_wheel(installed: Path, tmp_path: Path) -> None:
    """The entry point is there: pytest collects the cases that were installed."""
    argv = [sys.executable, "-m", "pytest", "-q", "--collect-only", "-p", "no:cacheprovider"]
    cases = installed / "lab/_shipped/testcases"
    done = proc.run(
        [*argv, str(cases), "--lab-kernel", "stock"], timeout=60, cwd=tmp_path, env=environment(installed)
    )
    assert "smoke/boot[qxl]" in done.text
    assert "prefault/first-touch[qxl]" in done.text


def run_lab(installed: Path, cwd: Path, *words: str) -> proc.Finished:
    argv = [sys.executable, str(installed / "bin/lab"), *words]
    return proc.run(argv, timeout=60, cwd=cwd, env=environment(installed))


def environment(installed: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(installed)}
