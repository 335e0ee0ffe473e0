# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import re
import time

import pytest
from consoles import HEALTHY, SAMPLES, TRACE
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.instrument.patterns import PATTERNS
from lab.instrument.splats import MAX_EXCERPT, fatal, scan


@pytest.mark.parametrize(("console", "kind", "title"), SAMPLES.values(), ids=SAMPLES)
def test_each_complaint_is_one_splat(console, kind, title):
    """A complaint is found once, with its kind, its title and the line where it begins."""
    (splat,) = scan(HEALTHY + console + HEALTHY)
    assert (splat.kind, splat.title) == (kind, title)
    first = HEALTHY.count("\n") + 1
    assert splat.line in (first, first + 1)  # a ruler may come first
    assert console.splitlines()[0] in splat.excerpt


def test_a_healthy_boot_has_none():
    """Noise that reads like a complaint is none: no printk time, a program's own fault, taint of a module."""
    assert scan(HEALTHY) == ()
    assert scan("") == ()


@pytest.mark.parametrize(("console", "kind", "title"), SAMPLES.values(), ids=SAMPLES)
def test_without_timestamps_nothing_is_the_kernels(console, kind, title):
    """The same words from a program are not the kernel's."""
    assert scan(re.sub(r"^\[ *[0-9.]+\] ", "", console, flags=re.MULTILINE)) == ()


@pytest.mark.parametrize(("console", "kind", "title"), SAMPLES.values(), ids=SAMPLES)
def test_dressed_up_lines_are_recognised(console, kind, title):
    """Carriage returns, colours, the caller's id and half a line of a program do not hide a complaint."""
    dressed = re.sub(
        r"^(\[ *[0-9.]+\]) ", "\x1b[32m\\1[    T77] \x1b[0m\x1b[1;31m", console, flags=re.MULTILINE
    )
    dressed = "touching..." + dressed.replace("\n", "\r\n")
    assert [(splat.kind, splat.title) for splat in scan(dressed)] == [(kind, title)]


def test_same_titles_come_once_with_their_number():
    """A complaint that is repeated is one, and the excerpt of the first says how often."""
    console = SAMPLES["WARNING"][0]
    (splat,) = scan(console * 7 + HEALTHY)
    assert splat.line == 1
    assert splat.excerpt.endswith("(seen 7 times)")
    (once,) = scan(console)
    assert "seen" not in once.excerpt


def test_a_flood_of_bad_swap_entries_is_one_complaint():
    """Corrupted page tables give a line for each fault: one title, hiding no bad page behind it."""
    flood = "".join(f"[    1.000000] get_swap_device: Bad swap file entry {n:08x}\n" for n in range(50_000))
    swap, page = scan(flood + SAMPLES["bad page state"][0])
    assert swap.title == "Bad swap file entry"
    assert "seen" in swap.excerpt
    assert page.title == "BUG: Bad page state"


def test_different_complaints_come_in_order():
    """One after the other, each is its own; only the death is fatal."""
    console = "".join(SAMPLES[name][0] for name in ("WARNING", "lockdep", "NULL pointer", "panic"))
    splats = scan(console)
    assert [splat.kind for splat in splats] == ["WARNING", "lockdep", "oops", "panic"]
    assert [splat.line for splat in splats] == sorted(splat.line for splat in splats)
    assert fatal(splats) == splats[2]
    assert fatal(splats[:2]) is None


@pytest.mark.parametrize(("console", "kind", "title"), SAMPLES.values(), ids=SAMPLES)
def test_fatal_is_what_kills(console, kind, title):
    """A panic or an oops is a death, whatever title it has; a warning is not."""
    assert (fatal(scan(console)) is not None) is (kind in ("panic", "oops"))


def test_known_complaints_are_left_out():
    """A title on the list is no splat; the others still are."""
    console = SAMPLES["WARNING"][0] + SAMPLES["panic"][0]
    assert [splat.kind for splat in scan(console, known=((r"^WARNING in ttm_bo_release$", "a reason"),))] == [
        "panic"
    ]


def test_excerpt_ends_with_the_trace():
    """The excerpt has what stands before, the complaint and its trace, and no more."""
    (splat,) = scan(HEALTHY + SAMPLES["WARNING"][0] + "[    9.000000] unrelated\n" * 50)
    assert splat.excerpt.endswith(TRACE.splitlines()[-1])
    assert "reboot: Power down" in splat.excerpt
    assert len(splat.excerpt) <= MAX_EXCERPT


def test_a_flood_of_warnings_cannot_hide_the_panic():
    """The number of titles is bounded for each kind."""
    flood = "".join(f"[    1.000000] WARNING: CPU: 0 PID: 1 at a/b.c:1 f{n}+0x1/0x2\n" for n in range(5000))
    splats = scan(flood + SAMPLES["panic"][0])
    assert [splat.kind for splat in splats].count("WARNING") == 50
    assert splats[-1].kind == "panic"


@pytest.mark.parametrize(
    "piece",
    [
        HEALTHY,
        "[    1.000000] WARNING: " + "x:1 " * 100 + "\n",
        "[    1.000000] BUG: " + "KASAN: a or " * 50 + "\n",
        "[    1.000000] INFO: task " + "blocked " * 60 + "\n",
        "[    1.000000] WARNING: possible " + "locking " * 60 + "\n",
        "[    1.000000] ------------[ cut here ]------------\n",
        "[" * 500,
        "[ " * 250,
        "\x1b[" * 200,
        "-" * 500 + "\n",
    ],
)
def test_work_is_linear(piece):
    """No console takes long: 4 MiB of the worst lines in a few seconds, hence 64 MiB in bounded time."""
    started = time.thread_time()
    scan((piece * ((4 << 20) // len(piece) + 1))[: 4 << 20])
    assert time.thread_time() - started < 6


def test_the_sieve_lets_every_pattern_through():
    """Each pattern's own words are in the lines that it is for: no sample is found by luck."""
    found = {
        pattern for pattern in PATTERNS for console, _, _ in SAMPLES.values() if _matches(pattern, console)
    }
    assert len(found) >= len(PATTERNS) - 7


def _matches(pattern, console: str) -> bool:
    messages = [line.partition("] ")[2].strip() for line in console.splitlines()]
    hits = [message for message in messages if pattern.form.match(message)]
    for message in hits:
        assert any(word in message for word in pattern.words), (pattern.title, message)
    return bool(hits)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.sampled_from([line for console, _, _ in SAMPLES.values() for line in console.splitlines()])
        | st.text(max_size=40).map("[    1.000000] BUG: ".__add__)
        | st.text(max_size=40),
        max_size=30,
    )
)
def test_any_console_is_scanned_without_an_exception(lines):
    """Lines in any order give splats with bounded, printable titles on existing lines."""
    for splat in scan("\n".join(lines)):
        assert 0 < len(splat.title) <= 200
        assert "\n" not in splat.title
        assert 1 <= splat.line <= "\n".join(lines).count("\n") + 1
