/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * /dev/page_walk of the lab's module page_walk: what the page tables of the calling process say.
 *
 * PAGE_WALK counts the entries that [start, start + length), a range of whole 4 KiB pages, meets. It
 * faults nothing in and changes nothing.
 */
#ifndef FAULTLAB_PAGE_WALK_H
#define FAULTLAB_PAGE_WALK_H

#include <linux/ioctl.h>
#include <linux/types.h>

struct page_walk {
	__u64 start, length;
	/* returned */
	__u64 none;        /* 4 KiB pages without an entry */
	__u64 pte;         /* entries of 4 KiB ... */
	__u64 pmd;         /* of 2 MiB ... */
	__u64 pud;         /* and of 1 GiB */
	__u64 special_pte; /* of those: what get_user_pages_fast() turns away from */
	__u64 special_pmd;
	__u64 special_pud;
	__u64 writable;    /* entries of any size that a write does not fault on */
	__u64 tables;      /* page tables of 512 PTEs that the range meets, filled or not */
	__u64 table;       /* the frame of the first of them; ~0: there is none */
	__u64 pfn;         /* of the first page of the range that is mapped; ~0: none is */
	__u64 references;  /* the reference count of that page; 0 if it has no struct page */
};

#define PAGE_WALK _IOWR(0xf7, 0x00, struct page_walk)

#ifndef __KERNEL__

#include "faultlab.h"

#include <fcntl.h>
#include <sys/ioctl.h>

/* A descriptor of /dev/page_walk, or -1 with a check `page-walk` that is not ok. */
static inline int page_walk_open(void)
{
	int fd = open("/dev/page_walk", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		lab_check(false, "page-walk", "/dev/page_walk: %s; the case needs `modules: [page_walk]`",
			  strerror(errno));
	return fd;
}

/* The entries of a range; ends the workload if the kernel does not tell. */
static inline struct page_walk page_walk(int fd, const void *address, size_t bytes)
{
	struct page_walk walk = { .start = (uintptr_t)address, .length = bytes };

	if (ioctl(fd, PAGE_WALK, &walk)) {
		lab_check(false, "page-walk", "PAGE_WALK: %s", strerror(errno));
		exit(lab_finish());
	}
	return walk;
}

#endif
#endif
