# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import re

import pytest

from lab import files, proc
from lab.errors import InfraError, UserError
from lab.workload.compile import build_workload

SOURCE = (
    '#include <stdio.h>\n#include "lab.h"\nint main(void) { printf("%d %s", ANSWER, __FILE__); return 0; }\n'
)


@pytest.fixture
def sources(tmp_path):
    def make(place: str):
        folder = tmp_path / place
        (folder / "include").mkdir(parents=True)
        (folder / "include/lab.h").write_text("#define ANSWER 42\n")
        (folder / "w.c").write_text(SOURCE)
        return folder

    return make


def test_program_is_static_and_runs(sources):
    """A workload becomes a static program that works, without the path of its source."""
    folder = sources("a")
    program = build_workload(folder / "w.c", folder / "include")
    assert proc.run([str(program)], timeout=10).stdout == b"42 ./w.c"
    assert b"/lib64/ld-linux" not in program.read_bytes()


def test_same_sources_give_the_same_bytes_anywhere(sources):
    """Nothing of the folder gets into the program, and it is built once."""
    one, two = sources("a"), sources("b")
    first = build_workload(one / "w.c", one / "include")
    assert build_workload(two / "w.c", two / "include") == first
    kept = first.read_bytes()
    first.parent.rename(first.parent.with_name("elsewhere"))
    assert build_workload(two / "w.c", two / "include").read_bytes() == kept


def test_a_built_program_is_not_built_again(sources, monkeypatch):
    """The second call compiles nothing."""
    folder = sources("a")
    first = build_workload(folder / "w.c", folder / "include")
    stamp = first.stat().st_mtime_ns
    assert build_workload(folder / "w.c", folder / "include").stat().st_mtime_ns == stamp


@pytest.mark.parametrize("touched", ["w.c", "include/lab.h", "near.h"])
def test_every_source_counts(sources, touched):
    """A change of source or header gives another program."""
    folder = sources("a")
    first = build_workload(folder / "w.c", folder / "include")
    with (folder / touched).open("a") as handle:
        handle.write("\n")
    assert build_workload(folder / "w.c", folder / "include") != first


@pytest.mark.parametrize("name", ["../common/size.h", "size.c", "sub dir/size.h", "../include/sub/$ #.h"])
def test_what_a_program_is_not_found_again_by_is_refused(sources, name):
    """Neither the program nor the case's digest would follow a change of a file that is no known header."""
    folder = sources("a")
    (folder / "case").mkdir()
    source, other = folder / "case/w.c", folder / "case" / name
    other.parent.mkdir(exist_ok=True)
    other.write_text("#define ANSWER 42\n")
    source.write_text(SOURCE.replace("lab.h", name))
    with pytest.raises(UserError, match=rf"w\.c includes .*{re.escape(name)}; if that were edited") as caught:
        build_workload(source, folder / "include")
    assert "lie in" in caught.value.hint
    assert [path for path in files.cache_dir("workloads").iterdir() if path.is_dir()] == []


def test_a_known_header_may_be_named_in_any_way(sources):
    """What counts is the file: by a detour, or by a link beside the source, it is in the key."""
    folder = sources("a folder")
    (folder / "real").mkdir()
    (folder / "real/size.h").write_text("#define SIZE 1\n")
    (folder / "size.h").symlink_to("real/size.h")
    (folder / "w.c").write_text(f'#include "../a folder/size.h"\n{SOURCE}')
    first = build_workload(folder / "w.c", folder / "include")
    assert proc.run([str(first)], timeout=10).stdout == b"42 ./w.c"
    (folder / "real/size.h").write_text("#define SIZE 2\n")
    assert build_workload(folder / "w.c", folder / "include") != first


def test_a_damaged_program_is_built_again(sources):
    """A program that is not what was built is never run."""
    folder = sources("a")
    program = build_workload(folder / "w.c", folder / "include")
    good = program.read_bytes()
    program.write_bytes(good[:-1] + b"x")
    assert build_workload(folder / "w.c", folder / "include").read_bytes() == good


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "int main(void) { return answer; }\n",
            r"w\.c does not compile: .*w\.c:1:25: error: .answer. undeclared",
        ),
        (
            "int f(void); int main(void) { return f(); }\n",
            r"w\.c does not compile: .*undefined reference to `f'",
        ),
        ('#include "gone.h"\n', r"w\.c does not compile: .*fatal error: gone\.h: No such file"),
    ],
)
def test_the_compilers_first_error_is_told(sources, source, message):
    """A workload that does not compile is the user's error, with gcc's words and the log's path."""
    folder = sources("a")
    (folder / "w.c").write_text(source)
    with pytest.raises(UserError, match=message) as caught:
        build_workload(folder / "w.c", folder / "include")
    logs = list(files.cache_dir("workloads").glob("*.log"))
    assert str(logs[0]) in caught.value.hint
    assert "error" in logs[0].read_text() or "undefined" in logs[0].read_text()
    assert [path for path in files.cache_dir("workloads").iterdir() if path.is_dir()] == []


def test_a_missing_source_is_named(sources):
    """The file that cannot be read is in the message."""
    folder = sources("a")
    with pytest.raises(UserError, match=r"cannot read .*gone\.c: No such file"):
        build_workload(folder / "gone.c", folder / "include")


def test_a_missing_compiler_names_the_package(sources, monkeypatch, tmp_path):
    """Without gcc the message says what to install."""
    folder = sources("a")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(proc.QUIET_ENV, "PATH", str(tmp_path))
    with pytest.raises(InfraError, match=r"gcc is not installed.*\n.*apt-get install gcc libc6-dev"):
        build_workload(folder / "w.c", folder / "include")


def test_a_missing_static_library_names_the_package(sources, monkeypatch, tmp_path):
    """A gcc that has no libc.a is told before it fails to link."""
    folder = sources("a")
    fake = tmp_path / "gcc"
    fake.write_text("#!/bin/sh\necho libc.a\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(InfraError, match=r"static C library.*\n.*apt-get install libc6-dev"):
        build_workload(folder / "w.c", folder / "include")
