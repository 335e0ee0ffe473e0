# SPDX-License-Identifier: GPL-2.0-or-later
"""Whole kernels from a tree: with real make in the real sandbox, over a tree that is no kernel."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake_tree import fake_tree, mbox

from lab import files, log
from lab.errors import InfraError, Interrupted, SeriesError
from lab.kernel.full_build import build_kernel, build_steps, objects_of
from lab.kernel.kernel import Kernel
from lab.kernel.objects import ObjectTree
from lab.kernel.series import Series, read_series
from lab.kernel.toolchain import toolchain
from lab.kernel.work_copy import SourceTree
from lab.waiting import stop_requested


@pytest.fixture
def tree(tmp_path: Path) -> SourceTree:
    return fake_tree(tmp_path / "origin")


@pytest.fixture
def kconfig(tmp_path: Path) -> str:
    """A configuration of the user's own; without PVH the image is a bzImage."""
    path = tmp_path / "mine.config"
    path.write_text("CONFIG_A=y\n")
    return str(path)


def series(tmp_path: Path, file: str, before: str, after: str) -> Series:
    return read_series(mbox(tmp_path / "change.mbox", file, before, after))


def compiled(kernel: Kernel) -> list[str]:
    """What the build of a kernel made, from its log."""
    log = kernel.root.with_name(f"{kernel.root.name}.log")
    return [line.split()[-1] for line in log.read_text().splitlines() if line.startswith("  CC")]


def test_base_and_patched(tree: SourceTree, kconfig: str, tmp_path: Path) -> None:
    """Base and patched share their objects: only what the series touches is made again."""
    change = series(tmp_path, "drivers/ttm.c", "int prefault = 16;", "int prefault = 512;")
    base, patched = build_steps(tree, kconfig, change, name="tree:x")
    assert sorted(compiled(base)) == ["drivers/ttm.o", "mm/memory.o"]
    assert compiled(patched) == ["drivers/ttm.o"]
    assert base.record.image_sha256 == patched.record.image_sha256
    assert base.record.build_id != patched.record.build_id
    assert base.module_file("ttm").read_text() == "int prefault = 16;\n"
    assert patched.module_file("ttm").read_text() == "int prefault = 512;\n"
    assert patched.record.name == "tree:x + change"
    assert patched.record.patch_ids
    assert (tree.path / "drivers/ttm.c").read_text() == "int prefault = 16;\n"


def test_never_built_again(tree: SourceTree, kconfig: str, tmp_path: Path) -> None:
    """The same tree, series and configuration are taken from the cache, even when nothing can be built."""
    change = series(tmp_path, "drivers/ttm.c", "int prefault = 16;", "int prefault = 512;")
    first = build_steps(tree, kconfig, change, name="tree:x")
    (tree.path / "fail").write_text("exit 1\n")
    (tree.path / "Makefile").write_text("$(error make was called)\n")
    assert [k.record for k in build_steps(tree, kconfig, change, name="tree:x")] == [k.record for k in first]


def test_other_tree_other_build(tree: SourceTree, kconfig: str, tmp_path: Path) -> None:
    """Another identity is another build, although over the same objects."""
    base = build_kernel(tree, kconfig, name="tree:x")
    (tree.path / "mm/memory.c").write_text("int other;\n")
    other = build_kernel(SourceTree(tree.path, "two", "6.12.7", "it", None), kconfig, name="tree:x")
    assert other.record.image_sha256 != base.record.image_sha256
    assert compiled(other) == ["mm/memory.o"]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is told of how far builds are."""
    texts: list[str] = []

    @contextlib.contextmanager
    def step(_: str) -> Iterator[Callable[[str], None]]:
        yield texts.append

    monkeypatch.setattr(log, "step", step)
    return texts


def test_time_left_of_a_module(tree: SourceTree, kconfig: str, tmp_path: Path, told: list[str]) -> None:
    """The first series of a module teaches the second, and not one of another kind."""
    kinds = (("drivers/ttm.c", "int prefault = 16;"), ("mm/memory.c", "int memory;"))
    begun = []
    for number, (file, line) in enumerate([kinds[0], *kinds]):
        build_steps(tree, kconfig, series(tmp_path, file, line, f"int changed_{number};"), name="tree:x")
        begun.append([text.partition(",")[0] for text in told if text.startswith("0 of")])
        told.clear()
    assert begun == [[], ["0 of 1 objects"], []]


def test_time_left_after_an_edit(tree: SourceTree, kconfig: str, told: list[str]) -> None:
    """Of another revision it is told where the tree knows in which files it differs."""

    def left(identity: str, differing: tuple[str, ...] | None) -> bool:
        told.clear()
        (tree.path / "drivers/ttm.c").write_text(f"int {identity};\n")
        now = SourceTree(tree.path, identity, "6.12.7", "it", differing=lambda _: differing)
        build_kernel(now, kconfig, name="tree:x")
        return any("left" in text for text in told)

    assert not left("one", None)
    assert not left("two", None)
    assert not left("three", ("drivers/ttm.c",))
    assert left("four", ("drivers/ttm.c",))
    assert not left("five", ("mm/memory.c",))


def test_a_build_that_failed_promises_nothing(
    tree: SourceTree, kconfig: str, tmp_path: Path, told: list[str]
) -> None:
    """Its objects are of two sources: what the next one finds to do is anybody's guess, and no lesson."""

    def left(number: int) -> bool:
        told.clear()
        change = series(tmp_path, "mm/memory.c", "int memory;", f"int changed_{number};")
        build_steps(tree, kconfig, change, name="tree:x")
        return any("left" in text for text in told)

    assert [left(1), left(2)] == [False, True]
    (tree.path / "fail").write_text("grep -q changed_3 mm/memory.c && exit 1; exit 0\n")
    with pytest.raises(SeriesError):
        left(3)
    (tree.path / "fail").unlink()
    assert not left(3)
    assert left(4)


def test_half_a_build_teaches_nothing(tree: SourceTree, kconfig: str, told: list[str]) -> None:
    """What is left to do behind a failure is not what a build from nothing takes."""
    (tree.path / "fail").write_text("echo '  CC      mm/early.o'; exit 1\n")  # done, whatever else make began
    with pytest.raises(InfraError):
        build_kernel(tree, kconfig, name="tree:x")
    (tree.path / "fail").unlink()
    build_kernel(tree, kconfig, name="tree:x")
    told.clear()
    elsewhere = fake_tree(tree.path.parent / "other", identity="two")
    build_kernel(elsewhere, kconfig, name="tree:y")
    assert told
    assert not [text for text in told if "left" in text]


def test_damaged_build(tree: SourceTree, kconfig: str) -> None:
    """A file of a finished build that was changed is noticed, and the kernel made again."""
    base = build_kernel(tree, kconfig, name="tree:x")
    base.vmlinuz.write_text("rot")
    assert build_kernel(tree, kconfig, name="tree:x").record == base.record
    assert base.vmlinuz.read_text() != "rot"


def test_nothing_built(tree: SourceTree, kconfig: str, tmp_path: Path) -> None:
    """A series that touches nothing that is built gives the base again, under the series' name."""
    (tree.path / "README").write_text("old\n")
    base, patched = build_steps(tree, kconfig, series(tmp_path, "README", "old", "new"), name="tree:x")
    assert base.record.build_id == patched.record.build_id
    assert patched.record.name == "tree:x + change"


def test_series_does_not_compile(tree: SourceTree, kconfig: str, tmp_path: Path) -> None:
    """A failing build of the series is the series' fault, with file and line; the tree is itself again."""
    (tree.path / "fail").write_text(
        "grep -q broken mm/memory.c || exit 0\n"
        "echo '/src/mm/memory.c:1:5: error: unknown type name broken' >&2; exit 1\n"
    )
    change = series(tmp_path, "mm/memory.c", "int memory;", "broken memory;")
    with pytest.raises(SeriesError, match=r": mm/memory\.c:1:5: error: unknown type name broken") as caught:
        build_steps(tree, kconfig, change, name="tree:x")
    assert caught.value.stage == "build"
    assert "log" in caught.value.hint
    assert (tree.path / "mm/memory.c").read_text() == "int memory;\n"


def test_base_does_not_compile(tree: SourceTree, kconfig: str) -> None:
    """A base that does not build says nothing about a series."""
    (tree.path / "fail").write_text("echo 'mm/x.c:1:1: error: no' >&2; exit 1\n")
    with pytest.raises(InfraError, match=r"does not build even without a series: mm/x\.c:1:1"):
        build_kernel(tree, kconfig, name="tree:x")


def test_full_disk(tree: SourceTree, kconfig: str) -> None:
    """A disk that fills up in the middle is named as that, whatever the compiler made of it."""
    (tree.path / "fail").write_text("echo 'as: x.o: error: No space left on device' >&2; exit 1\n")
    with pytest.raises(InfraError, match="no room left"):
        build_kernel(tree, kconfig, name="tree:x")


def test_interrupted(tree: SourceTree, kconfig: str) -> None:
    """^C ends a build at once; what may be half written is made again, the rest is kept."""
    (tree.path / "fail").write_text(
        "[ -e $O/once ] && exit 0\ntouch $O/once; printf half > $O/half.o; printf x > $O/done.txt; sleep 60\n"
    )
    objects = files.cache_dir("objects")

    def stop_when_begun() -> None:
        while not list(objects.glob("*/obj/done.txt")):
            threading.Event().wait(0.02)
        stop_requested.set()

    threading.Thread(target=stop_when_begun, daemon=True).start()
    try:
        with pytest.raises(Interrupted, match="goes on from there"):
            build_kernel(tree, kconfig, name="tree:x")
    finally:
        stop_requested.clear()
    build_kernel(tree, kconfig, name="tree:x")
    assert not list(objects.glob("*/obj/half.o"))
    assert list(objects.glob("*/obj/done.txt"))


def test_stranger_is_confined(tree: SourceTree, kconfig: str, tmp_path: Path) -> None:
    """Code that runs while building cannot write to source or host, and links it leaves are removed."""
    outside = tmp_path / "outside"
    (tree.path / "fail").write_text(
        f"touch /src/mm/evil {outside} 2>/dev/null\n"
        f"[ -e {tmp_path} ] && exit 1; [ -e /etc/passwd ] && exit 1; exit 0\n"
    )
    kernel = build_kernel(tree, kconfig, name="tree:x")
    assert not outside.exists()
    assert not (tree.path / "mm/evil").exists()
    assert not (kernel.root / "lib/modules/6.12.7/build").is_symlink()


def hostile(tmp_path: Path, script: str) -> Series:
    """A series that changes mm/memory.c, and runs a script while it builds."""
    lines = [f"+{line}\n" for line in script.splitlines()]
    path = mbox(tmp_path / "hostile.mbox", "mm/memory.c", "int memory;", "int hostile;")
    new_file = f"--- /dev/null\n+++ b/fail\n@@ -0,0 +1,{len(lines)} @@\n{''.join(lines)}"
    path.write_text(path.read_text().replace("-- \n2.39", f"{new_file}-- \n2.39"))
    return read_series(path)


def test_a_series_leaves_nothing_to_others(tree: SourceTree, kconfig: str, tmp_path: Path) -> None:
    """What it did to the objects while it built is in no other kernel, though make would take it for new."""
    evil = "echo EVIL > $O/drivers/ttm.ko; touch -d 2100-01-01 $O/drivers/ttm.ko"
    _, worse = build_steps(tree, kconfig, hostile(tmp_path, evil), name="tree:x")
    assert worse.module_file("ttm").read_text() == "EVIL\n"
    other = series(tmp_path, "mm/memory.c", "int memory;", "int other;")
    _, patched = build_steps(tree, kconfig, other, name="tree:x")
    assert patched.module_file("ttm").read_text() == "int prefault = 16;\n"
    assert compiled(patched) == ["mm/memory.o"]
    (tree.path / "mm/memory.c").write_text("int newer;\n")
    newer = build_kernel(SourceTree(tree.path, "two", "6.12.7", "it"), kconfig, name="tree:x")
    assert newer.module_file("ttm").read_text() == "int prefault = 16;\n"


def test_a_series_configures_no_other_kernel(tree: SourceTree, kconfig: str, tmp_path: Path) -> None:
    """The configuration that it shares with its base does not come from programs that it has made."""
    evil = hostile(tmp_path, "echo 'echo CONFIG_KASAN=y >> $O/.config' > $O/conf")
    build_steps(tree, kconfig, evil, name="tree:x")
    for kept in files.cache_dir("configs").iterdir():
        kept.unlink()
    for applied in (evil, None):
        kernel = build_kernel(tree, kconfig, name="tree:x", series=applied)
        assert kernel.record.debug_options == ()


def test_steps_of_a_series(tree: SourceTree, kconfig: str, tmp_path: Path) -> None:
    """Each step is built from the one before; the base is not made again for the times of what they touch."""
    first = mbox(tmp_path / "first.mbox", "drivers/ttm.c", "int prefault = 16;", "int prefault = 32;")
    second = mbox(tmp_path / "second.mbox", "mm/memory.c", "int memory;", "int more;")
    both = tmp_path / "both.mbox"
    both.write_text(first.read_text() + second.read_text())
    steps = build_steps(tree, kconfig, read_series(both), name="tree:x")
    assert [compiled(step) for step in steps[1:]] == [["drivers/ttm.o"], ["mm/memory.o"]]
    for applied, made in ((read_series(both), steps[2]), (None, steps[0])):
        with objects_of(tree, kconfig, name="tree:x", series=applied) as (key, _):
            assert key == made.root.name
        assert compiled(made) == []


def test_a_series_begins_from_its_base(tree: SourceTree, kconfig: str, tmp_path: Path) -> None:
    """Where the objects of the base are gone, or of another revision, they are brought back for this series
    and for the next."""
    base = build_kernel(tree, kconfig, name="tree:x")
    ObjectTree(tree.path, kconfig, toolchain()).discard()
    for number, made in ((1, ["drivers/ttm.o", "mm/memory.o"]), (2, [])):
        change = series(tmp_path, "drivers/ttm.c", "int prefault = 16;", f"int changed_{number};")
        base.root.with_name(f"{base.root.name}.log").write_text("")
        patched = build_kernel(tree, kconfig, name="tree:x", series=change)
        assert sorted(compiled(base)) == made
        assert compiled(patched) == ["drivers/ttm.o"]


def test_killed_with_a_series(tree: SourceTree, kconfig: str, tmp_path: Path) -> None:
    """What a killed lab left half written with a series is made again, the rest is kept."""
    change = series(tmp_path, "drivers/ttm.c", "int prefault = 16;", "int prefault = 512;")
    _, patched = build_steps(tree, kconfig, change, name="tree:x")
    with objects_of(tree, kconfig, name="tree:x", series=change) as (_, objects):
        (objects.folder / "building").touch()
        (objects.objects / "drivers/ttm.ko").write_text("half")
    with objects_of(tree, kconfig, name="tree:x", series=change):
        assert (objects.objects / "drivers/ttm.ko").read_text() == "int prefault = 512;\n"
    assert "drivers/ttm.o" in compiled(patched)


def test_debug_kernel_says_so(tree: SourceTree, tmp_path: Path) -> None:
    """A kernel with KASAN carries that in its record, so that its times are not judged."""
    path = tmp_path / "slow.config"
    path.write_text("CONFIG_A=y\nCONFIG_KASAN=y\n")
    assert build_kernel(tree, str(path), name="tree:x").record.debug_options == ("KASAN",)
