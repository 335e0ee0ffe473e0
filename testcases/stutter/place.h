/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * BOs of VRAM, and evicting one BO, by the means that its driver has:
 *
 *   lab_gpu     ioctls: out of VRAM into system memory, out of system memory into TTM's swap
 *   other TTM   reading debugfs ttm/tt_shrink swaps out one BO, and TTM chooses it: the oldest that has pages.
 *               So a trace can be played that evicts in that order, which is told before it is played.
 *   memfd       madvise(MADV_DONTNEED): the pages stay, the mapping goes
 */
#ifndef FAULTLAB_PLACE_H
#define FAULTLAB_PLACE_H

#include "bo.h"
#include "frame_trace.h"
#include "lab_gpu.h"

#define TT_SHRINK "/sys/kernel/debug/ttm/tt_shrink"

/* A BO of lab_gpu whose home is VRAM; -1 and errno if the driver does not. */
static inline int bo_make_lab_gpu_vram(int fd, uint64_t size, struct bo *bo)
{
	struct lab_gpu_create made = { .size = size, .home = LAB_GPU_VRAM, .order = LAB_GPU_MAX_ORDER };
	struct lab_gpu_map map = { 0 };

	if (ioctl(fd, DRM_IOCTL_LAB_GPU_CREATE, &made))
		return -1;
	map.handle = made.handle;
	if (ioctl(fd, DRM_IOCTL_LAB_GPU_MAP, &map))
		return -1;
	*bo = (struct bo){ .fd = fd, .size = size, .offset = map.offset, .handle = made.handle };
	return 0;
}

/* Swap one BO out; its pages, or -1. */
static inline long tt_shrink(void)
{
	char text[32] = "";
	int fd = open(TT_SHRINK, O_RDONLY | O_CLOEXEC);
	ssize_t got = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (fd >= 0)
		close(fd);
	return got <= 0 ? -1 : strtol(text, NULL, 10);
}

/* What TTM's choice depends on. */
struct tt_order {
	uint32_t age[TRACE_BO + 1]; /* 0: there is none */
	bool vram[TRACE_BO + 1], populated[TRACE_BO + 1], evicted[TRACE_BO + 1];
	uint32_t made;
};

/* The BO that tt_shrink takes; 0 if none, or if it depends on the version: where does one that came back stand? */
static inline uint32_t tt_choice(const struct tt_order *o)
{
	uint32_t oldest = 0;

	for (uint32_t bo = 1; bo <= TRACE_BO; bo++) {
		if (!o->age[bo] || !o->populated[bo] || o->vram[bo])
			continue;
		if (o->evicted[bo])
			return 0;
		if (!oldest || o->age[bo] < o->age[oldest])
			oldest = bo;
	}
	return oldest;
}

/* The first step that tt_shrink cannot do as the trace wants it; NULL if it can do all. */
static inline const struct op *tt_shrink_cannot(const struct frame_trace *trace)
{
	struct tt_order *o = lab_array(1, sizeof(*o));
	const struct op *bad = NULL;

	for (const struct op *op = trace->op; op < trace->op + trace->ops && !bad; op++) {
		switch (op->verb) {
		case CREATE:
			o->age[op->bo] = ++o->made;
			o->vram[op->bo] = op->vram;
			o->populated[op->bo] = o->evicted[op->bo] = false;
			break;
		case TOUCH: o->populated[op->bo] = true; break;
		case FREE: o->age[op->bo] = 0; break;
		case EVICT:
			if (tt_choice(o) != op->bo)
				bad = op;
			o->populated[op->bo] = false;
			o->evicted[op->bo] = true;
			break;
		default: break;
		}
	}
	free(o);
	return bad;
}

/* Why this trace's evictions cannot be played here; false if they can. */
static inline bool evict_cannot(const struct frame_trace *trace, enum bo_kind kind, const char *driver, char *why,
				size_t room)
{
	const struct op *bad;
	bool evicts = false;

	for (uint32_t i = 0; i < trace->ops; i++)
		evicts |= trace->op[i].verb == EVICT;
	if (!evicts || kind == BO_MEMFD || !strcmp(driver, LAB_GPU_DRIVER))
		return false;
	if (access(TT_SHRINK, R_OK)) {
		snprintf(why, room, "%s: this kernel cannot evict a BO on demand: %s", driver, strerror(errno));
		return true;
	}
	bad = tt_shrink_cannot(trace);
	if (bad)
		snprintf(why, room, "%s evicts through ttm/tt_shrink, oldest first: not BO %u as in step %td",
			 driver, bad->bo, bad - trace->op + 1);
	return bad;
}

/* Evict the BO, whose mapping is `mapped` bytes at `base`; false if that was not what happened. */
static inline bool evict(const struct bo *bo, bool vram, enum bo_kind kind, const char *driver, char *base,
			 uint64_t mapped)
{
	struct lab_gpu_move move = { .handle = bo->handle };

	if (kind == BO_MEMFD)
		return !mapped || !madvise(base, mapped, MADV_DONTNEED);
	if (!strcmp(driver, LAB_GPU_DRIVER))
		return !ioctl(bo->fd, vram ? DRM_IOCTL_LAB_GPU_EVICT : DRM_IOCTL_LAB_GPU_SWAPOUT, &move);
	return tt_shrink() == (long)(bo->size / LAB_PAGE);
}

#endif
