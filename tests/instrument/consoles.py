# SPDX-License-Identifier: GPL-2.0-or-later
"""What kernels print when they complain, shortened; each with the kind and title that it must get."""

# ruff: noqa: E501 - lines as long as kernels print them

from __future__ import annotations

TRACE = """\
[    5.100010] Call Trace:
[    5.100011]  <TASK>
[    5.100012]  ? __warn+0x7d/0xc0
[    5.100013]  dump_stack_lvl+0x44/0x5c
[    5.100014]  ttm_bo_vm_fault_reserved+0x1c2/0x340 [ttm]
[    5.100015]  qxl_ttm_fault+0x22/0x30 [qxl]
[    5.100016]  entry_SYSCALL_64_after_hwframe+0x6e/0xd8
[    5.100017] RIP: 0033:0x7f2d5a1b2c3d
[    5.100018]  </TASK>
[    5.100019] ---[ end trace 0000000000000000 ]---
"""

RIP = "[    5.100008] RIP: 0010:ttm_resource_free+0x2b/0x80 [ttm]\n"

SAMPLES: dict[str, tuple[str, str, str]] = {
    "panic": (
        "[    5.000000] Kernel panic - not syncing: Attempted to kill init! exitcode=0x0000000b\n"
        "[    5.000001] CPU: 0 PID: 1 Comm: init Not tainted 6.1.0-56-amd64 #1\n"
        "[    5.000002] ---[ end Kernel panic - not syncing: Attempted to kill init! exitcode=0x0000000b ]---\n",
        "panic",
        "kernel panic: Attempted to kill init! exitcode=0x0000000b",
    ),
    "NULL pointer": (
        "[    5.000000] BUG: kernel NULL pointer dereference, address: 0000000000000008\n"
        "[    5.000001] #PF: supervisor read access in kernel mode\n"
        "[    5.000002] #PF: error_code(0x0000) - not-present page\n"
        "[    5.000003] PGD 0 P4D 0\n"
        "[    5.000004] Oops: 0000 [#1] PREEMPT SMP NOPTI\n" + RIP + TRACE,
        "oops",
        "BUG: kernel NULL pointer dereference in ttm_resource_free",
    ),
    "page fault": (
        "[    5.000000] BUG: unable to handle page fault for address: ffffa1b2c3d4e5f6\n"
        "[    5.000004] Oops: 0002 [#1] SMP\n" + RIP + TRACE,
        "oops",
        "BUG: unable to handle page fault in ttm_resource_free",
    ),
    "general protection": (
        "[    5.000000] general protection fault, probably for non-canonical address 0xdead000000000108: 0000 [#1]\n"
        + "[    5.000001] KASAN: maybe wild-memory-access in range [0xdead000000000108-0xdead00000000010f]\n"
        + RIP
        + TRACE,
        "oops",
        "general protection fault in ttm_resource_free",
    ),
    "general protection, 6.12": (
        "[    5.000000] Oops: general protection fault, probably for non-canonical address 0xdead0: 0000 [#1] SMP\n"
        "[    5.000001] KASAN: null-ptr-deref in range [0x0000000000000008-0x000000000000000f]\n"
        + RIP
        + TRACE,
        "oops",
        "general protection fault in ttm_resource_free",
    ),
    "kernel BUG": (
        "[    5.000000] ------------[ cut here ]------------\n"
        "[    5.000001] kernel BUG at drivers/gpu/drm/ttm/ttm_bo.c:218!\n"
        "[    5.000002] invalid opcode: 0000 [#1] PREEMPT SMP NOPTI\n" + RIP + TRACE,
        "oops",
        "kernel BUG at drivers/gpu/drm/ttm/ttm_bo.c in ttm_resource_free",
    ),
    "divide error": (
        "[    5.000000] divide error: 0000 [#1] SMP\n" + RIP,
        "oops",
        "divide error in ttm_resource_free",
    ),
    "oops alone": (
        "[    5.000004] Oops: 0002 [#1] SMP\n" + RIP,
        "oops",
        "Oops in ttm_resource_free",
    ),
    "WARNING": (
        "[    5.000000] ------------[ cut here ]------------\n"
        "[    5.000001] WARNING: CPU: 0 PID: 112 at drivers/gpu/drm/ttm/ttm_bo.c:326 ttm_bo_release+0x2b2/0x2c0 [ttm]\n"
        + TRACE,
        "WARNING",
        "WARNING in ttm_bo_release",
    ),
    "WARNING, 6.18": (
        "[    5.000000] ------------[ cut here ]------------\n"
        "[    5.000001] WARNING: drivers/gpu/drm/ttm/ttm_bo.c:326 at ttm_bo_release+0x2b2/0x2c0 [ttm], CPU#0: init/1\n"
        + TRACE,
        "WARNING",
        "WARNING in ttm_bo_release",
    ),
    "cut short": (
        "[    5.000000] ------------[ cut here ]------------\n[    5.000001] pin_count is -1\n",
        "WARNING",
        "cut here: pin_count is -1",
    ),
    "refcount": (
        "[    5.000000] ------------[ cut here ]------------\n"
        "[    5.000001] refcount_t: underflow; use-after-free.\n"
        "[    5.000002] WARNING: CPU: 1 PID: 9 at lib/refcount.c:28 refcount_warn_saturate+0xba/0x110\n"
        "[    5.000003] RIP: 0010:refcount_warn_saturate+0xba/0x110\n" + TRACE,
        "WARNING",
        "refcount_t: underflow; use-after-free in ttm_bo_vm_fault_reserved",
    ),
    "KASAN": (
        "[    5.000000] ==================================================================\n"
        "[    5.000001] BUG: KASAN: slab-use-after-free in ttm_resource_free+0x7c/0x90 [ttm]\n"
        "[    5.000002] Read of size 8 at addr ffff88800a1b2c3d by task bo_touch/77\n" + TRACE,
        "KASAN",
        "KASAN: slab-use-after-free Read in ttm_resource_free",
    ),
    "KCSAN": (
        "[    5.000001] BUG: KCSAN: data-race in ttm_bo_move / ttm_bo_swapout\n" + TRACE,
        "KCSAN",
        "KCSAN: data-race in ttm_bo_move / ttm_bo_swapout",
    ),
    "KFENCE": (
        "[    5.000001] BUG: KFENCE: use-after-free read in ttm_tt_fini+0x1a/0x60\n" + TRACE,
        "KFENCE",
        "KFENCE: use-after-free read in ttm_tt_fini",
    ),
    "UBSAN": (
        "[    5.000001] UBSAN: array-index-out-of-bounds in drivers/gpu/drm/ttm/ttm_pool.c:123:7\n"
        "[    5.000002] index 11 is out of range for type 'ttm_pool_type [10]'\n"
        "[    5.100010] Call Trace:\n"
        "[    5.100012]  __ubsan_handle_out_of_bounds+0x69/0x80\n"
        "[    5.100013]  ttm_pool_alloc+0x123/0x400 [ttm]\n",
        "UBSAN",
        "UBSAN: array-index-out-of-bounds in ttm_pool_alloc",
    ),
    "lockdep": (
        "[    5.000000] ======================================================\n"
        "[    5.000001] WARNING: possible circular locking dependency detected\n"
        "[    5.000002] 6.12.0 #1 Not tainted\n"
        "[    5.000003] ------------------------------------------------------\n"
        "[    5.000004] bo_touch/77 is trying to acquire lock:\n"
        "[    5.000005] ffff888001234567 (reservation_ww_class_mutex){+.+.}-{3:3}, at: ttm_bo_vm_reserve+0x22/0x80\n"
        + TRACE,
        "lockdep",
        "possible circular locking dependency detected in ttm_bo_vm_reserve",
    ),
    "wait context": (
        "[    5.000001] [ BUG: Invalid wait context ]\n" + TRACE,
        "lockdep",
        "Invalid wait context in ttm_bo_vm_fault_reserved",
    ),
    "RCU usage": (
        "[    5.000001] WARNING: suspicious RCU usage\n"
        "[    5.000002]  #0: ffff888001234567 (&x){+.+.}-{3:3}, at: other_function+0x22/0x80\n" + TRACE,
        "lockdep",
        "suspicious RCU usage in ttm_bo_vm_fault_reserved",
    ),
    "RCU stall": (
        "[   26.000001] rcu: INFO: rcu_preempt self-detected stall on CPU\n"
        "[   26.000002] rcu: \t0-....: (5249 ticks this GP) idle=1234/1/0x4000000000000000\n" + RIP,
        "RCU stall",
        "INFO: rcu detected stall in ttm_resource_free",
    ),
    "soft lockup": (
        "[   26.000001] watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [bo_touch:77]\n"
        "[   26.000002] RIP: 0010:native_queued_spin_lock_slowpath+0x1b/0x80\n" + TRACE,
        "soft lockup",
        "BUG: soft lockup in ttm_bo_vm_fault_reserved",
    ),
    "hard lockup": (
        "[   26.000001] NMI watchdog: Watchdog detected hard LOCKUP on cpu 0\n" + RIP,
        "hard lockup",
        "hard lockup in ttm_resource_free",
    ),
    "hung task": (
        "[  242.000001] INFO: task bo_touch:77 blocked for more than 120 seconds.\n"
        "[  242.000002] task:bo_touch  state:D stack:0  pid:77\n"
        "[  242.000003] Call Trace:\n"
        "[  242.000004]  __schedule+0x34d/0x9e0\n"
        "[  242.000005]  schedule+0x5a/0xd0\n"
        "[  242.000006]  dma_fence_default_wait+0x1a/0x240\n",
        "hung task",
        "INFO: task hung in dma_fence_default_wait",
    ),
    "bad page state": (
        "[    5.000001] BUG: Bad page state in process bo_touch  pfn:1a2b3\n" + TRACE,
        "bad page",
        "BUG: Bad page state",
    ),
    "bad page map": (
        "[    5.000001] BUG: Bad page map in process bo_touch  pte:80000000fd000225 pmd:01a2b067\n" + TRACE,
        "bad page",
        "BUG: Bad page map",
    ),
    "bad pmd": (
        "[    5.000001] mm/pgtable-generic.c:50: bad pmd ffff888001234567(80000000fd0008e7)\n",
        "bad page",
        "bad pmd",
    ),
    "bad pagetable": (
        "[    5.000001] bo_touch: Corrupted page table at address 7f1234567000\n"
        "[    5.000002] PGD 8000000001a2b067 P4D 1a2b067 PUD 1a2c067 PMD fd0008e7\n"
        "[    5.000003] Bad pagetable: 000d [#1] SMP\n",
        "oops",
        "corrupted page table",
    ),
    "bad swap entry": (
        "[    5.000001] get_swap_device: Bad swap file entry 5402aaaaaaaaaaaa\n"
        "[    5.000002] get_swap_device: Bad swap file entry 5402aaaaaaaaaaaa\n",
        "bad swap entry",
        "Bad swap file entry",
    ),
    "unused swap entry": (
        "[    5.000001] _swap_info_get: Unused swap offset entry 0002aaaa\n",
        "bad swap entry",
        "Unused swap offset entry",
    ),
    "list corruption": (
        "[    5.000000] list_del corruption. prev->next should be ffff888001234567, but was dead000000000122\n"
        "[    5.000001] ------------[ cut here ]------------\n"
        "[    5.000002] kernel BUG at lib/list_debug.c:62!\n"
        "[    5.000003] invalid opcode: 0000 [#1] PREEMPT SMP\n"
        "[    5.000004] RIP: 0010:__list_del_entry_valid_or_report+0x91/0xb0\n" + TRACE,
        "oops",
        "list_del corruption in ttm_bo_vm_fault_reserved",
    ),
    "OOM": (
        "[    5.000001] bo_touch invoked oom-killer: gfp_mask=0x100dca(GFP_HIGHUSER_MOVABLE), order=0\n"
        "[    5.000009] Out of memory: Killed process 77 (bo_touch) total-vm:1234kB\n",
        "OOM",
        "bo_touch invoked oom-killer",
    ),
    "atomic sleep": (
        "[    5.000001] BUG: sleeping function called from invalid context at kernel/locking/mutex.c:580\n"
        + TRACE,
        "BUG",
        "BUG: sleeping function called from invalid context at kernel/locking/mutex.c in ttm_bo_vm_fault_reserved",
    ),
    "slub": (
        "[    5.000001] BUG kmalloc-64 (Tainted: G    B   W  O     ): Poison overwritten\n",
        "BUG",
        "BUG kmalloc-64: Poison overwritten",
    ),
    "kmemleak": (
        "[   99.000001] kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)\n",
        "kmemleak",
        "memory leak",
    ),
    "another WARNING": (
        "[    1.000001] WARNING: stack recursion on stack type 4\n",
        "WARNING",
        "WARNING: stack recursion on stack type 4",
    ),
}

HEALTHY = """\
SeaBIOS (version 1.16.2-debian-1.16.2-1)
[    0.000000] Linux version 6.1.0-56-amd64 (debian-kernel@lists.debian.org) #1 SMP PREEMPT_DYNAMIC
[    0.000000] tsc: Fast TSC calibration failed
[    0.599526] PCI: Using host bridge windows from ACPI; if necessary, use "pci=nocrs" and report a bug
[    0.625067] acpi PNP0A03:00: fail to add MMCONFIG information, can't access extended PCI configuration space
[    1.130946] AMD-Vi: AMD IOMMUv2 functionality not available on this system - This is not a bug.
[    1.200000] ttm: loading out-of-tree module taints kernel.
[    1.200001] ttm: module verification failed: signature and/or required key missing - tainting kernel
[    1.300000] traps: bo_touch[77] general protection fault ip:401234 sp:7ffc00000000 error:0 in bo_touch
[    1.300001] bo_touch[78]: segfault at 8 ip 0000000000401234 sp 00007ffc12345678 error 4 in bo_touch
[    1.400000] lockdep: fixing up alternatives.
LAB-READY 0123456789abcdef 1.41
BUG: kernel NULL pointer dereference, address: 0000000000000008
Kernel panic - not syncing: said the workload
[    2.064628] reboot: Power down
"""
