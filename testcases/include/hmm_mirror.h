/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * /dev/hmm_mirror: a mirror of a range of the caller's address space, as a GPU driver keeps one for its
 * userptr BOs, with everything that happens to it counted.
 *
 * One mirror per open file: ATTACH it to a range, FAULT its entries in, look at COUNTERS; COMPARE tells how
 * many entries are no longer what the page tables say. Closing the file detaches it. The mirror holds no
 * reference to any page: it obeys the MMU notifier and nothing else keeps it right.
 */
#ifndef HMM_MIRROR_H
#define HMM_MIRROR_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* What the mirror needs of a page. */
#define HMM_MIRROR_READ 0
#define HMM_MIRROR_WRITE 1 /* pages are faulted in for writing */
#define HMM_MIRROR_PRESENT 2 /* takes what is there, makes no page present */
/*
 * A mirror that only reads keeps its entries when mprotect() leaves the range readable: the rule of "optimize
 * out the case when a range is updated to read only".
 */
#define HMM_MIRROR_KEEP 8
/* Planted defect: the notifier is called and counted, and the mirror keeps its entries all the same. */
#define HMM_MIRROR_DEAF 4

struct hmm_mirror_attach {
	__u64 start, length; /* bytes, whole pages, at most 1 GiB */
	__u32 flags;         /* HMM_MIRROR_* */
	__u32 pad;           /* 0 */
};

/* Why the notifier was called: the order of enum mmu_notifier_event, unchanged from 5.10 to 7.3. */
enum hmm_mirror_event {
	HMM_MIRROR_UNMAP, /* munmap, mremap */
	HMM_MIRROR_CLEAR, /* entries go: reclaim, MADV_DONTNEED, migration */
	HMM_MIRROR_PROTECTION_VMA,  /* mprotect */
	HMM_MIRROR_PROTECTION_PAGE, /* write protection of pages: fork, KSM */
	HMM_MIRROR_SOFT_DIRTY,
	HMM_MIRROR_RELEASE,
	HMM_MIRROR_MIGRATE, /* to device memory */
	HMM_MIRROR_EXCLUSIVE,
	HMM_MIRROR_EVENTS,
};

struct hmm_mirror_counters {
	__u64 present;     /* entries now */
	__u64 faulted;     /* entries made by FAULT so far */
	__u64 callbacks;   /* calls of the notifier so far */
	__u64 invalidated; /* entries that they took away */
	__u64 events[HMM_MIRROR_EVENTS]; /* calls by reason */
};

struct hmm_mirror_compare {
	__u64 same;  /* entries whose page is the one in the page tables */
	__u64 stale; /* entries whose page is another one, or whose access the page tables do not allow */
};

/* FAULT returns how many entries it made; EFAULT where the address space does not allow the access. */
#define HMM_MIRROR_IOC_ATTACH _IOW('m', 0x40, struct hmm_mirror_attach)
#define HMM_MIRROR_IOC_FAULT _IO('m', 0x41)
#define HMM_MIRROR_IOC_COUNTERS _IOR('m', 0x42, struct hmm_mirror_counters)
#define HMM_MIRROR_IOC_COMPARE _IOR('m', 0x43, struct hmm_mirror_compare)

#endif
