/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The victim: somebody who gets the memory that was a BO's, and looks at it later. Either pages of data with a
 * pattern, or page tables, which the memory management unit reads.
 */
#ifndef GUP_RACE_VICTIM_H
#define GUP_RACE_VICTIM_H

#include "direct_io.h"
#include "page_walk.h"

#include <sys/sysinfo.h>

#define TABLE_REACH (2UL << 20) /* what one page table maps */

enum kind { PAGES, TABLES };

static const char *const victim_kinds[] = { "pages", "tables", NULL };

enum { VICTIM = 99 }; /* the seed of its contents */

struct victim {
	enum kind kind;
	char *base;
	size_t count, step; /* pages or tables, and the bytes from one to the next */
};

/* Page by page, for so the allocator gives away its fragments first. */
static inline char *ordinary(size_t bytes)
{
	char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (memory == MAP_FAILED) {
		fprintf(stderr, "no memory for %zu bytes\n", bytes);
		exit(LAB_FAIL);
	}
	madvise(memory, bytes, MADV_NOHUGEPAGE);
	return memory;
}

/* Reading an ordinary page that was never written maps the zero page: a table, if there was none, and no more. */
static inline uint64_t peek(const char *page)
{
	return *(const volatile uint64_t *)page;
}

/*
 * Address space for all memory that will be free but `leave` bytes, once `more` bytes are given back. Pages
 * of data have their tables already, so that what overwrites them leaves the guest alive.
 */
static inline struct victim plan_victim(enum kind kind, size_t more, size_t leave)
{
	struct victim victim = { .kind = kind, .step = kind == TABLES ? TABLE_REACH : LAB_PAGE };
	struct sysinfo system;

	sysinfo(&system);
	victim.count = (system.freeram * system.mem_unit + more - leave) / LAB_PAGE;
	victim.base = ordinary(victim.count * victim.step);
	for (size_t at = 0; kind == PAGES && at < victim.count * victim.step; at += TABLE_REACH)
		peek(victim.base + at);
	if (kind == PAGES) /* where the area is not aligned it ends in one more table */
		peek(victim.base + (victim.count - 1) * victim.step);
	return victim;
}

static inline void fill_victim(const struct victim *victim)
{
	for (size_t i = 0; i < victim->count; i++) {
		if (victim->kind == PAGES)
			io_fill(victim->base + i * victim->step, LAB_PAGE, VICTIM);
		else
			peek(victim->base + i * victim->step);
	}
}

/* How many of these frames are the victim's. */
static inline size_t recycled(int walker, const struct victim *victim, const uint64_t *frames, size_t count)
{
	size_t found = 0;

	for (size_t i = 0; i < victim->count; i++) {
		struct page_walk walk = page_walk(walker, victim->base + i * victim->step, LAB_PAGE);
		uint64_t frame = victim->kind == PAGES ? walk.pfn : walk.table;

		for (size_t k = 0; frame != ~0ULL && k < count; k++)
			found += frames[k] == frame;
	}
	return found;
}

/* What the victim reads and has not written: bytes, and of those the ones that are page_poison=1's. */
struct damage {
	size_t foreign, poison;
};

#define PAGE_POISON 0xaaaaaaaaaaaaaaaaULL /* the allocator leaves it in a page that is freed */

/* Where page tables were overwritten, reading through them may well be the end of the guest. */
static inline struct damage damage_of(const struct victim *victim)
{
	struct damage damage = { 0 };

	for (size_t i = 0; i < victim->count; i++) {
		const uint64_t *page = (const uint64_t *)(victim->base + i * victim->step);

		if (victim->kind == TABLES) {
			damage.foreign += sizeof(*page) * (peek((const char *)page) != 0);
			continue;
		}
		damage.foreign += io_foreign(page, LAB_PAGE, VICTIM);
		for (size_t word = 0; word < LAB_PAGE / sizeof(*page); word++)
			damage.poison += sizeof(*page) * (page[word] == PAGE_POISON);
	}
	return damage;
}

#endif
