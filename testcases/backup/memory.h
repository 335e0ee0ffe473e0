/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest's memory beside the BOs: what is free, what goes to swap, and how to make it scarce. */
#ifndef BACKUP_MEMORY_H
#define BACKUP_MEMORY_H

#include "faultlab.h"

#include "gpu.h"
#include "swap.h"

#include <sys/sysinfo.h>

/* ---- counters of the kernel ------------------------------------------------------------------------ */

/*
 * A line `name value` of /proc/vmstat; 0 if this kernel has none of that name. The file stays open from the first
 * call on, which is made while there is memory: opening it allocates, and could wake the OOM killer later.
 */
static inline uint64_t vmstat(const char *name)
{
	static int fd = -1;
	static char text[32768];
	size_t size = 0;
	ssize_t got;

	if (fd < 0)
		fd = open("/proc/vmstat", O_RDONLY | O_CLOEXEC);
	while (size < sizeof(text) - 1 && (got = pread(fd, text + size, sizeof(text) - 1 - size, size)) > 0)
		size += got;
	text[size] = '\0';
	for (char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (!strncmp(line, name, strlen(name)) && line[strlen(name)] == ' ')
			return strtoull(line + strlen(name), NULL, 10);
	}
	return 0;
}

/* Free pages of all zones: as /proc/zoneinfo says, for a hundredth of its instructions. */
static inline uint64_t free_pages(void)
{
	struct sysinfo info;

	return sysinfo(&info) ? 0 : info.freeram * info.mem_unit / LAB_PAGE;
}

struct watermarks {
	uint64_t min, low, high; /* pages, of all zones together */
};

static inline struct watermarks read_watermarks(void)
{
	FILE *file = fopen("/proc/zoneinfo", "r");
	struct watermarks sum = { 0 };
	unsigned long long value;
	char line[256];

	/* The zone Movable is empty, and its watermarks are of no pages. */
	while (file && fgets(line, sizeof(line), file) && !strstr(line, "zone  Movable")) {
		if (sscanf(line, " min %llu", &value) == 1)
			sum.min += value;
		else if (sscanf(line, " low %llu", &value) == 1)
			sum.low += value;
		else if (sscanf(line, " high %llu", &value) == 1)
			sum.high += value;
	}
	if (file)
		fclose(file);
	return sum;
}

enum { BUDDY_ORDERS = 11, HUGE_ORDER = 9 };

/* Free blocks of 2 MiB in the page allocator; one of 4 MiB counts as two. */
static inline uint64_t free_huge_blocks(void)
{
	FILE *file = fopen("/proc/buddyinfo", "r");
	unsigned long long blocks = 0;
	char line[512];

	while (file && fgets(line, sizeof(line), file)) {
		char *at = strstr(line, "zone");

		for (int word = 0; at && word < 2; word++) { /* "zone", and its name */
			at += strcspn(at, " ");
			at += strspn(at, " ");
		}
		for (unsigned int order = 0; at && order < BUDDY_ORDERS; order++) {
			unsigned long long count = strtoull(at, &at, 10);

			if (order >= HUGE_ORDER)
				blocks += count << (order - HUGE_ORDER);
		}
	}
	if (file)
		fclose(file);
	return blocks;
}

/* ---- swap ------------------------------------------------------------------------------------------- */

static inline bool write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool written = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return written;
}

/* Use `device` as swap; one of zram is given `size` bytes first, a disk has its own. Pages, or -errno. */
static inline int64_t swap_on(const char *device, uint64_t size)
{
	char text[32];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)size);
	if (!strcmp(device, "/dev/zram0") && !write_text("/sys/block/zram0/disksize", text))
		return -errno;
	return lab_swap_on(device);
}

/* The check `swap`; false: the workload ends here. */
static inline bool check_swap_on(const char *device, uint64_t size)
{
	int64_t pages = swap_on(device, size);

	vmstat("nr_free_pages"); /* before memory is scarce */
	if (pages < 0)
		return lab_check(false, "swap", "%s: %s", device, strerror(-pages));
	return lab_check(true, "swap", "%lld pages on %s", (long long)pages, device);
}

/* Pages of swap that are free, of all devices. */
static inline uint64_t free_swap(void)
{
	struct sysinfo info;

	return sysinfo(&info) ? 0 : info.freeswap * info.mem_unit / LAB_PAGE;
}

/* ---- pressure --------------------------------------------------------------------------------------- */

enum { BALLAST_BOS = 2048 };

/*
 * Memory that is in the way: BOs, in single pages. The driver asks for their pages with __GFP_RETRY_MAYFAIL, so
 * that taking too much reclaims all there is to reclaim and then fails, instead of waking the OOM killer.
 */
struct ballast {
	int fd;
	unsigned int count;
	struct gpu_bo bo[BALLAST_BOS];
};

static inline struct ballast *ballast_new(int fd)
{
	struct ballast *ballast = lab_array(1, sizeof(*ballast));

	/* Otherwise TTM begins to swap BOs out, into pages that it asks the OOM killer for, at half of all memory. */
	if (!write_text("/sys/module/ttm/parameters/pages_limit", "1000000"))
		gpu_fail("ttm.pages_limit: %s", strerror(errno));
	ballast->fd = fd;
	return ballast;
}

/* Take `pages` more; false if the kernel does not give them. */
static inline bool ballast_take(struct ballast *ballast, uint64_t pages)
{
	const struct lab_gpu_create how = { .size = pages * LAB_PAGE, .order = 0 };
	struct gpu_bo *bo = &ballast->bo[ballast->count];

	if (ballast->count == BALLAST_BOS || gpu_try_create(ballast->fd, how, bo))
		return false;
	if (gpu_try_move(bo, DRM_IOCTL_LAB_GPU_RESTORE, 0) != (int64_t)pages) {
		gpu_close(bo);
		return false;
	}
	ballast->count++;
	return true;
}

/* Take memory until no more than `pages` are free. */
static inline void ballast_leave(struct ballast *ballast, uint64_t pages)
{
	uint64_t now;

	while ((now = free_pages()) > pages && ballast_take(ballast, now - pages > 256 ? 256 : now - pages))
		;
}

/* Give at least `pages` back. */
static inline void ballast_give(struct ballast *ballast, uint64_t pages)
{
	for (uint64_t given = 0; given < pages && ballast->count;) {
		const struct gpu_bo *bo = &ballast->bo[--ballast->count];

		given += bo->size / LAB_PAGE;
		gpu_close(bo);
	}
}

static inline void ballast_drop(struct ballast *ballast)
{
	while (ballast->count)
		gpu_close(&ballast->bo[--ballast->count]);
	free(ballast);
}

/* Pages of shmem, and pages in swap that are in memory as well. */
static inline uint64_t cached_pages(void)
{
	return vmstat("nr_shmem") + vmstat("nr_swapcached");
}

/*
 * Force `pages` of what was moved out, or nearly so, out of memory: take all that is free and as much as reclaim
 * gives in addition, and give it back. It stops before there is nothing left to give, or the next one who needs a
 * page would meet the OOM killer.
 */
static inline void push_out(int fd, uint64_t pages)
{
	struct ballast *ballast = ballast_new(fd);
	uint64_t rest = pages / 8 > 1024 ? pages / 8 : 1024;

	ballast_leave(ballast, read_watermarks().high);
	while (cached_pages() > rest && ballast_take(ballast, 64))
		;
	ballast_drop(ballast);
}

#endif
