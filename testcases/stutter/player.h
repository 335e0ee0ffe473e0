/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Playing a frame trace at a rate, and keeping what each frame took. */
#ifndef FAULTLAB_PLAYER_H
#define FAULTLAB_PLAYER_H

#include "steps.h"

/* Until the clock says `start`. A sleep ends late: on the virtual clock its end is spun. */
static inline void await(uint64_t start)
{
	const uint64_t spin = 100000;
	uint64_t now = lab_now();
	struct timespec until = { .tv_sec = start / 1000000000, .tv_nsec = start % 1000000000 };

	if (!lab_reads_tsc) {
		while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
			;
		return;
	}
	if (start > now + 2 * spin) {
		uint64_t rest = start - now - spin;

		nanosleep(&(struct timespec){ .tv_sec = rest / 1000000000, .tv_nsec = rest % 1000000000 }, NULL);
	}
	while (lab_now() < start)
		;
}

/* Unmap BO 1 behind the trace's back, so that its pages fault again. */
static inline void remap(struct replay *r)
{
	struct buffer *b = &r->buffer[1];
	struct bo part = b->bo;

	part.size = b->mapped * LAB_PAGE;
	if (b->base)
		bo_map(&part, b->base);
}

static inline bool play_frame(struct replay *r, uint32_t number, uint64_t period)
{
	const struct frame *frame = &r->trace->frame[number];
	bool ok = true;

	r->spent = r->faults = r->stall = 0;
	r->pass++;
	if (r->o->defect == REMAP && number == 1)
		remap(r);
	mark(r, "faultlab frame %u%%", frame->percent);
	clock_on(r);
	for (uint32_t i = 0; ok && i < frame->count; i++)
		ok = step(r, &r->trace->op[frame->first + i], true);
	clock_off(r);
	r->result[number] = (struct result){
		.time = r->spent,
		.stall = r->stall,
		.faults = r->faults,
		.missed = r->spent > period * frame->percent / 100,
	};
	r->frames++;
	return ok;
}

/*
 * Frames begin at slots of `period`. One that is not done when the next slot comes keeps the next frame waiting
 * for the slot after, as on a screen.
 */
static inline bool play(struct replay *r, uint32_t rate)
{
	uint64_t period = 1000000000ULL / rate, start;
	uint32_t frames = r->trace->frames - (r->o->defect == LOSE_FRAME);
	bool ok = true;

	memset(r->result, 0, r->trace->frames * sizeof(*r->result));
	r->frames = 0;
	r->pass++;
	mark(r, "faultlab resume");
	for (uint32_t i = 0; ok && i < r->trace->setup; i++)
		ok = step(r, &r->trace->op[i], false);
	mark(r, "faultlab pause");
	start = lab_now() + period;
	for (uint32_t f = 0; ok && f < frames; f++) {
		uint64_t now;

		await(start);
		ok = play_frame(r, f, period);
		start += (r->result[f].time / period + 1) * period;
		now = lab_now();
		if (now > start) /* checking took long: that is nobody's delay */
			start += ((now - start) / period + 1) * period;
	}
	mark(r, "faultlab end");
	for (uint32_t bo = 1; bo <= TRACE_BO; bo++) {
		if (r->buffer[bo].base)
			unmap(r, &(struct op){ .bo = bo });
		if (r->buffer[bo].pages)
			release(r, bo, false);
	}
	return ok;
}

/*
 * What a fault does, seen on a BO of its own: read page by page, it must fault at regular distances, and whether
 * the first write to a page that was read faults again tells if writes are tracked.
 */
static inline struct fault_rule find_rule(struct replay *r)
{
	struct fault_rule rule = { 0 };
	uint32_t last = 0;
	uint64_t before;
	bool regular = true;
	struct bo bo;
	char *base;

	if (bo_make(r->o->kind, r->fd, PROBE_PAGES * LAB_PAGE, &bo))
		return rule;
	base = bo_map_at(&bo, PMD_SIZE, 0);
	if (base == MAP_FAILED)
		return rule;
	(void)*word(base, 0);
	for (uint32_t page = 1; page < PROBE_PAGES; page++) {
		before = lab_faults();
		(void)*word(base, page);
		if (lab_faults() == before)
			continue;
		rule.window = rule.window ? rule.window : page;
		regular &= page - last == rule.window;
		last = page;
	}
	before = lab_faults();
	*word(base, 1) = 1;
	rule.tracks_writes = lab_faults() != before;
	munmap(base, bo.size);
	bo_free(&bo);
	rule.window = regular ? rule.window : 0;
	return rule;
}

#endif
