# SPDX-License-Identifier: GPL-2.0-or-later
"""The pytest plugin, as far as it goes without a guest: what is collected, and that others are left alone."""

from __future__ import annotations

import sys

import pytest

# Imported once: pytester forgets after each run what that run has imported.
import lab.pytest_plugin.cases
import lab.pytest_plugin.guests  # noqa: F401
from lab import proc

pytest_plugins = ["pytester"]

CASE = """\
title: comes up
question: Does it?
machines: [qxl]
"""
STACK = "services:\n  web: {image: nginx}\n"


@pytest.fixture
def tree(pytester: pytest.Pytester) -> pytest.Pytester:
    """A project with a case, a machine that is no case, and a YAML file of somebody else."""
    for name, text in {
        "testcases/mine/up.yaml": CASE,
        "testcases/machines/mine.yaml": "title: my machine\n",
        "tests/data/stack.yaml": STACK,
        "stack.yaml": STACK,
    }.items():
        path = pytester.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return pytester


def run(pytester: pytest.Pytester, *words: str) -> pytest.RunResult:
    """pytest in this process, without the plugins and the folder that it does not need."""
    return pytester.runpytest_inprocess("-p", "no:hypothesispytest", "-p", "no:cacheprovider", *words)


def collected(pytester: pytest.Pytester, *words: str) -> list[str]:
    """Names of the tests that pytest would run."""
    done = run(pytester, "--collect-only", "-q", *words)
    assert done.ret in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED), done.outlines + done.errlines
    return [line.rpartition("::")[2] for line in done.outlines if "::" in line]


def test_nothing_is_collected_unasked(tree):
    """In a project that did not ask for it, no YAML file is even read."""
    (tree.path / "testcases/mine/broken.yaml").write_text("{")
    assert collected(tree) == []


def test_an_option_collects_the_cases_of_the_tree(tree):
    """With a --lab option a case is a test; machines and other people's YAML files are not."""
    assert collected(tree, "--lab-kernel", "debian:6.12") == ["local/up[qxl]"]


def test_each_machine_is_a_test(tree):
    """--lab-machine may be repeated, and -k selects among what comes of it."""
    words = ["--lab-machine", "bochs", "--lab-machine", "virtio-gpu", "--lab-machine", "bochs"]
    assert collected(tree, *words) == ["local/up[bochs]", "local/up[virtio-gpu]"]
    assert collected(tree, *words, "-k", "up and bochs") == ["local/up[bochs]"]


def test_the_ini_setting_collects_without_an_option(tree):
    """A project can say once where its cases are."""
    tree.makeini("[pytest]\nfaultlab_cases = testcases/mine\n")
    assert collected(tree) == ["local/up[qxl]"]


def test_a_file_that_is_named_is_a_case(tree):
    """A case may lie anywhere if it is named on the command line."""
    elsewhere = tree.path / "here.yaml"
    elsewhere.write_text(CASE)
    assert collected(tree, "here.yaml", "--lab-clock", "virtual") == ["local/here[qxl]"]
    assert collected(tree, "here.yaml", "--lab-clock", "virtual", "--lab-machine", "bochs") == [
        "local/here[bochs]"
    ]


def test_a_broken_case_is_told_with_its_place(tree):
    """A mistake in YAML is a collection error with file, line and column."""
    (tree.path / "testcases/mine/broken.yaml").write_text(CASE + "tittle: x\n")
    done = run(tree, "--lab-kernel", "stock", "--collect-only")
    assert done.ret == pytest.ExitCode.INTERRUPTED
    done.stdout.fnmatch_lines(["*testcases/mine/broken.yaml:4:1: unknown key 'tittle'; did you mean title?*"])


def test_an_unknown_machine_is_told(tree):
    """A machine that does not exist is a collection error that names near ones."""
    done = run(tree, "--lab-machine", "qxxl", "--collect-only")
    assert done.ret == pytest.ExitCode.INTERRUPTED
    done.stdout.fnmatch_lines(["*there is no machine qxxl*", "*did you mean qxl*"])


def test_two_cases_of_one_name_are_refused(tree):
    """Two files that would be the same case are an error, not one test that hides the other."""
    (tree.path / "testcases/other").mkdir()
    (tree.path / "testcases/other/up.yaml").write_text(CASE)
    done = run(tree, "--lab-kernel", "stock", "--collect-only")
    assert done.ret == pytest.ExitCode.INTERRUPTED
    done.stdout.fnmatch_lines(["*would both be the case local/up*", "*rename one of them*"])


def test_an_unknown_kernel_is_an_error_of_every_item(tree):
    """What keeps the lab from starting is an error in pytest's words, and no failure of a kernel."""
    done = run(tree, "--lab-kernel", "no such kernel", "--lab-machine=qxl", "--lab-machine=bochs")
    done.assert_outcomes(errors=2)
    done.stdout.fnmatch_lines(["*ERROR: the lab could not run this: *no such kernel*"])


def test_an_unknown_configuration_is_told_before_anything_is_built(tree):
    """--lab-kconfig reaches the lab, which knows no such fragment."""
    kernel = tree.path / "linux"
    for name in ("Kbuild", "MAINTAINERS"):
        kernel.mkdir(exist_ok=True)
        (kernel / name).touch()
    (kernel / "Makefile").write_text("VERSION = 6\nPATCHLEVEL = 12\nSUBLEVEL = 1\nEXTRAVERSION =\n")
    done = run(tree, "--lab-kernel", f"tree:{kernel}", "--lab-kconfig", "lean+dmr")
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines(["*ERROR: the lab could not run this: *dmr*"])


def test_guests_are_parametrised_by_options_and_marker(pytester):
    """A test with a guest runs on each machine that was asked for; its marker overrides the options."""
    pytester.makepyfile(
        """
        import pytest

        def test_plain(guest): ...
        def test_shared(module_guest): ...
        @pytest.mark.lab(machine="virtio-gpu", kernel="debian:6.12")
        def test_marked(guest): ...
        @pytest.mark.lab(machine=["qxl", "bochs"])
        def test_both(guest): ...
        def test_none(): ...
        """
    )
    assert sorted(collected(pytester, "--strict-markers")) == [
        "test_both[bochs]",
        "test_both[qxl]",
        "test_marked[debian:6.12-virtio-gpu]",
        "test_none",
        "test_plain[qxl]",
        "test_shared[qxl]",
    ]
    chosen = collected(pytester, "--lab-machine", "bochs", "--lab-machine", "qxl", "-k", "plain")
    assert chosen == ["test_plain[bochs]", "test_plain[qxl]"]


def test_a_marker_with_a_typing_error_is_told(pytester):
    """An unknown keyword of the marker does not silently mean the default."""
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.lab(machin="bochs")
        def test_marked(guest): ...
        """
    )
    done = run(pytester, "--collect-only")
    assert "keywords kernel and machine" in done.stdout.str() + done.stderr.str()
    assert done.ret != pytest.ExitCode.OK


def test_a_foreign_run_imports_nothing_of_the_lab(pytester):
    """In a project that does not use it, the plugin costs one small module."""
    pytester.makepyfile(
        """
        import sys

        def test_modules():
            ours = {name for name in sys.modules if name.partition(".")[0] == "lab"}
            assert ours == {"lab", "lab.pytest_plugin"}
            assert "pydantic" not in sys.modules
        """
    )
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:hypothesispytest", "-p", "no:cacheprovider"]
    done = proc.run(argv, timeout=60, check=False, cwd=pytester.path)
    assert done.code == 0, done.text
