# SPDX-License-Identifier: GPL-2.0-or-later
"""How far a build is, and what its log says."""

from __future__ import annotations

import pytest

from lab.kernel.buildlog import bad_compiler, first_error
from lab.kernel.progress import Learned, Memory, Progress


class Watch:
    """A clock that is set by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_counts_steps_across_pieces() -> None:
    """Steps are counted wherever the output is cut; other lines are none."""
    told: list[str] = []
    progress = Progress(told.append, None)
    for piece in (b"make: Entering\n  CC      a.o\n  C", b"C [M]  b.o\n  HOSTCC  x\nwarning: 1\n", b"  LD"):
        progress.feed(piece)
    assert progress.steps == 3
    assert told == ["1 objects", "3 objects"]


def test_time_left() -> None:
    """First by what the earlier build took, then by the pace of this one."""
    clock = Watch()
    progress = Progress(lambda _: None, Learned(steps=100, seconds=1000), clock=clock)
    assert progress.text() == "0 of 100 objects, 17 min left"
    clock.now = 10
    progress.feed(b"  CC  x.o\n" * 50)
    assert progress.text() == "50 of 100 objects, 10 s left"


def test_a_small_build_has_no_pace() -> None:
    """Its first seconds go by in reading Makefiles: what the earlier build took in all is what counts."""
    clock, told = Watch(), list[str]()
    progress = Progress(told.append, Learned(steps=8, seconds=10), clock=clock)
    for now in (7, 12):
        clock.now = now
        progress.feed(b"  CC  x.o\n")
    assert told == [f"{done} of 8 objects, {left} s left" for done, left in ((0, 10), (1, 3), (2, 0))]


def test_goes_on_after_an_interruption() -> None:
    """Steps before the interruption count as done, not as this build's pace."""
    clock = Watch()
    progress = Progress(lambda _: None, Learned(steps=100, seconds=1000), done_before=60, clock=clock)
    clock.now = 20
    progress.feed(b"  CC  x.o\n" * 20)
    assert progress.text() == "80 of 100 objects, 20 s left"


def test_more_than_expected() -> None:
    """A build that turns out larger than the earlier one promises nothing."""
    progress = Progress(lambda _: None, Learned(steps=1, seconds=1))
    progress.feed(b"  CC  x.o\n" * 2)
    assert progress.text() == "2 objects"


def test_memory() -> None:
    """What one configuration took is not told for another."""
    Memory("lean 6.12").keep(Learned(steps=7, seconds=2.5))
    assert Memory("lean 6.12").recall() == Learned(steps=7, seconds=2.5)
    assert Memory("lean 6.1").recall() is None


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("  CC x\n/src/a/b.c:3:5: error: no\nmake: *** [x] Error 1\n", "a/b.c:3:5: error: no"),
        (
            "/src/a.c:1:10: fatal error: x.h: No such file or directory\n",
            "a.c:1:10: fatal error: x.h: No such file",
        ),
        ('make: *** x\nERROR: modpost: "f" [a.ko] undefined!\n', 'ERROR: modpost: "f" [a.ko] undefined!'),
        ("drivers/x/Kconfig:12: syntax error\n", "drivers/x/Kconfig:12: syntax error"),
        ("vmlinux.o: in function `f':\nld: x.o: undefined reference to `g'\n", "undefined reference to `g'"),
        ("/bin/sh: 1: flex: not found\nmake[1]: *** [x] Error 127\n", "flex: not found"),
        ("make[2]: *** No rule to make target 'x'.  Stop.\n", "No rule to make target"),
        ("", "without naming an error"),
    ],
)
def test_first_error(text: str, error: str) -> None:
    """The line that tells most is taken, with paths as the developer knows them."""
    assert error in first_error(text, {"/src/": ""})


def test_whose_fault() -> None:
    """A compiler that does not fit is told from errors of the source."""
    old = "***\n*** C compiler is too old.\n***   Your GCC version:    4.9.2\n"
    assert bad_compiler(old) == "C compiler is too old."
    assert "GLIBC_2.38" in bad_compiler(
        "objtool: /lib/libc.so.6: version `GLIBC_2.38' not found (required by x)"
    )
    assert not bad_compiler("x.c:1:1: error: the compiler is too clever")
