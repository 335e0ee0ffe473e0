/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the kernel counts about pages that move, and where the pages of an area are. */
#ifndef USERPTR_COUNTERS_H
#define USERPTR_COUNTERS_H

#include "faultlab.h"

#include "pins.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/utsname.h>

static inline bool kernel_at_least(unsigned int major, unsigned int minor)
{
	struct utsname name;
	unsigned int here[2];

	if (uname(&name) || sscanf(name.release, "%u.%u", &here[0], &here[1]) != 2)
		return false;
	return here[0] != major ? here[0] > major : here[1] >= minor;
}

/* Pages `stride` apart: what a state is about. */
struct area {
	char *base;
	size_t pages, stride; /* how many; distance in pages */
};

static inline char *area_page(const struct area *area, size_t i)
{
	return area->base + i * area->stride * LAB_PAGE;
}

static inline size_t area_bytes(const struct area *area)
{
	return area->pages * area->stride * LAB_PAGE;
}

/*
 * Anonymous memory in pages of 4 KiB, all present, the first word of each its number; a mapping of its own that
 * begins at a multiple of 2 MiB. Ends the workload if there is none.
 */
static inline struct area area_make(size_t pages, size_t stride)
{
	const size_t align = 2UL << 20;
	struct area area = { .pages = pages, .stride = stride };
	size_t size = area_bytes(&area), before;
	char *room = mmap(NULL, size + align, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (room == MAP_FAILED) {
		fprintf(stderr, "no memory for %zu bytes\n", size);
		exit(LAB_FAIL);
	}
	before = -(uintptr_t)room % align;
	area.base = room + before;
	if (before)
		munmap(room, before);
	munmap(area.base + size, align - before);
	madvise(area.base, size, MADV_NOHUGEPAGE);
	for (size_t i = 0; i < pages * stride; i++)
		*(volatile uint64_t *)(area.base + i * LAB_PAGE) = i;
	return area;
}

/* Pages that do not hold what area_make() wrote. */
static inline size_t area_corrupt(const struct area *area)
{
	size_t corrupt = 0;

	for (size_t i = 0; i < area->pages; i++)
		corrupt += *(volatile uint64_t *)area_page(area, i) != i * area->stride;
	return corrupt;
}

/* The page frame behind each page, into `frames`; 0: none. False if /proc/self/pagemap cannot be read. */
static inline bool area_frames(const struct area *area, uint64_t *frames)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	bool good = fd >= 0;

	for (size_t i = 0; good && i < area->pages; i++) {
		uint64_t entry = 0;

		good = pread(fd, &entry, 8, (uintptr_t)area_page(area, i) / LAB_PAGE * 8) == 8;
		frames[i] = entry >> 63 ? entry & ((1ULL << 55) - 1) : 0;
	}
	if (fd >= 0)
		close(fd);
	return good;
}

/* How many pages have another frame than in `before`. */
static inline size_t area_moved(const struct area *area, const uint64_t *before)
{
	uint64_t *now = lab_array(area->pages, sizeof(*now));
	size_t moved = 0;

	if (!area_frames(area, now))
		lab_check(false, "pagemap", "%s", strerror(errno));
	for (size_t i = 0; i < area->pages; i++)
		moved += now[i] != before[i];
	free(now);
	return moved;
}

/* move_pages(2): ask for `node`, or with -1 only where they are; how many are on `wanted` afterwards. */
static inline size_t area_to_node(const struct area *area, int node, int wanted)
{
	void **pages = lab_array(area->pages, sizeof(*pages));
	int *nodes = lab_array(area->pages, sizeof(*nodes)), *status = lab_array(area->pages, sizeof(*status));
	size_t there = 0;

	for (size_t i = 0; i < area->pages; i++) {
		pages[i] = area_page(area, i);
		nodes[i] = node;
	}
	if (node >= 0)
		syscall(SYS_move_pages, 0, area->pages, pages, nodes, status, 2 /* MPOL_MF_MOVE */);
	/* Asked anew: what the call above reports changed with the versions (5.10 counts one page less). */
	if (syscall(SYS_move_pages, 0, area->pages, pages, NULL, status, 0))
		lab_check(false, "nodes", "move_pages: %s", strerror(errno));
	for (size_t i = 0; i < area->pages; i++)
		there += status[i] == wanted;
	free(status);
	free(nodes);
	free(pages);
	return there;
}

/* A line of /proc/vmstat; UINT64_MAX if this kernel has none of that name. */
static inline uint64_t vmstat(const char *name)
{
	FILE *file = fopen("/proc/vmstat", "re");
	unsigned long long value, found = UINT64_MAX;
	char key[64];

	while (file && fscanf(file, "%63s %llu", key, &value) == 2)
		if (!strcmp(key, name))
			found = value;
	if (file)
		fclose(file);
	return found;
}

struct migration {
	uint64_t success, fail, isolated;
};

static inline struct migration migration_now(void)
{
	return (struct migration){
		vmstat("pgmigrate_success"), vmstat("pgmigrate_fail"), vmstat("compact_isolated"),
	};
}

static inline struct migration migration_since(struct migration before)
{
	struct migration now = migration_now();

	return (struct migration){ now.success - before.success, now.fail - before.fail,
				   now.isolated - before.isolated };
}

/* Pins that are held: what io_uring and pin_user_pages() took and have not given back. */
static inline uint64_t pins_held(void)
{
	struct pins pins = pins_now();

	return pins.acquired - pins.released;
}

/* Free blocks of 2 MiB in all zones, of which a block of 4 MiB holds two. */
static inline uint64_t free_huge_blocks(void)
{
	FILE *file = fopen("/proc/buddyinfo", "re");
	uint64_t blocks = 0;
	char line[256];

	while (file && fgets(line, sizeof(line), file)) {
		char *zone = strstr(line, "zone");
		int at, order = 0;
		unsigned long count;

		if (!zone || sscanf(zone, "zone %*s%n", &at) < 0)
			continue;
		for (zone += at; sscanf(zone, " %lu%n", &count, &at) == 1; zone += at, order++)
			if (order >= 9)
				blocks += count << (order - 9);
	}
	if (file)
		fclose(file);
	return blocks;
}

#endif
