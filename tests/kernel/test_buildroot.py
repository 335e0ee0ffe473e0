# SPDX-License-Identifier: GPL-2.0-or-later
"""Which compiler modules of a packaged kernel are built with, and roots that bring another one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import stand_ins

from lab import proc
from lab.errors import InfraError
from lab.kernel.buildroot import build_root
from lab.kernel.fit import parse_undefined
from lab.kernel.module_tools import module_tools, unfit
from lab.kernel.sandbox import HOST
from lab.kernel.suites import Suite

SUITE = Suite("trixie", "Types: deb\nURIs: http://example.org/debian\nSuites: trixie\nComponents: main\n")

# Packs a root with a compiler, and the arguments that it was called with; the archive is its last but one.
MMDEBSTRAP = """\
#!/bin/sh
mkdir -p "$0.root/usr/bin" "$0.root/dev"
echo "$@" >> "$0.calls"
for archive do [ "${archive%.tar}" = "$archive" ] || break; done
: > "$0.root/usr/bin/x86_64-linux-gnu-gcc-14"; : > "$0.root/dev/sda"; chmod +x "$0.root"/usr/bin/*
tar -C "$0.root" -cf "$archive" .
"""


@pytest.fixture
def mmdebstrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program of that name, first in PATH."""
    program = tmp_path / "bin/mmdebstrap"
    program.parent.mkdir()
    program.write_text(MMDEBSTRAP)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return program


def test_made_once(mmdebstrap: Path) -> None:
    """A root is made at the first use, has the compiler as its gcc, and no device nodes."""
    root = build_root(SUITE, "gcc-14")
    assert build_root(SUITE, "gcc-14") == root
    (call,) = mmdebstrap.with_name("mmdebstrap.calls").read_text().splitlines()
    assert "gcc-14" in call
    assert " trixie " in call
    assert (root / "usr/bin/gcc").exists()
    assert sorted(path.name for path in root.iterdir()) == ["usr"]


def test_failure_leaves_nothing(mmdebstrap: Path) -> None:
    """What mmdebstrap complains about is told, and the next use tries again."""
    mmdebstrap.write_text("#!/bin/sh\necho 'I: hello' >&2; echo 'E: apt-get update failed' >&2; exit 1\n")
    with pytest.raises(InfraError, match="build root of trixie: apt-get update failed"):
        build_root(SUITE, "gcc-14")
    mmdebstrap.write_text(MMDEBSTRAP)
    assert build_root(SUITE, "gcc-14").is_dir()


def test_only_gcc(mmdebstrap: Path) -> None:
    """A name out of a package's file is not handed on unless it is a compiler's."""
    with pytest.raises(InfraError, match="GCC only"):
        build_root(SUITE, "gcc --evil")
    assert not mmdebstrap.with_name("mmdebstrap.calls").exists()


def test_host_that_cannot_run_the_tools(tmp_path: Path) -> None:
    """Headers whose tools want a newer libc do not fit, and the libc's own words say why."""
    tool = tmp_path / "usr/lib/linux-kbuild-7.3/scripts/mod/modpost"
    tool.parent.mkdir(parents=True)
    tool.write_text("#!/bin/sh\necho \"$0: /lib/libc.so.6: version 'GLIBC_2.99' not found\" >&2; exit 1\n")
    tool.chmod(0o755)
    assert "GLIBC_2.99" in unfit(tmp_path, "gcc")
    tool.write_text("#!/bin/sh\necho usage >&2; exit 1\n")
    assert unfit(tmp_path, "gcc") == ""
    assert unfit(tmp_path, "gcc-99") == "gcc-99 is not installed"


def test_modules_are_told_apart_by_binutils(tmp_path: Path) -> None:
    """What a module's build is found again by names the compiler and the linker, as a whole kernel's does."""
    base = replace(stand_ins.kernel(tmp_path, release="7.3"), headers=tmp_path)
    (tmp_path / "usr/src/linux-headers-7.3").mkdir(parents=True)
    (tmp_path / "usr/src/linux-headers-7.3/.kernelvariables").write_text("CC = gcc\n")
    there, tools = module_tools(base)
    assert there == HOST
    said = [proc.run([program, "--version"], timeout=20).text for program in ("gcc", "ld")]
    assert tools == ", ".join(text.splitlines()[0] for text in said)


def test_imports_without_modversions() -> None:
    """What a module of a kernel without CRCs imports: undefined symbols, but not weak ones."""
    text = "                 U drm_a\n                 w maybe\n0000 T mine\n                 U ttm_b\n"
    assert parse_undefined(text) == {"drm_a": 0, "ttm_b": 0}
