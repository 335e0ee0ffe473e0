/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A small update in a large BO: what one touch of a fresh mapping costs and maps, and what mapping everything
 * would cost, aligned and one page off. "You end up faulting a full GB of single pages perhaps for a one-time
 * small update" is measured on a BO that fits the guest, and what is said of 1 GiB is extrapolated.
 */
#ifndef HUGE_PTE_UPDATE_H
#define HUGE_PTE_UPDATE_H

#include "scenarios.h"

#define EXTRAPOLATED (1ULL << 30)

/* A span of touches, one in each page of [from, to) of a mapping. */
static inline uint64_t time_touches(const struct mapped_bo *mapped, size_t from, size_t to)
{
	uint64_t start = lab_now();

	for (size_t at = from; at < to; at += LAB_PAGE)
		*(volatile uint64_t *)(mapped->base + at) = 1 + at;
	return lab_now() - start;
}

/*
 * PREFIXupdate, PREFIXupdate_pages: one touch at the start of a mapping that has no entry. PREFIXupdate_1gib,
 * if that maps the whole BO: the same for 1 GiB.
 */
static inline void report_update(const struct mapped_bo *mapped, const char *prefix, bool huge)
{
	struct page_walk before = mapped_bo_walk(mapped), walk;
	uint64_t took;
	char name[32];

	lab_quiet();
	took = time_touches(mapped, 0, LAB_PAGE);
	walk = mapped_bo_walk(mapped);
	snprintf(name, sizeof(name), "%supdate", prefix);
	lab_check(walk.pmd == huge && walk.pte + walk.pmd > 0 && before.none == mapped->bo.size / LAB_PAGE, name,
		  "maps %llu entries of 2 MiB and %llu of 4 KiB", (unsigned long long)walk.pmd,
		  (unsigned long long)walk.pte);
	lab_metric(prefix, "update", took, lab_unit());
	lab_metric(prefix, "update_pages", walk.pmd * HUGE_PAGES + walk.pte, "count");
	if (!walk.none)
		lab_metric(prefix, "update_1gib", took * (EXTRAPOLATED / mapped->bo.size), lab_unit());
}

/*
 * PREFIXfull, PREFIXfull_1gib: all pages, and that for 1 GiB. The first half against the whole says whether
 * the cost is in proportion to the size, which the extrapolation takes for granted. Where one fault maps
 * everything there are no halves.
 */
static inline void report_full(const struct mapped_bo *mapped, const char *prefix)
{
	size_t size = mapped->bo.size;
	uint64_t half, full;
	bool whole;
	char name[32];

	lab_quiet();
	half = time_touches(mapped, 0, size / 2);
	whole = !mapped_bo_walk(mapped).none;
	full = half + time_touches(mapped, size / 2, size);
	snprintf(name, sizeof(name), "%slinear", prefix);
	lab_check(whole || !lab_is_virtual() || (half > full * 45 / 100 && half < full * 55 / 100), name,
		  "the first half took %llu %% of the whole, %llu MiB are extrapolated by %llu to 1 GiB",
		  (unsigned long long)(half * 100 / full), (unsigned long long)(size >> 20),
		  (unsigned long long)(EXTRAPOLATED / size));
	lab_metric(prefix, "full", full, lab_unit());
	lab_metric(prefix, "full_1gib", full * (EXTRAPOLATED / size), lab_unit());
}

/* Another mapping of the same BO, without an entry; ends the workload if there is none. */
static inline struct mapped_bo mapped_again(const struct mapped_bo *mapped, uint64_t pages)
{
	struct mapped_bo again = *mapped;

	again.base = bo_map_at(&mapped->bo, HUGE_SIZE, pages);
	if (again.base == MAP_FAILED) {
		lab_check(false, "mapped-again", "mmap: %s", strerror(errno));
		exit(lab_finish());
	}
	return again;
}

static inline void map_small_update(struct subject *subject)
{
	struct mapped_bo *first = &subject->mapped, view = mapped_again(first, 0), again;

	*(volatile char *)view.base = 1; /* memory for the whole BO: that is not the mapping's cost */
	if (subject->defect == UNTOUCHED || subject->defect == SKIP)
		time_touches(first, 0, first->bo.size); /* so that nothing is left for the update */
	report_update(first, "", subject->huge);
	again = mapped_again(first, 0);
	report_full(&again, "");
	munmap(again.base, again.bo.size);
	again = mapped_again(first, 1);
	report_update(&again, "off_", false);
	munmap(again.base, again.bo.size);
	again = mapped_again(first, 1);
	report_full(&again, "off_");
}

#endif
