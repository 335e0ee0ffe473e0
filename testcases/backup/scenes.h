/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The scenes of bo_backup in which a backup is complete, partial or refused. Each frees its BOs. */
#ifndef BACKUP_SCENES_H
#define BACKUP_SCENES_H

#include "content.h"
#include "memory.h"

#include "scenes_many.h"
#include "scenes_restore.h"

#include <pthread.h>
#include <semaphore.h>

#define MIB (1UL << 20)

/* ---- contents, swapout ------------------------------------------------------------------------------ */

enum { VARIANTS = 7, VARIANT_SIZE = 4 << 20, VARIANT_PAGES = VARIANT_SIZE / 4096 };

/* Each caching in single pages and in the largest blocks; the last one lives in VRAM. */
static inline struct lab_gpu_create variant(int number, uint32_t flags)
{
	struct lab_gpu_create how = {
		.size = VARIANT_SIZE, .home = number == VARIANTS - 1 ? LAB_GPU_VRAM : LAB_GPU_SYSTEM,
		.caching = number % 3, .order = number / 3 ? LAB_GPU_MAX_ORDER : 0, .flags = flags,
	};

	return how;
}

/* What went and came back, over all rounds. */
struct traffic {
	uint64_t moved, wanted, wrong, out, in;
};

/* Move all out, force them out of the swap cache, and read them back: by ioctl and by fault in turn. */
static inline void out_and_back(int fd, const struct known *known, int count, unsigned long request, uint32_t flags,
				struct traffic *traffic)
{
	uint64_t out = vmstat("pswpout"), in = vmstat("pswpin");

	for (int i = 0; i < count; i++) {
		int64_t pages = gpu_try_move(&known[i].bo, request, flags);

		traffic->moved += pages > 0 ? pages : 0;
		traffic->wanted += known[i].pages;
	}
	push_out(fd, count * VARIANT_PAGES);
	for (int i = 0; i < count; i++) {
		if (i % 2)
			restore(&known[i]);
		traffic->wrong += known_wrong(&known[i]);
	}
	traffic->out += vmstat("pswpout") - out;
	traffic->in += vmstat("pswpin") - in;
}

static inline void check_traffic(const struct traffic *seen)
{
	lab_check(seen->moved == seen->wanted, "moved-out", "%llu of %llu pages", (unsigned long long)seen->moved,
		  (unsigned long long)seen->wanted);
	lab_check(!seen->wrong, "content", "%llu of %llu pages are not as written", (unsigned long long)seen->wrong,
		  (unsigned long long)seen->wanted);
	/* Reclaim takes what is oldest and may leave some: half is proof that the content was gone. */
	lab_check(seen->out > seen->wanted / 2 && seen->in > seen->wanted / 2, "swapped",
		  "%llu pages written to swap, %llu read back", (unsigned long long)seen->out,
		  (unsigned long long)seen->in);
	lab_metric("", "written", seen->out, "count");
	lab_metric("", "read", seen->in, "count");
}

static inline void scene_contents(int fd)
{
	struct known known[VARIANTS];
	struct traffic seen = { 0 };

	for (int i = 0; i < VARIANTS; i++)
		known[i] = known_make(fd, variant(i, LAB_GPU_CREATE_BACKUP), i + 1);
	out_and_back(fd, known, VARIANTS, DRM_IOCTL_LAB_GPU_BACKUP, LAB_GPU_WRITEBACK, &seen);
	out_and_back(fd, known, VARIANTS, DRM_IOCTL_LAB_GPU_BACKUP, 0, &seen);
	check_traffic(&seen);
	for (int i = 0; i < VARIANTS; i++)
		known_free(&known[i]);
}

static inline void scene_swapout(int fd)
{
	struct known known[VARIANTS - 1]; /* not out of VRAM: that is eviction */
	struct traffic seen = { 0 };

	for (int i = 0; i < VARIANTS - 1; i++)
		known[i] = known_make(fd, variant(i, 0), i + 1);
	out_and_back(fd, known, VARIANTS - 1, DRM_IOCTL_LAB_GPU_SWAPOUT, 0, &seen);
	check_traffic(&seen);
	for (int i = 0; i < VARIANTS - 1; i++)
		known_free(&known[i]);
}

/* ---- partial ---------------------------------------------------------------------------------------- */

#define MIN_FREE "/proc/sys/vm/min_free_kbytes"

/* How much the kernel keeps for itself; more than there is makes each allocation fail that has no claim to it. */
struct shortage {
	int file;
	char usual[32];
	long microseconds; /* until it begins */
	sem_t begun, over;
};

static void *shortage_begin(void *arg)
{
	struct shortage *shortage = arg;
	struct sched_param first = { .sched_priority = 1 };
	struct timespec wait = { .tv_nsec = shortage->microseconds * 1000 };

	pthread_setschedparam(pthread_self(), SCHED_FIFO, &first);
	nanosleep(&wait, NULL);
	if (pwrite(shortage->file, "1000000", 7, 0) != 7)
		lab_line("# note: " MIN_FREE ": %s", strerror(errno));
	sem_post(&shortage->begun);
	sem_wait(&shortage->over); /* a thread that exits asks for memory, and would wake the OOM killer */
	return NULL;
}

/*
 * Back up while memory runs out: pages backed up, or -errno. A backup gives back each block that it has copied, so
 * nothing that others do with memory makes it fail half way, nor does a limit of a cgroup (its __GFP_HIGH goes
 * over that). That the reserves grow meanwhile does. Swap is so small that reclaim is no way out.
 */
static inline int64_t back_up_in_shortage(const struct known *known, long microseconds)
{
	struct shortage shortage = { .file = open(MIN_FREE, O_RDWR | O_CLOEXEC), .microseconds = microseconds };
	ssize_t length = pread(shortage.file, shortage.usual, sizeof(shortage.usual) - 1, 0);
	pthread_t thread;
	int64_t pages;

	sem_init(&shortage.begun, 0, 0);
	sem_init(&shortage.over, 0, 0);
	if (length < 1 || pthread_create(&thread, NULL, shortage_begin, &shortage))
		gpu_fail(MIN_FREE ": %s", strerror(errno));
	pages = back_up(known, 0);
	sem_wait(&shortage.begun);
	if (pwrite(shortage.file, shortage.usual, length, 0) != length)
		gpu_fail(MIN_FREE ": %s", strerror(errno));
	sem_post(&shortage.over);
	pthread_join(thread, NULL);
	close(shortage.file);
	return pages;
}

static inline void scene_partial(int fd)
{
	struct known known = known_backup(fd, 32 * MIB, 1);
	int64_t pages = back_up_in_shortage(&known, 5000);
	struct lab_gpu_info info = gpu_info(&known.bo);

	lab_check(pages > 0 && (uint64_t)pages < known.pages, "partial", "%lld of %llu pages (%s)", (long long)pages,
		  (unsigned long long)known.pages, pages < 0 ? strerror(-pages) : "backed up");
	lab_check(info.backed_up_pages == (uint64_t)pages && info.resident_pages == known.pages - pages, "vector",
		  "%llu pages backed up, %llu in memory", (unsigned long long)info.backed_up_pages,
		  (unsigned long long)info.resident_pages);
	lab_metric("", "backed_up", pages > 0 ? pages : 0, "count");
	check_content(&known);
	known_free(&known);

	known = known_backup(fd, 32 * MIB, 2);
	pages = back_up_in_shortage(&known, 5000);
	lab_check(pages > 0 && (uint64_t)pages < known.pages, "partial-freed", "%lld of %llu pages",
		  (long long)pages, (unsigned long long)known.pages);
	known_free(&known); /* while it is partly backed up */
}

/* ---- no-swap ---------------------------------------------------------------------------------------- */

/* BACKUP must refuse with EBUSY and leave everything as it is. */
static inline void check_refused(const struct known *known, const char *name)
{
	int64_t pages = back_up(known, LAB_GPU_WRITEBACK);
	struct lab_gpu_info info = gpu_info(&known->bo);
	uint64_t wrong = known_wrong(known);

	lab_check(pages == -EBUSY && info.resident_pages == known->pages && !wrong, name,
		  "%s; %llu of %llu pages in memory, %llu not as written", pages < 0 ? strerror(-pages) : "done",
		  (unsigned long long)info.resident_pages, (unsigned long long)known->pages,
		  (unsigned long long)wrong);
}

/* Fill swap with memory of our own, which madvise() sends there; the mapping keeps it there. */
static inline char *fill_swap(size_t bytes)
{
	char *area = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (area == MAP_FAILED)
		return area;
	madvise(area, bytes, MADV_NOHUGEPAGE);
	for (size_t at = 0; at < bytes; at += LAB_PAGE)
		*(volatile uint64_t *)(area + at) = at + 1;
	for (int round = 0; round < 8 && free_swap(); round++)
		madvise(area, bytes, MADV_PAGEOUT);
	return area;
}

/* Disks: /dev/vda of 4 MiB, /dev/vdb of 64 MiB. */
static inline void scene_no_swap(int fd)
{
	struct known known = known_backup(fd, 16 * MIB, 1);
	char *filler;
	int64_t pages;

	check_refused(&known, "none");
	if (!check_swap_on("/dev/vda", 0))
		return;
	filler = fill_swap(8 * MIB);
	lab_check(!free_swap(), "filled", "%llu pages of swap are free", (unsigned long long)free_swap());
	check_refused(&known, "full");
	munmap(filler, 8 * MIB);
	swapoff("/dev/vda");

	if (!check_swap_on("/dev/vdb", 0))
		return;
	pages = back_up(&known, LAB_GPU_WRITEBACK);
	check_backed_up(&known, pages);
	push_out(fd, known.pages);
	pages = 64 * MIB / LAB_PAGE - 1 - (int64_t)free_swap();
	lab_check(pages > (int64_t)known.pages / 2, "swapped", "%lld pages in swap", (long long)pages);
	lab_check(!swapoff("/dev/vdb"), "taken-away", "swapoff with the BO in it: %s", strerror(errno));
	check_content(&known);
	known_free(&known);
}

/* ---- injected --------------------------------------------------------------------------------------- */

#define INJECT "/sys/kernel/debug/ttm/backup_fault_inject/"

/* `percent` of the places where TTM asks fail from now on. */
static inline bool inject(const char *percent)
{
	return write_text(INJECT "verbose", "0") && write_text(INJECT "times", "-1") &&
	       write_text(INJECT "interval", "1") && write_text(INJECT "probability", percent);
}

enum { INJECT_ROUNDS = 24 };

/* Restoring asks once a page: at 1 % a BO of 2048 pages is interrupted some 20 times before it is whole. */
static inline void scene_injected(int fd)
{
	struct known known = known_backup(fd, 8 * MIB, 1);
	uint64_t whole = 0, partial = 0, interrupted = 0, wrong = 0;

	if (!lab_check(inject("1"), "fault-injection", INJECT ": %s", strerror(errno)))
		return;
	for (int round = 0; round < INJECT_ROUNDS; round++) {
		int64_t pages, ret;

		inject(round % 2 ? "50" : "1"); /* at 50 %, in half of the rounds half of the pages are tried */
		pages = back_up(&known, round % 3 ? 0 : LAB_GPU_WRITEBACK);
		inject("1");
		whole += pages == (int64_t)known.pages;
		partial += pages > 0 && pages < (int64_t)known.pages;
		while ((ret = restore(&known)) == -EINTR)
			interrupted++;
		inject("0");
		if (ret < 0)
			lab_check(false, "restored", "round %d: %s", round, strerror(-ret));
		wrong += known_wrong(&known);
	}
	lab_check(whole && partial, "partial", "%llu backups were whole, %llu partial", (unsigned long long)whole,
		  (unsigned long long)partial);
	lab_check(interrupted, "interrupted", "%llu restores ended with EINTR and were begun again",
		  (unsigned long long)interrupted);
	lab_check(!wrong, "content", "%llu pages are not as written, after %d rounds", (unsigned long long)wrong,
		  INJECT_ROUNDS);
	lab_metric("", "partial", partial, "count");
	lab_metric("", "interrupted", interrupted, "count");
	known_free(&known);
}

#endif
