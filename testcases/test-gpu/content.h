/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Known content of BOs: a token at the beginning of each page, another one at its end. */
#ifndef TEST_GPU_CONTENT_H
#define TEST_GPU_CONTENT_H

#include "gpu.h"
#include "touch.h"

static inline volatile uint64_t *last_word(char *base, uint32_t page)
{
	return (volatile uint64_t *)(base + (page + 1) * LAB_PAGE) - 1;
}

static inline void fill(char *base, uint64_t size, uint64_t seed)
{
	for (uint32_t page = 0; page < size / LAB_PAGE; page++) {
		*word(base, page) = token(page, seed);
		*last_word(base, page) = ~token(page, seed);
	}
}

/* Pages that hold what fill() wrote. */
static inline uint64_t filled(char *base, uint64_t size, uint64_t seed)
{
	uint64_t right = 0;

	for (uint32_t page = 0; page < size / LAB_PAGE; page++)
		right += *word(base, page) == token(page, seed) && *last_word(base, page) == ~token(page, seed);
	return right;
}

/* Pages that are all zeroes. */
static inline uint64_t zeroed(const char *base, uint64_t size)
{
	uint64_t zero = 0;

	for (uint64_t at = 0; at < size; at += LAB_PAGE) {
		bool any = false;

		for (uint64_t i = 0; i < LAB_PAGE; i += 8)
			any |= *(volatile const uint64_t *)(base + at + i) != 0;
		zero += !any;
	}
	return zero;
}

#endif
