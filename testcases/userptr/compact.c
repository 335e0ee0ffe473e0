// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * compact: which pages can memory compaction move out of the way, and what does it cost who mirrors them?
 *
 * Of an area of 16 times as many pages one of 16 is kept and the rest given back, so that no block of 2 MiB
 * of it is free while nearly all of its memory is. Then /proc/sys/vm/compact_memory, in the five states of
 * `move`. How many pages compaction has to move is its own affair; that they are none where they are held, and
 * that a mirror hears of each that moved once, is known.
 */
#include "faultlab.h"

#include "state.h"

enum { SPREAD = 16 };

/*
 * Compaction leaves some pages alone, for it gathers them in blocks that are in use already: less than half. Of
 * the area's blocks of 2 MiB at least half get free by it; a few more or less come from elsewhere.
 */
static void check_gain(const struct options *o, const struct state *state, size_t moved, int64_t blocks)
{
	int64_t whole = o->pages * SPREAD / 512;
	bool held = is_held(state);

	state_metric(state, "moved", moved);
	lab_check(held ? !moved : moved > o->pages / 2 && moved <= o->pages, in_state(state, "moved"),
		  "%zu of %zu pages, %s expected", moved, o->pages, held ? "none" : "most");
	state_metric(state, "blocks", blocks < 0 ? 0 : blocks);
	lab_check(held ? blocks <= whole / 8 : blocks >= whole / 2, in_state(state, "blocks"),
		  "%lld of %lld blocks of 2 MiB got free, %s expected", (long long)blocks, (long long)whole,
		  held ? "next to none" : "most");
}

/* The pages of an area that are kept, in memory that is otherwise free; 0 pages if it cannot be had. */
static struct area scattered(size_t pages)
{
	struct area area = area_make(pages, SPREAD);

	for (size_t i = 0; i < pages; i++)
		if (madvise(area_page(&area, i) + LAB_PAGE, (SPREAD - 1) * LAB_PAGE, MADV_DONTNEED))
			area.pages = 0;
	return area;
}

static void compact_now(void)
{
	int fd = open("/proc/sys/vm/compact_memory", O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, "1", 1) != 1)
		lab_check(false, "compact", "/proc/sys/vm/compact_memory: %s", strerror(errno));
	close(fd);
}

/*
 * Free pages on the lists that each CPU has for itself are in no block of /proc/buddyinfo, and since 6.7 those
 * lists may grow to thousands: keep them at their shortest.
 */
static void short_lists(void)
{
	int fd = open("/proc/sys/vm/percpu_pagelist_high_fraction", O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, "100000", 6) != 6)
		lab_line("# note: percpu_pagelist_high_fraction: %s; fewer blocks may be seen", strerror(errno));
	close(fd);
}

static void run_state(const struct options *o, const struct state *state)
{
	struct area area = scattered(o->pages);
	uint64_t *frames = lab_array(o->pages, sizeof(*frames)), held = pins_held();
	struct mirror_counts before = { 0 };
	struct migration migration;
	struct mirror mirror;
	int64_t blocks;
	size_t moved;
	int fd;

	if (!lab_check(area.pages == o->pages, in_state(state, "scattered"), "1 page of %d kept", SPREAD) ||
	    !take_pin(o, state, &area, &fd) || !take_mirror(o, state, &area, &mirror))
		return;
	if (!area_frames(&area, frames))
		lab_check(false, in_state(state, "frames"), "%s", strerror(errno));
	if (has_mirror(o, state))
		before = mirror_now(&mirror);
	blocks = free_huge_blocks();
	migration = migration_now();
	compact_now();
	migration = migration_since(migration);
	blocks = free_huge_blocks() - blocks;
	moved = area_moved(&area, frames);
	check_gain(o, state, moved, blocks);
	state_metric(state, "isolated", migration.isolated);
	state_metric(state, "fail", migration.fail);
	if (state->mirrored)
		report_mirror(o, state, &mirror, &before, moved, moved);
	leave_state(o, state, &area, fd, held, &mirror);
	free(frames);
}

int main(int argc, char **argv)
{
	struct options o = parse_options(argc, argv, 1024, "compact: fragment memory, compact it, and count");

	short_lists();
	compact_now(); /* what booting left scattered is none of the first state's */
	for (size_t i = 0; i < STATES; i++)
		run_state(&o, &states[i]);
	return lab_finish();
}
