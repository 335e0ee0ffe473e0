# SPDX-License-Identifier: GPL-2.0-or-later
"""Fragments, and what became of the options that they ask for."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_tree import fake_tree

from lab.errors import SpecError, UserError
from lab.kernel.configure import Config, configure, decides_config
from lab.kernel.kconfig import compose, debug_options, known, lost
from lab.kernel.kconfig_depends import KconfigFiles, explain
from lab.kernel.objects import ObjectTree
from lab.kernel.toolchain import toolchain


def fragment(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def configured(folder: Path, text: str) -> Config:
    tree = fake_tree(folder / "origin")
    objects = ObjectTree(tree.path, fragment(folder / "mine.config", text), toolchain())
    with objects.held():
        return configure(tree, objects, "")


def test_shipped_fragments_are_understood() -> None:
    """Each fragment that ships parses for each version and says in a sentence what it is for."""
    assert known().keys() == {"lean", "drm", "kvm-host", "debug", "faults", "kunit"}
    for name, purpose in known().items():
        assert purpose
        for version in ("5.10", "6.1", "6.12", "7.3"):
            assert compose(name, version).requests


def test_later_fragment_wins(tmp_path: Path) -> None:
    """Of two lines about one option the later fragment's counts, also when it turns it off."""
    mine = fragment(tmp_path / "mine.config", "# CONFIG_DRM_QXL is not set\nCONFIG_NR_CPUS=4\n")
    requests = {request.symbol: request.value for request in compose(f"lean+drm+{mine}", "6.12").requests}
    assert requests["CONFIG_DRM_QXL"] == "n"
    assert requests["CONFIG_NR_CPUS"] == "4"
    assert requests["CONFIG_DRM_BOCHS"] == "m"


def test_versions(tmp_path: Path) -> None:
    """`from` and `to` limit an option, both included."""
    mine = fragment(
        tmp_path / "v.config", "CONFIG_A=y # from 6.2 to 6.9\nCONFIG_B=m # to 5.10\nCONFIG_C=y # from 7.0\n"
    )
    found = {v: compose(mine, v).text.split() for v in ("5.10.200", "6.1", "6.2", "6.9.1", "6.10-rc1", "7.0")}
    assert found == {
        "5.10.200": ["CONFIG_B=m"],
        "6.1": [],
        "6.2": ["CONFIG_A=y"],
        "6.9.1": ["CONFIG_A=y"],
        "6.10-rc1": [],
        "7.0": ["CONFIG_C=y"],
    }


def test_unknown_fragment() -> None:
    """A name that is none gets the nearest one; a path is no name."""
    with pytest.raises(UserError, match="did you mean drm"):
        compose("lean+drn", "6.12")
    with pytest.raises(UserError, match="no configuration"):
        compose("../lean", "6.12")


def test_every_bad_line_is_told(tmp_path: Path) -> None:
    """Lines that kbuild would drop without a word are refused, each with its number."""
    mine = fragment(
        tmp_path / "bad.config", "# fine\nCONFIG_A=yes\nA=y\n# CONFIG_B is unset\nCONFIG_C=y # since 6.1\n"
    )
    with pytest.raises(SpecError) as caught:
        compose(mine, "6.12")
    assert [problem.split(":")[1] for problem in caught.value.problems] == ["2", "3", "4", "5"]


def test_survivors(tmp_path: Path) -> None:
    """A configuration that is as asked is kept, with all its options."""
    config = configured(tmp_path, "CONFIG_A=y\n# CONFIG_OFF is not set\n")
    assert config.values == {"CONFIG_A": "y"}


def test_lost_options_are_named(tmp_path: Path) -> None:
    """Each option that did not survive is named, with where it was asked for and what it depends on."""
    text = "CONFIG_A=y\nCONFIG_DRM_FAKE=m\nCONFIG_NOWHERE=y\nCONFIG_HIDDEN=y\n"
    with pytest.raises(UserError) as caught:
        configured(tmp_path, text)
    said = str(caught.value)
    assert "3 of 4 options" in said
    assert (
        "CONFIG_DRM_FAKE=m (mine.config:2) is off: it depends on PCI && MMU (PCI=n, MMU=n; drivers/Kconfig:2)"
        in said
    )
    assert "CONFIG_NOWHERE=y (mine.config:3) is off: this version has no such option" in said
    assert "CONFIG_HIDDEN=y (mine.config:4) is off: it cannot be chosen" in said


def test_forced_on_is_lost_too(tmp_path: Path) -> None:
    """An option that was to be off and is on, and one that is m instead of y, are not as asked."""
    mine = fragment(tmp_path / "f.config", "# CONFIG_X is not set\nCONFIG_Y=y\nCONFIG_Z=m\n")
    wrong = lost(compose(mine, "6.12"), {"CONFIG_X": "y", "CONFIG_Y": "m", "CONFIG_Z": "m"})
    assert [request.symbol for request in wrong] == ["CONFIG_X", "CONFIG_Y"]


def test_help_text_is_no_dependency(tmp_path: Path) -> None:
    """`depends on` inside a help text, and an `if` that has ended, do not count."""
    tree = fake_tree(tmp_path)
    (tree.path / "drivers/Kconfig").write_text(
        'if GONE\nconfig OTHER\n\tbool "x"\nendif\nmenu "m"\n\tdepends on NET || \\\n\t\tPCI\nconfig MINE\n'
        '\tbool "y"\n\thelp\n\t  depends on NOTHING\n\n\t  if this\n\tdepends on SMP\nendmenu\n'
    )
    said = explain("MINE", KconfigFiles(tree.path), {"CONFIG_SMP": "y"})
    assert said == "it depends on (NET || PCI) && SMP (NET=n, PCI=n, SMP=y; drivers/Kconfig:8)"


def test_debug_options() -> None:
    """What slows the measured paths is named; a lean kernel has none of it."""
    assert debug_options({"CONFIG_KASAN": "y", "CONFIG_DEBUG_VM": "y", "CONFIG_DEBUG_FS": "y"}) == (
        "KASAN",
        "DEBUG_VM",
    )
    lean = {request.symbol: request.value for request in compose("lean+drm+kvm-host", "6.12").requests}
    assert debug_options(lean) == ()


@pytest.mark.parametrize(
    ("path", "decides"),
    [
        ("drivers/gpu/drm/Kconfig", True),
        ("mm/Kconfig.debug", True),
        ("scripts/Kconfig.include", True),
        ("Makefile", True),
        ("drivers/gpu/drm/ttm/Makefile", False),
        ("drivers/gpu/drm/ttm/ttm_bo_vm.c", False),
    ],
)
def test_what_decides_a_configuration(path: str, decides: bool) -> None:
    """Only changes of these files make computing the configuration again necessary."""
    assert decides_config([path]) is decides
