# SPDX-License-Identifier: GPL-2.0-or-later
"""Which function a kernel complaint is about: the first on the stack that is not mere plumbing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

_FUNCTION = r"([A-Za-z_][\w.]*)\+0x[0-9a-f]+/0x[0-9a-f]+"
_AT_FAULT = re.compile(rf"(?:RIP: 0010:|pc : ){_FUNCTION}")
_ON_STACK = re.compile(rf"(?:\[<[0-9a-f]+>\] )?{_FUNCTION}")  # "? func" is a guess of the unwinder: not taken
_LOCK_TAKEN = re.compile(rf".{{0,300}} at: {_FUNCTION}")
_COMPILERS_SUFFIX = re.compile(r"\.(?:isra|constprop|part|cold|llvm)\b.*")

_PLUMBING = re.compile(
    r"""(?x)
    _*(?:
      # reporting
      dump_stack\w* | show_stack\w* | panic | nmi_panic | check_panic_on_warn | print_\w+ | end_report
    | warn | warn_printk | report_bug | handle_bug | fixup_bug | kasan_\w+ | asan_\w+ | kcsan_\w+ | tsan_\w+
    | kfence_\w+ | ubsan_\w+ | kmsan_\w+ | msan_\w+ | refcount_warn_saturate | list_(?:add|del)\w*
      # faults and interrupts
    | oops_\w+ | die\w* | page_fault_oops | no_context | bad_area\w* | do_user_addr_fault | do_kern_addr_fault
    | do_error_trap | do_trap | exc_\w+ | asm_\w+ | sysvec_\w+ | irq_exit\w* | spurious_\w+ | watchdog\w*
    | hrtimer\w* | tick_\w+ | update_process_times
      # string and user copies
    | memcpy\w* | memmove\w* | memset\w* | strlen | strnlen | strcmp | copy_(?:from|to)_user\w*
      # waiting and locking
    | schedule\w* | preempt_schedule\w* | io_schedule\w* | cond_resched | context_switch | might_\w+
    | mutex_\w+ | ww_mutex_\w+ | rwsem_\w+ | down_\w+ | up_\w+ | raw_\w*(?:lock|irq)\w* | pv_queued_\w+
    | native_queued_\w+ | queued_spin_\w+ | spin_\w+ | do_raw_\w+ | wait_for_(?:completion|common)\w*
    | rcu_\w+ | smp_call_function\w* | native_safe_halt | default_idle\w*
      # lockdep
    | lockdep_\w+ | lock_(?:acquire|release)\w* | mark_\w*lock\w* | register_lock_class | validate_chain
    | valid_state | check_\w*(?:lock|circular|deadlock|irq|prev)\w*
    )$"""
)


def blamed(named: str | None, messages: Iterable[str], *, lock: bool = False) -> str | None:
    """The function to name in a title.

    `named` is what the complaint itself names, `messages` what printk said after it; with `lock`, the place
    that takes the lock goes before the stack. None if there is no function at all.
    """
    found = list(_functions(named, list(messages), lock=lock))
    return next((name for name in found if not _PLUMBING.match(name)), found[0] if found else None)


def _functions(named: str | None, messages: list[str], *, lock: bool) -> Iterator[str]:
    if named:
        yield _COMPILERS_SUFFIX.sub("", named)
    for form in (_LOCK_TAKEN, _AT_FAULT, _ON_STACK) if lock else (_AT_FAULT, _ON_STACK):
        for message in messages:
            if match := form.match(message):
                yield _COMPILERS_SUFFIX.sub("", match[1])
