# SPDX-License-Identifier: GPL-2.0-or-later
"""How the kernel begins each kind of complaint: a table, one entry per form of words."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Pattern:
    """One way in which a complaint begins.

    `title` may name groups of `form`; the blamed function, looked for as `blame` says, is appended.
    """

    kind: str
    form: re.Pattern[str]  # matched at the beginning of a printk message
    words: tuple[str, ...]  # one of them is in every line that can match: a cheap first sieve
    title: str
    blame: Literal["trace", "lock", ""] = "trace"
    absorbs: frozenset[str] = frozenset()  # kinds that soon after it tell of the same fault


def _pattern(
    kind: str,
    form: str,
    words: str | tuple[str, ...],
    title: str,
    *,
    blame: Literal["trace", "lock", ""] = "trace",
    absorbs: tuple[str, ...] = (),
) -> Pattern:
    several = (words,) if isinstance(words, str) else words
    return Pattern(kind, re.compile(form), several, title, blame, frozenset(absorbs))


_FRAME = r"(?P<frame>[A-Za-z_][\w.]*)\+0x"
_OOPS = ("oops", "cut here", "KASAN")  # what the report of one oops goes on to say

CUT_HERE = _pattern("cut here", r"-+\[ cut here \]-+", "[ cut here ]", "cut here")
"""Opens a WARNING or a BUG; a complaint of its own only when the kernel got no further."""

_DEATHS = (
    _pattern(
        "panic", r"Kernel panic - not syncing: (?P<why>.*)", "Kernel panic", "kernel panic: {why}", blame=""
    ),
    _pattern("panic", r"PANIC: double fault", "PANIC: double fault", "PANIC: double fault", absorbs=_OOPS),
    _pattern(
        "oops",
        r"BUG: (?:unable to handle )?kernel NULL pointer dereference",
        "NULL pointer",
        "BUG: kernel NULL pointer dereference",
        absorbs=_OOPS,
    ),
    _pattern(
        "oops",
        r"(?:BUG: unable to handle (?:kernel paging request|page fault)|Unable to handle kernel )",
        "nable to handle",
        "BUG: unable to handle page fault",
        absorbs=_OOPS,
    ),
    _pattern(
        "oops", r"kernel BUG at (?P<file>[^:]*)", "kernel BUG at", "kernel BUG at {file}", absorbs=_OOPS
    ),
    _pattern(
        "oops",
        r"(?:Oops: )?(?P<what>general protection fault|divide error|stack segment|double fault|int3"
        r"|invalid opcode|segment not present|invalid TSS|alignment check)[,:]",
        (
            "general prot",
            "divide err",
            "stack seg",
            "double fault",
            "int3",
            "opcode",
            "not present",
            "TSS",
            "check",
        ),
        "{what}",
        absorbs=_OOPS,
    ),
    _pattern("oops", r"(?:Internal error: )?Oops(?: - [A-Za-z ]+)?:", "Oops", "Oops", absorbs=_OOPS),
    _pattern("oops", r"Bad pagetable: ", "Bad pagetable", "Bad pagetable", absorbs=_OOPS),
)

_LOCKUPS = (
    _pattern("soft lockup", r"(?:watchdog: )?BUG: soft lockup", "soft lockup", "BUG: soft lockup"),
    _pattern("hard lockup", r"(?:NMI )?[Ww]atchdog: .{0,40}hard LOCKUP", "hard LOCKUP", "hard lockup"),
    _pattern(
        "RCU stall",
        r"(?:rcu: )?INFO: \w+ (?:self-)?detected (?:expedited )?stalls?",
        "detected",
        "INFO: rcu detected stall",
    ),
    _pattern(
        "hung task",
        r"INFO: task .{1,40} blocked (?:in I/O wait )?for more than",
        "INFO: task",
        "INFO: task hung",
    ),
)

_SANITIZERS = (
    # Whether KASAN saw a read or a write is on a later line: splats.py looks for it.
    _pattern(
        "KASAN",
        rf"BUG: KASAN: (?P<what>[\w-]+(?: or [\w-]+)?) (?:in|on address)(?: {_FRAME})?",
        "KASAN: ",
        "KASAN: {what}",
    ),
    _pattern("KASAN", r"KASAN: (?P<what>[\w-]+) in range", "KASAN: ", "KASAN: {what}"),
    _pattern("KCSAN", r"BUG: KCSAN: (?P<what>.*)", "KCSAN: ", "KCSAN: {what}", blame=""),
    _pattern("KFENCE", rf"BUG: KFENCE: (?P<what>[\w -]+?) in {_FRAME}", "KFENCE: ", "KFENCE: {what}"),
    _pattern("KMSAN", rf"BUG: KMSAN: (?P<what>[\w -]+?) in {_FRAME}", "KMSAN: ", "KMSAN: {what}"),
    _pattern("UBSAN", r"UBSAN: (?P<what>[\w-]+) in ", "UBSAN: ", "UBSAN: {what}"),
    _pattern("kmemleak", r"kmemleak: \d+ new suspected memory leaks", "kmemleak: ", "memory leak", blame=""),
)

_LOCKDEP = (
    _pattern(
        "lockdep",
        r"WARNING: (?P<what>possible .*(?:locking|lock inversion|dependency) .*detected"
        r"|inconsistent lock state|lock held when returning to user space|held lock freed"
        r"|\S+ lock order detected)",
        "WARNING: ",
        "{what}",
        blame="lock",
    ),
    _pattern(
        "lockdep",
        r"WARNING: (?P<what>suspicious RCU usage|bad unlock balance detected|bad contention detected)",
        "WARNING: ",
        "{what}",
    ),
    _pattern("lockdep", r"\[ BUG: (?P<what>[\w ]+)!? \]", "[ BUG: ", "{what}"),
    _pattern("lockdep", r"INFO: (?P<what>trying to register non-static key)", "non-static key", "{what}"),
    _pattern("lockdep", r"BUG: (?P<what>MAX_LOCK\w+(?: \w+)? too low)", "BUG: MAX_LOCK", "{what}", blame=""),
)

_MEMORY = (
    _pattern(
        "list corruption",
        r"(?P<what>list_(?:add|del)(?: double add| corruption))",
        ("list_add", "list_del"),
        "{what}",
        absorbs=("cut here", "WARNING", "oops"),
    ),
    _pattern("WARNING", r"(?P<what>refcount_t: [^.]*)", "refcount_t: ", "{what}", absorbs=("WARNING",)),
    _pattern(
        "bad page",
        r"BUG: (?P<what>Bad (?:page \w+|rss-counter state)|non-zero pgtables_bytes)",
        "BUG: ",
        "BUG: {what}",
        blame="",
    ),
    _pattern("bad page", r"\S{1,80}:\d+: (?P<what>bad p[gmu4]d)\b", ": bad p", "{what}", blame=""),
    _pattern(
        "bad page",
        r".{1,20}: Corrupted page table at address",
        "Corrupted page table",
        "corrupted page table",
        blame="",
        absorbs=("oops",),
    ),
    # Page tables in which something else was written. A kind of its own: the flood must not hide a bad page.
    _pattern(
        "bad swap entry",
        r"(?:\w{1,40}: )?(?P<what>(?:Bad|Unused) swap (?:file|offset) entry) [0-9a-f]",
        " swap ",
        "{what}",
        blame="",
    ),
    _pattern(
        "OOM", r"(?P<who>.{1,20}) invoked oom-killer:", "oom-killer", "{who} invoked oom-killer", blame=""
    ),
    _pattern(
        "BUG", r"BUG (?P<cache>[\w.-]+) \([^)]*\): (?P<what>.*)", "BUG ", "BUG {cache}: {what}", blame=""
    ),
)

_GENERAL = (
    _pattern(
        "WARNING",
        rf"WARNING: (?:CPU: \d+ PID: \d+ )?(?:at )?[^ ]+:\d+ (?:at )?{_FRAME}",
        "WARNING: ",
        "WARNING",
    ),
    _pattern(
        "WARNING", r"WARNING: (?:CPU: \d+ PID: \d+ )?at (?P<file>[^ :]+)", "WARNING: ", "WARNING at {file}"
    ),
    _pattern("WARNING", r"WARNING: (?P<what>.*)", "WARNING: ", "WARNING: {what}", blame=""),
    _pattern("BUG", r"BUG: (?P<what>[^,:]*)", "BUG: ", "BUG: {what}"),
)

PATTERNS = (CUT_HERE, *_DEATHS, *_LOCKUPS, *_SANITIZERS, *_LOCKDEP, *_MEMORY, *_GENERAL)
"""The first form that matches counts, hence the general ones last."""

KNOWN: tuple[tuple[str, str], ...] = ()
"""(pattern of a title, why it is harmless): what stock kernels complain about in a healthy guest.

Empty on evidence: Debian's 6.1 says nothing of the kind under TCG, on pc and q35, with qxl, bochs or
virtio-gpu, with and without -icount.
"""
