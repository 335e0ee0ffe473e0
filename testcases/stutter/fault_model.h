/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How many page faults a trace must cause, told without playing it: a fault on a page maps this page and the
 * following ones, `window` in all, up to the end of the mapping; unmapping and eviction take all of it away.
 * Whether the kernel stops at a page that is mapped already makes no difference: all of a window's pages
 * behind such a page are mapped, too. A driver that tracks writes maps for reading only, and then the first
 * write to each page is a fault of its own.
 */
#ifndef FAULTLAB_FAULT_MODEL_H
#define FAULTLAB_FAULT_MODEL_H

#include "frame_trace.h"

/* What a fault does here; a window of 0: nothing regular. */
struct fault_rule {
	uint32_t window;
	bool tracks_writes;
};

enum { UNMAPPED, READABLE, WRITABLE };

struct fault_model {
	struct fault_rule rule;
	uint8_t *mapped[TRACE_BO + 1]; /* UNMAPPED, READABLE or WRITABLE, for each page */
	uint32_t pages[TRACE_BO + 1];  /* of the present mapping */
};

static inline uint64_t model_op(struct fault_model *m, const struct op *op)
{
	uint8_t *mapped = m->mapped[op->bo];
	uint64_t faults = 0;

	if (op->verb == MAP)
		m->pages[op->bo] = op->pages;
	if (op->verb == MAP || op->verb == EVICT)
		memset(mapped, 0, m->pages[op->bo]);
	if (op->verb != TOUCH)
		return 0;
	for (uint32_t i = 0; i < op->count; i++) {
		uint32_t page = op->first + i * op->stride, left = m->pages[op->bo] - page;

		if (mapped[page] == UNMAPPED) {
			faults++;
			for (uint32_t at = page; at < page + (left < m->rule.window ? left : m->rule.window); at++)
				if (mapped[at] == UNMAPPED)
					mapped[at] = m->rule.tracks_writes ? READABLE : WRITABLE;
		}
		if (op->write && mapped[page] == READABLE) {
			faults++;
			mapped[page] = WRITABLE;
		}
	}
	return faults;
}

/* The faults of each frame go to `faults`, those of the setup are left out. */
static inline void model_faults(const struct frame_trace *trace, struct fault_rule rule, uint64_t *faults)
{
	struct fault_model *m = lab_array(1, sizeof(*m));

	m->rule = rule;
	for (uint32_t bo = 1; bo <= TRACE_BO; bo++)
		if (trace->largest[bo])
			m->mapped[bo] = lab_array(trace->largest[bo], 1);
	for (uint32_t i = 0; i < trace->setup; i++)
		model_op(m, &trace->op[i]);
	for (uint32_t f = 0; f < trace->frames; f++) {
		faults[f] = 0;
		for (uint32_t i = 0; i < trace->frame[f].count; i++)
			faults[f] += model_op(m, &trace->op[trace->frame[f].first + i]);
	}
	for (uint32_t bo = 1; bo <= TRACE_BO; bo++)
		free(m->mapped[bo]);
	free(m);
}

#endif
