/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A BO mapped at an exact distance from a multiple of 2 MiB, and what the page tables say of it. Needs the
 * lab's module page_walk.
 */
#ifndef FAULTLAB_MAPPED_BO_H
#define FAULTLAB_MAPPED_BO_H

#include "bo.h"
#include "page_walk.h"

#define HUGE_SIZE (2UL << 20) /* what one PMD maps on x86-64 */
#define HUGE_PAGES (HUGE_SIZE / LAB_PAGE)

struct mapped_bo {
	struct bo bo;
	char *base;
	int walker; /* of page_walk.h */
};

/*
 * Make a dumb BO of the driver and map it `pages` pages behind a multiple of 2 MiB, without touching it.
 * Reports the checks `driver`, `bo`, `mapped`, or `page-walk` if there is no such device; false: the
 * workload ends here.
 */
static inline bool mapped_bo_make(const char *driver, uint64_t size, uint64_t pages, struct mapped_bo *made)
{
	char found[160];
	int fd = bo_open_driver(driver, found, sizeof(found));

	*made = (struct mapped_bo){ .bo.fd = fd, .walker = -1 };
	if (fd < 0) {
		lab_skip("driver", "no card is driven by %.40s; %s", driver, found);
		return false;
	}
	lab_check(true, "driver", "%s", found);
	made->walker = page_walk_open();
	if (made->walker < 0)
		return false;
	if (bo_make(BO_DUMB, fd, size, &made->bo))
		return lab_check(false, "bo", "%llu bytes: %s", (unsigned long long)size, strerror(errno));
	lab_check(made->bo.size == size, "bo", "%llu bytes", (unsigned long long)made->bo.size);
	made->base = bo_map_at(&made->bo, HUGE_SIZE, pages);
	if (made->base == MAP_FAILED)
		return lab_check(false, "mapped", "mmap: %s", strerror(errno));
	return lab_check((uintptr_t)made->base % HUGE_SIZE == pages * LAB_PAGE, "mapped",
			 "%llu pages behind a multiple of 2 MiB", (unsigned long long)pages);
}

/* What shmem gives from here on; a kernel without the file has no huge pages at all. */
static inline void want_shmem_huge(void)
{
	int fd = open("/sys/kernel/mm/transparent_hugepage/shmem_enabled", O_WRONLY | O_CLOEXEC);

	lab_check(fd >= 0 && write(fd, "force", 5) == 5, "shmem-huge", "shmem_enabled: %s",
		  fd < 0 ? strerror(errno) : "force");
	close(fd);
}

static inline struct page_walk mapped_bo_walk(const struct mapped_bo *mapped)
{
	return page_walk(mapped->walker, mapped->base, mapped->bo.size);
}

/* The first word of each page, so that each page is present from here on. */
static inline void mapped_bo_touch(const struct mapped_bo *mapped, size_t step, uint64_t value)
{
	for (size_t at = 0; at < mapped->bo.size; at += step)
		*(volatile uint64_t *)(mapped->base + at) = value + at;
}

/* "4 of 2 MiB (4 special), 0 of 4 KiB, 0 pages without an entry" */
static inline const char *walk_words(const struct page_walk *walk, char *text, size_t room)
{
	snprintf(text, room, "%llu of 2 MiB (%llu special), %llu of 4 KiB, %llu pages without an entry",
		 (unsigned long long)walk->pmd, (unsigned long long)walk->special_pmd,
		 (unsigned long long)walk->pte, (unsigned long long)walk->none);
	return text;
}

/* A check of that name, ok if every page of the range has an entry and all entries are of one size. */
static inline bool check_mapping(const char *name, const struct page_walk *walk)
{
	char text[128];

	return lab_check(!walk->none && (!walk->pte || !walk->pmd), name, "%s",
			 walk_words(walk, text, sizeof(text)));
}

#endif
