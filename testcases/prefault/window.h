/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How many pages one fault maps, and how many faults a span must then take: counted, not guessed from times.
 *
 * A fault handler that prefaults maps the touched page and those behind it, up to the end of the mapping. Then
 * it does not matter for the count whether it stops at a page that is there already: the same pages end up mapped.
 */
#ifndef FAULTLAB_WINDOW_H
#define FAULTLAB_WINDOW_H

#include "touch.h"

struct window {
	size_t pages;  /* that one fault maps */
	size_t faults; /* that a touch takes: 2 where the entry is made read-only first, to see the write */
	bool forward;  /* the touched page and those behind it; false: some in front of it as well */
};

/* Touch a page as the span does, without changing what it holds; the faults that it took. */
static inline size_t touch_faults(char *base, size_t page, bool read)
{
	uint64_t before = lab_faults();
	volatile uint64_t *at = word(base, page);

	if (read)
		(void)*at;
	else
		__asm__ volatile("lock; orq $0, %0" : "+m"(*at));
	return lab_faults() - before;
}

/* Fault once in the midst of a mapping that nobody has touched, and see how far up and down it reached. */
static inline struct window probe_window(char *fresh, size_t pages, bool read)
{
	size_t from = pages > 8 ? pages / 4 + 5 : 0, up = 1, down = 0;
	size_t faults = touch_faults(fresh, from, read);

	while (from + up < pages && !touch_faults(fresh, from + up, read))
		up++;
	while (down < from && !touch_faults(fresh, from - down - 1, read))
		down++;
	/* Up to the end of the mapping: it might have been more. */
	return (struct window){ from + up == pages ? pages : up + down, faults, !down };
}

static inline size_t map_window(uint8_t *present, size_t pages, size_t page, size_t window)
{
	if (present[page])
		return 0;
	for (size_t at = page; at < pages && at - page < window; at++)
		present[at] = 1;
	return 1;
}

/* The faults that a span takes where `present` says what is mapped; brings `present` up to date. */
static inline size_t expected_faults(const struct span *span, uint8_t *present, size_t pages, size_t window)
{
	size_t faults = 0;

	for (size_t i = 0; i < span->done; i++)
		faults += map_window(present, pages, span->page[i], window);
	return faults;
}

#endif
