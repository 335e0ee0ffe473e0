# SPDX-License-Identifier: GPL-2.0-or-later
"""The lab in pytest (docs/pytest.md): every case a test, and guests for tests that are written in Python.

pytest loads this in every run of every project where the lab is installed. So it imports nothing of the lab
until a case or a guest is asked for, and never looks at a YAML file that nobody has called a case.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from lab.pytest_plugin.cases import CaseFile
    from lab.pytest_plugin.guests import LabGuest
    from lab.workflow.guests import Wanted

OPTIONS = ("lab_kernel", "lab_kconfig", "lab_machine", "lab_clock", "lab_accel")
CASE_FOLDERS = "faultlab_cases"

GUEST: pytest.StashKey[LabGuest] = pytest.StashKey()
"""The guest that a test uses; its kernel log belongs to the test's result."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("faultlab", "faultlab: cases and guests")
    group.addoption(
        "--lab-kernel",
        metavar="KERNEL",
        help="Boot this kernel: stock (default; in a kernel tree, that tree), debian:6.12, ...",
    )
    group.addoption(
        "--lab-kconfig", metavar="NAMES", help="What a kernel tree is built with (default lean+drm)."
    )
    group.addoption(
        "--lab-machine",
        metavar="MACHINE",
        action="append",
        help="Run on this machine preset (repeatable; default: the case's own, qxl for guests).",
    )
    group.addoption(
        "--lab-clock", choices=["virtual", "real"], help="Clock that cases are measured by (default virtual)."
    )
    group.addoption(
        "--lab-accel", choices=["auto", "kvm", "tcg"], help="Accelerator of the guests (default auto)."
    )
    parser.addini(CASE_FOLDERS, "Folders whose YAML files are faultlab cases.", type="paths", default=[])


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "lab(kernel=None, machine=None): kernel and machine (or list of machines) of the test's guest",
    )
    config.addinivalue_line(
        "markers", "allow_splats: complaints in the guest's kernel log do not fail the test"
    )


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> CaseFile | None:
    if file_path.suffix != ".yaml" or not _is_case(file_path, parent):
        return None
    from lab.pytest_plugin.cases import CaseFile

    return CaseFile.from_parent(parent, path=file_path)


def _is_case(path: Path, parent: pytest.Collector) -> bool:
    """Only what the user has called a case: by ini option, or by a --lab option and its place or its path."""
    config = parent.config
    if any(path.is_relative_to(folder) for folder in config.getini(CASE_FOLDERS)):
        return True
    if not any(config.getoption(option) for option in OPTIONS):
        return False
    from lab.spec.catalog import ANSWER, NO_TOPICS

    if path.name == ANSWER:
        return False
    in_tree = path.parent.parent.name == "testcases" and path.parent.name not in NO_TOPICS
    return in_tree or parent.session.isinitpath(path)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test with a guest runs once on each machine."""
    if "lab_wanted" in metafunc.fixturenames:
        from lab.pytest_plugin.guests import name_of, wanted_by

        wanted = wanted_by(metafunc.config, metafunc.definition.get_closest_marker("lab"))
        metafunc.parametrize("lab_wanted", wanted, indirect=True, ids=name_of, scope="module")


@pytest.fixture(scope="module")
def lab_wanted(request: pytest.FixtureRequest) -> Wanted:
    """Kernel, machine and accelerator of this test's guest."""
    from lab.pytest_plugin.guests import wanted_by

    if hasattr(request, "param"):
        chosen: Wanted = request.param
        return chosen
    return wanted_by(request.config, None)[0]  # asked for by request.getfixturevalue()


@pytest.fixture
def guest(request: pytest.FixtureRequest, lab_wanted: Wanted) -> Generator[LabGuest, None, None]:
    """A guest that was booted for this test alone."""
    from lab.pytest_plugin.guests import booted_for

    with booted_for(lab_wanted) as opened:
        request.node.stash[GUEST] = opened
        yield opened


@pytest.fixture(scope="module")
def _guest_of_module(lab_wanted: Wanted) -> Generator[LabGuest, None, None]:
    from lab.pytest_plugin.guests import booted_for

    with booted_for(lab_wanted) as opened:
        yield opened


@pytest.fixture
def module_guest(request: pytest.FixtureRequest, _guest_of_module: LabGuest) -> LabGuest:
    """A guest that the tests of a module share; each sees only its own part of the kernel log."""
    _guest_of_module.begin_test()
    request.node.stash[GUEST] = _guest_of_module
    return _guest_of_module


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """A test fails with its kernel: on a complaint in the log; if it failed by itself, the log is shown."""
    opened = item.stash.get(GUEST, None)
    try:
        result = yield
    except Exception:
        if opened is not None:
            item.add_report_section("call", "guest", opened.evidence())
        raise
    finally:
        if opened is not None:
            item.user_properties.extend(opened.properties())
    if opened is not None and item.get_closest_marker("allow_splats") is None:
        opened.fail_on_splats()
    return result
