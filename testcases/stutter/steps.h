/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The steps of a frame trace, done on a device.
 *
 * A frame's clock runs while its steps are done. It stands still while a BO's content is checked before it is
 * freed, so the times are those of the trace's own steps.
 */
#ifndef FAULTLAB_STEPS_H
#define FAULTLAB_STEPS_H

#include "bo.h"
#include "fault_model.h"
#include "frame_trace.h"
#include "place.h"
#include "touch.h"

enum { MAX_RATES = 8, PROBE_PAGES = 2048 };
enum defect { NONE, SKIP_TOUCH, CORRUPT, LOSE_FRAME, REMAP, NO_EVICT, EVICT_ASTRAY };

struct options {
	const char *driver, *trace;
	enum bo_kind kind;
	uint32_t rate[MAX_RATES];
	size_t rates;
	enum defect defect;
};

/* A BO of the trace; there is one now if it has pages. */
struct buffer {
	struct bo bo;
	char *place; /* where its mappings go: a multiple of 2 MiB */
	char *base;  /* of the present mapping, or NULL */
	uint32_t pages, mapped;
	bool vram;
	uint64_t *written; /* what the trace has written to each page, 0: nothing yet */
};

struct result {
	uint64_t time, stall, faults;
	bool missed;
};

struct replay {
	const struct options *o;
	const struct frame_trace *trace;
	int fd, marker;
	struct buffer buffer[TRACE_BO + 1];
	struct result *result;
	uint64_t *expected; /* faults of each frame */
	/* the clock of the frame */
	uint64_t spent, since, faults, faults_since, stall;
	/* totals */
	uint64_t touches, read_wrong, read_back, wrong, evicted, evict_wrong;
	struct fault_rule rule;
	uint32_t frames, pass;
	const char *failed; /* the step that the kernel refused */
	uint32_t failed_bo;
	int failed_errno;
};

/* ---- the clock of a frame ------------------------------------------------------------------------- */

/* Tell a recorder (`lab record`) where a frame begins, and which of our work is not the trace's. */
static inline LAB_PRINTF(2) void mark(const struct replay *r, const char *format, ...)
{
	char text[64];
	va_list args;
	int length;

	if (r->marker < 0)
		return;
	va_start(args, format);
	length = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (write(r->marker, text, length) != length)
		lab_line("# note: a mark was lost: %s", strerror(errno));
}

static inline void clock_on(struct replay *r)
{
	mark(r, "faultlab resume");
	r->faults_since = lab_faults();
	r->since = lab_now();
}

static inline void clock_off(struct replay *r)
{
	r->spent += lab_now() - r->since;
	r->faults += lab_faults() - r->faults_since;
	mark(r, "faultlab pause");
}

/* ---- steps ---------------------------------------------------------------------------------------- */

static inline bool refused(struct replay *r, const char *step, uint32_t bo)
{
	if (!r->failed) {
		r->failed = step;
		r->failed_bo = bo;
		r->failed_errno = errno;
	}
	return false;
}

/* Compare what a BO holds with what was written, through a mapping of its own. */
static inline void verify(struct replay *r, uint32_t number)
{
	struct buffer *b = &r->buffer[number];
	char *view = NULL;

	if (r->o->defect == CORRUPT && b->pages)
		b->written[0] ^= 2;
	for (uint32_t page = 0; page < b->pages; page++) {
		if (!b->written[page])
			continue;
		if (!view && (view = bo_map(&b->bo, NULL)) == MAP_FAILED) {
			refused(r, "map for checking", number);
			return;
		}
		r->read_back++;
		r->wrong += *word(view, page) != b->written[page];
	}
	if (view)
		munmap(view, b->bo.size);
}

static inline bool create(struct replay *r, const struct op *op)
{
	struct buffer *b = &r->buffer[op->bo];
	uint64_t size = op->pages * LAB_PAGE;
	int failed;

	if (!op->vram || r->o->kind == BO_MEMFD)
		failed = bo_make(r->o->kind, r->fd, size, &b->bo);
	else if (!strcmp(r->o->driver, LAB_GPU_DRIVER))
		failed = bo_make_lab_gpu_vram(r->fd, size, &b->bo);
	else
		failed = bo_make(BO_QXL_VRAM, r->fd, size, &b->bo);
	if (failed)
		return refused(r, "create", op->bo);
	b->pages = op->pages;
	b->vram = op->vram;
	memset(b->written, 0, op->pages * sizeof(*b->written));
	return true;
}

static inline bool map(struct replay *r, const struct op *op)
{
	struct buffer *b = &r->buffer[op->bo];
	struct bo part = b->bo;

	part.size = op->pages * LAB_PAGE;
	b->base = bo_map(&part, b->place);
	if (b->base == MAP_FAILED) {
		b->base = NULL;
		return refused(r, "map", op->bo);
	}
	b->mapped = op->pages;
	return true;
}

static inline bool touch(struct replay *r, const struct op *op)
{
	struct buffer *b = &r->buffer[op->bo];
	uint32_t count = op->count - (r->o->defect == SKIP_TOUCH && r->pass == 2);
	uint64_t before = lab_now(), now;

	for (uint32_t i = 0; i < count; i++, before = now) {
		uint32_t page = op->first + i * op->stride;
		volatile uint64_t *at = word(b->base, page);

		if (op->write)
			*at = b->written[page] = token(page, r->pass);
		else
			r->read_wrong += *at != b->written[page] && b->written[page];
		now = lab_now();
		if (now - before > r->stall)
			r->stall = now - before;
	}
	r->touches += count;
	return true;
}

static inline bool unmap(struct replay *r, const struct op *op)
{
	struct buffer *b = &r->buffer[op->bo];

	if (munmap(b->base, b->mapped * LAB_PAGE))
		return refused(r, "unmap", op->bo);
	b->base = NULL;
	b->mapped = 0;
	return true;
}

static inline bool release(struct replay *r, uint32_t number, bool timed)
{
	struct buffer *b = &r->buffer[number];

	if (timed)
		clock_off(r);
	verify(r, number);
	if (timed)
		clock_on(r);
	b->pages = 0;
	return !bo_free(&b->bo) || refused(r, "free", number);
}

static inline bool step(struct replay *r, const struct op *op, bool timed)
{
	struct buffer *b = &r->buffer[op->bo];

	switch (op->verb) {
	case CREATE: return create(r, op);
	case MAP: return map(r, op);
	case TOUCH: return touch(r, op);
	case UNMAP: return unmap(r, op);
	case FREE: return release(r, op->bo, timed);
	case EVICT:
		r->evicted++;
		if (r->o->defect == EVICT_ASTRAY)
			tt_shrink();
		if (r->o->defect != NO_EVICT)
			r->evict_wrong += !evict(&b->bo, b->vram, r->o->kind, r->o->driver, b->base,
						 b->mapped * LAB_PAGE);
		return true;
	}
	return true;
}

#endif
