// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * move: which pages can move_pages(2) move to another NUMA node, and what does it cost who mirrors them?
 *
 * The same pages in five states, each with an area of its own: plain, pinned, unpinned (pinned before),
 * mirrored, and both pinned and mirrored. What has to come out is known: all pages or none.
 */
#include "faultlab.h"

#include "state.h"

/*
 * How often a page that is held is unmapped, found to be held, and mapped again (mm/migrate.c). Up to 6.2 each
 * of ten tries does it. Since then pages are unmapped in batches, three times asynchronously and seven times
 * more; a pin shows while unmapping, so each try unmaps, but a plain reference shows only when the page is to
 * be copied, and what follows are retries of the copy: one unmapping for each of the two kinds of try.
 */
static unsigned int unmappings(enum pin_kind kind)
{
	return kind == PIN_GET && kernel_at_least(6, 3) ? 2 : 10;
}

static void run_state(const struct options *o, const struct state *state)
{
	struct area area = area_make(o->pages, 1);
	uint64_t *frames = lab_array(o->pages, sizeof(*frames)), held = pins_held();
	size_t movable = is_held(state) ? 0 : o->pages, there;
	struct mirror_counts before = { 0 };
	struct migration migration;
	struct mirror mirror;
	int fd;

	if (!take_pin(o, state, &area, &fd) || !take_mirror(o, state, &area, &mirror))
		return;
	there = area_to_node(&area, -1, 0);
	lab_check(area_frames(&area, frames) && there == o->pages, in_state(state, "start"),
		  "%zu of %zu pages on node 0", there, o->pages);
	if (has_mirror(o, state))
		before = mirror_now(&mirror);
	migration = migration_now();
	there = area_to_node(&area, 1, 1);
	migration = migration_since(migration);
	lab_check(there == movable, in_state(state, "node"), "%zu of %zu pages on node 1, %zu expected", there,
		  o->pages, movable);
	tell_count(state, "moved", area_moved(&area, frames), movable);
	check_count(state, "success", migration.success, movable);
	tell_count(state, "fail", migration.fail, o->pages - movable);
	if (state->mirrored)
		report_mirror(o, state, &mirror, &before, movable, movable ?: o->pages * unmappings(o->pin));
	leave_state(o, state, &area, fd, held, &mirror);
	free(frames);
}

int main(int argc, char **argv)
{
	struct options o = parse_options(argc, argv, 4096, "move: try to move pages to another node, and count");
	unsigned long node0 = 1;

	if (access("/sys/devices/system/node/node1", F_OK)) {
		lab_skip("nodes", "this guest has one NUMA node; numa=fake=2 on its command line makes two");
		return lab_finish();
	}
	syscall(SYS_set_mempolicy, 2 /* MPOL_BIND */, &node0, sizeof(node0) * 8);
	for (size_t i = 0; i < STATES; i++)
		run_state(&o, &states[i]);
	return lab_finish();
}
