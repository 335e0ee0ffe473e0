// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * All ioctls of the test GPU at random from several threads at once, on the same BOs, while signals
 * interrupt them. What counts is the end: contents right, nothing left, a clean log. README.md has more.
 */
#include "content.h"
#include "dma_buf.h"
#include "options.h"
#include "page_walk.h"
#include "swap.h"

#include <getopt.h>
#include <glob.h>
#include <pthread.h>

enum { MAX_THREADS = 64, SLOTS = 24, OWN_FENCES = 4 };

/* A BO that all threads use: for writing the lock is held to replace it, for reading to use it. */
struct slot {
	pthread_rwlock_t lock;
	struct gpu_bo bo;  /* size 0: none */
	uint64_t seed;     /* of its content; a page holds zeroes or this */
};

struct worker {
	pthread_t thread;
	uint64_t random;
	uint32_t fence[OWN_FENCES]; /* 0: none */
};

static struct slot slots[SLOTS];
static struct worker workers[MAX_THREADS];
static int card, walker;
static unsigned int seconds = 10, threads = 8;
static uint64_t seed = 1;
static bool can_back_up;
static volatile bool stop;
static _Atomic uint64_t wrong_pages, wrong_errors, next_seed = 1;
static _Atomic int last_wrong;

/* ---- what the threads do -------------------------------------------------------------------------------- */

static uint64_t pick(struct worker *w, uint64_t choices)
{
	return next_random(&w->random) % choices;
}

/* Whether the driver did it. Refusals that lab_gpu.h names are part of the game; others are not. */
static bool did(int64_t ret, const int *refusals)
{
	if (ret >= 0)
		return true;
	for (; *refusals; refusals++)
		if (ret == -*refusals)
			return false;
	wrong_errors++;
	last_wrong = ret;
	return false;
}

/* Mostly small ones, so that much happens; some that huge entries fit into, and that fill the VRAM. */
static uint64_t pick_pages(struct worker *w)
{
	return 1 + pick(w, pick(w, 6) ? 64 : 2048);
}

static bool do_create(struct worker *w, struct slot *slot)
{
	static const int refusals[] = { ENOMEM, EBUSY, EINTR, 0 };
	struct lab_gpu_create how = {
		.size = pick_pages(w) * LAB_PAGE,
		.home = pick(w, 2),
		.caching = pick(w, 3),
		.order = pick(w, LAB_GPU_MAX_ORDER + 1),
		.flags = can_back_up ? pick(w, 2) * LAB_GPU_CREATE_BACKUP : 0,
	};
	bool done = false;

	pthread_rwlock_wrlock(&slot->lock);
	if (slot->bo.size)
		gpu_close(&slot->bo);
	slot->bo.size = 0;
	slot->seed = next_seed++;
	done = did(gpu_try_create(card, how, &slot->bo), refusals);
	if (!done)
		slot->bo.size = 0;
	pthread_rwlock_unlock(&slot->lock);
	return done;
}

static bool do_free(struct worker *w, struct slot *slot)
{
	bool any;

	(void)w;
	pthread_rwlock_wrlock(&slot->lock);
	any = slot->bo.size;
	if (any)
		gpu_close(&slot->bo);
	slot->bo.size = 0;
	pthread_rwlock_unlock(&slot->lock);
	return any;
}

/*
 * As gpu_map_at(), but the address space around the mapping is given back: what ten minutes leave of it keeps page
 * tables of 30 MiB and more in memory, which nobody but this workload has leaked.
 */
static char *map_alone(const struct gpu_bo *bo, uint64_t pages)
{
	const uint64_t align = 2 << 20, room = bo->size + 2 * align;
	const struct bo plain = { .fd = bo->fd, .size = bo->size, .offset = bo->offset };
	char *all = mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	char *at = (char *)(((uintptr_t)all + align - 1) & ~(align - 1)) + pages * LAB_PAGE;

	if (all == MAP_FAILED || bo_map(&plain, at) == MAP_FAILED)
		gpu_fail("mmap: %s", strerror(errno));
	if (at > all)
		munmap(all, at - all);
	munmap(at + bo->size, all + room - (at + bo->size));
	return at;
}

/* Read some pages, which are either untouched or as every writer leaves them, and write them. */
static void touch_some(struct worker *w, char *at, uint64_t pages, uint64_t content)
{
	uint64_t page = pick(w, pages);

	for (uint64_t left = pick(w, 64); left && page < pages; left--, page += 1 + pick(w, 16)) {
		uint64_t found = *word(at, page), wanted = token(page, content);

		wrong_pages += found && found != wanted;
		*word(at, page) = wanted;
	}
}

static bool do_touch(struct worker *w, struct slot *slot)
{
	char *at = map_alone(&slot->bo, pick(w, 2));

	touch_some(w, at, slot->bo.size / LAB_PAGE, slot->seed);
	page_walk(walker, at, slot->bo.size);
	return !munmap(at, slot->bo.size);
}

static bool do_move(struct worker *w, struct slot *slot, unsigned long request)
{
	static const int refusals[] = { EBUSY, EINVAL, EOPNOTSUPP, ENOMEM, EINTR, 0 };
	uint32_t flags = pick(w, 2) * LAB_GPU_NO_WAIT;

	if (request == DRM_IOCTL_LAB_GPU_BACKUP)
		flags |= pick(w, 2) * LAB_GPU_WRITEBACK;
	return did(gpu_try_move(&slot->bo, request, flags), refusals);
}

static bool do_evict(struct worker *w, struct slot *slot)
{
	return do_move(w, slot, DRM_IOCTL_LAB_GPU_EVICT);
}

static bool do_swapout(struct worker *w, struct slot *slot)
{
	return do_move(w, slot, DRM_IOCTL_LAB_GPU_SWAPOUT);
}

static bool do_backup(struct worker *w, struct slot *slot)
{
	return do_move(w, slot, DRM_IOCTL_LAB_GPU_BACKUP);
}

static bool do_restore(struct worker *w, struct slot *slot)
{
	return do_move(w, slot, DRM_IOCTL_LAB_GPU_RESTORE);
}

/* Signal the fence that is in the way, if any, and attach another one. */
static bool do_fence(struct worker *w, struct slot *slot)
{
	static const int refusals[] = { EINTR, ENOMEM, 0 }, signal_refusals[] = { ETIME, 0 };
	uint32_t *own = &w->fence[pick(w, OWN_FENCES)];
	int fence;

	if (*own)
		did(gpu_try_signal(card, *own), signal_refusals);
	*own = 0;
	fence = gpu_try_fence(&slot->bo, pick(w, 4), 1 + pick(w, 30));
	if (did(fence, refusals))
		*own = fence;
	return *own;
}

static bool do_info(struct worker *w, struct slot *slot)
{
	static const int refusals[] = { EINTR, 0 };
	struct lab_gpu_info info = { .handle = slot->bo.handle };

	(void)w;
	return did(gpu_ioctl(card, DRM_IOCTL_LAB_GPU_INFO, &info), refusals);
}

/* Export, map the dma-buf, import it again: into this file, and through another one. */
static bool do_share(struct worker *w, struct slot *slot)
{
	static const int refusals[] = { EINTR, ENOMEM, 0 };
	int buf = dma_buf_export(card, slot->bo.handle), other = gpu_open();
	uint32_t handle;
	char *at;
	bool done;

	if (!did(buf, refusals)) {
		close(other);
		return false;
	}
	done = did(dma_buf_import(other, buf, &handle), refusals);
	at = mmap(NULL, slot->bo.size, PROT_READ | PROT_WRITE, MAP_SHARED, buf, 0);
	if (at != MAP_FAILED) {
		touch_some(w, at, slot->bo.size / LAB_PAGE, slot->seed);
		munmap(at, slot->bo.size);
	}
	close(buf);
	close(other);
	return done && at != MAP_FAILED;
}

static bool do_parameter(struct worker *w, struct slot *slot)
{
	static const char *const windows[] = { "0", "1", "64", "512" };
	static const char *const huges[] = { "0", "1", "2" };
	static const int refusals[] = { EOPNOTSUPP, 0 };

	(void)slot;
	if (pick(w, 2))
		return did(gpu_try_parameter("prefault", windows[pick(w, 4)]), refusals);
	return did(gpu_try_parameter("huge", huges[pick(w, 3)]), refusals);
}

static struct action {
	const char *name;
	bool (*act)(struct worker *w, struct slot *slot);
	bool locks;    /* the slot, itself */
	uint32_t weight;
	_Atomic uint64_t done;
} actions[] = {
	{ "create", do_create, true, 6, 0 },
	{ "free", do_free, true, 2, 0 },
	{ "touch", do_touch, false, 10, 0 },
	{ "evict", do_evict, false, 6, 0 },
	{ "swapout", do_swapout, false, 6, 0 },
	{ "backup", do_backup, false, 6, 0 },
	{ "restore", do_restore, false, 6, 0 },
	{ "fence", do_fence, false, 3, 0 },
	{ "info", do_info, false, 2, 0 },
	{ "share", do_share, false, 2, 0 },
	{ "parameter", do_parameter, true, 1, 0 },
};
enum { ACTIONS = sizeof(actions) / sizeof(*actions) };

static struct action *pick_action(struct worker *w)
{
	uint64_t total = 0, at;
	int i = 0;

	for (int k = 0; k < ACTIONS; k++)
		total += actions[k].weight;
	for (at = pick(w, total); at >= actions[i].weight; i++)
		at -= actions[i].weight;
	return &actions[i];
}

static void *work(void *data)
{
	struct worker *w = data;

	while (!stop) {
		struct action *action = pick_action(w);
		struct slot *slot = &slots[pick(w, SLOTS)];

		if (action->locks) {
			action->done += action->act(w, slot);
			continue;
		}
		pthread_rwlock_rdlock(&slot->lock);
		if (slot->bo.size)
			action->done += action->act(w, slot);
		pthread_rwlock_unlock(&slot->lock);
	}
	return NULL;
}

/* ---- from beginning to end ------------------------------------------------------------------------------- */

static void on_signal(int number)
{
	(void)number;
}

/* Interrupt a thread every few milliseconds, until the time is over. */
static void run(void)
{
	struct sigaction action = { .sa_handler = on_signal }; /* no SA_RESTART: calls end with EINTR */
	struct worker own = { .random = seed };
	struct timespec start, now;

	sigaction(SIGUSR1, &action, NULL);
	for (unsigned int i = 0; i < threads; i++) {
		workers[i].random = seed * MAX_THREADS + i;
		pthread_create(&workers[i].thread, NULL, work, &workers[i]);
	}
	clock_gettime(CLOCK_MONOTONIC, &start);
	do {
		nanosleep(&(struct timespec){ .tv_nsec = 3 * 1000 * 1000 }, NULL);
		pthread_kill(workers[pick(&own, threads)].thread, SIGUSR1);
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while (now.tv_sec - start.tv_sec < seconds);
	stop = true;
	for (unsigned int i = 0; i < threads; i++)
		pthread_join(workers[i].thread, NULL);
}

static void write_word(const char *path, const char *word)
{
	FILE *file = fopen(path, "w");

	if (file) {
		fputs(word, file);
		fclose(file);
	}
}

/* KASAN keeps what was freed, up to 1/32 of memory, until the cache that it is of is shrunk. */
static void empty_quarantine(void)
{
	glob_t caches;

	if (!glob("/sys/kernel/slab/*/shrink", GLOB_NOSORT, NULL, &caches))
		for (size_t i = 0; i < caches.gl_pathc; i++)
			write_word(caches.gl_pathv[i], "1");
	globfree(&caches);
}

/* A line of /proc/meminfo, in pages. */
static int64_t meminfo(const char *name)
{
	FILE *file = fopen("/proc/meminfo", "r");
	long long kib = -1, found;
	char line[128], word[64];

	while (kib < 0 && file && fgets(line, sizeof(line), file))
		if (sscanf(line, "%63[^:]: %lld", word, &found) == 2 && !strcmp(word, name))
			kib = found;
	if (file)
		fclose(file);
	return kib / 4;
}

/*
 * TTM keeps pages for the next BO that is write-combined or uncached. Each reading gives back a few, also of those
 * that its totals do not count, so that only memory tells when there are none left.
 */
static void empty_pool(void)
{
	int64_t most = meminfo("MemFree");
	char line[128];

	for (int idle = 0; idle < 100; idle++) {
		FILE *file = fopen("/sys/kernel/debug/ttm/page_pool_shrink", "r");
		int64_t now;

		if (!file)
			return;
		while (fgets(line, sizeof(line), file))
			;
		fclose(file);
		now = meminfo("MemFree");
		if (now > most) {
			most = now;
			idle = 0;
		}
	}
}

/* Who has which memory, into the samples: where the kernel was booted with page_owner=on, it knows. */
static void keep_owners(void)
{
	FILE *from = fopen("/sys/kernel/debug/page_owner_stacks/show_stacks", "r"), *to = NULL;
	char path[256], line[512];

	if (from) {
		snprintf(path, sizeof(path), "%s/page-owners.txt", getenv("LAB_OUT"));
		to = fopen(path, "w");
	}
	while (to && fgets(line, sizeof(line), from))
		fputs(line, to);
	if (to)
		fclose(to);
	if (from)
		fclose(from);
}

/* What there is of memory, once caches have given back what they can; in pages. */
struct memory {
	int64_t free, slab;
};

static struct memory memory_now(void)
{
	for (int i = 0; i < 5; i++) {
		empty_pool();
		write_word("/proc/sys/vm/drop_caches", "3");
		empty_quarantine();
		nanosleep(&(struct timespec){ .tv_nsec = 100 * 1000 * 1000 }, NULL);
	}
	return (struct memory){ .free = meminfo("MemFree"), .slab = meminfo("Slab") };
}

static void check_end(struct memory before)
{
	static const char *const gauges[] = { "live_bos", "live_pages", "pending_fences" };
	const int64_t allowed = 2048; /* pages: per-CPU lists, slabs half filled, the stacks that KASAN remembers */
	struct memory after;
	uint64_t total = 0;
	int64_t lost;

	lab_check(!wrong_pages, "content", "%llu pages held what nobody wrote", (unsigned long long)wrong_pages);
	lab_check(!wrong_errors, "errors", "%llu that lab_gpu.h does not name, the last %s",
		  (unsigned long long)wrong_errors, wrong_errors ? strerror(-last_wrong) : "none");
	for (int i = 0; i < ACTIONS; i++) {
		char name[32];

		snprintf(name, sizeof(name), "did-%s", actions[i].name);
		if (!strcmp(actions[i].name, "backup") && !can_back_up)
			lab_skip(name, "this kernel has no backup of TTM pages");
		else
			lab_check(actions[i].done, name, "at least once");
		total += actions[i].done;
	}
	for (int i = 0; i < 3; i++) {
		int64_t left = gpu_await_zero(gauges[i], 20);

		lab_check(!left, gauges[i], "%lld left", (long long)left);
	}
	after = memory_now();
	lost = before.free - after.free;
	if (lost >= allowed)
		keep_owners();
	lab_check(lost < allowed, "memory", "%lld pages fewer are free, %lld more are slabs", (long long)lost,
		  (long long)(after.slab - before.slab));
	lab_metric("", "operations", total, "count");
	lab_metric("", "lost_pages", lost > 0 ? lost : 0, "count");
}

static void parse(int argc, char **argv)
{
	static const struct option table[] = {
		{ "seconds", required_argument, NULL, 's' }, { "threads", required_argument, NULL, 't' },
		{ "seed", required_argument, NULL, 'r' }, { 0 },
	};
	int key;

	while ((key = getopt_long(argc, argv, "", table, NULL)) != -1) {
		if (key == 's')
			seconds = lab_number("--seconds", optarg, 1, 3600);
		else if (key == 't')
			threads = lab_number("--threads", optarg, 1, MAX_THREADS);
		else if (key == 'r')
			seed = lab_number("--seed", optarg, 0, UINT32_MAX);
		else
			lab_usage("stress [--seconds N] [--threads N] [--seed N]");
	}
}

int main(int argc, char **argv)
{
	struct lab_gpu_create how = gpu_system(LAB_PAGE);
	struct memory before;
	struct gpu_bo probe;
	int64_t swap;

	parse(argc, argv);
	lab_start();
	before = memory_now();
	swap = lab_swap_on_zram("64M");
	lab_check(swap > 0, "swap", "%s", swap > 0 ? "zram" : strerror(-swap));
	card = gpu_open();
	walker = page_walk_open();
	if (walker < 0)
		return lab_finish();
	how.flags = LAB_GPU_CREATE_BACKUP;
	can_back_up = !gpu_try_create(card, how, &probe);
	if (can_back_up)
		gpu_close(&probe);
	for (int i = 0; i < SLOTS; i++)
		pthread_rwlock_init(&slots[i].lock, NULL);
	run();
	close(card);
	swap = lab_swap_off_zram();
	lab_check(!swap, "swapoff", "%s", swap ? strerror(-swap) : "nothing in it is needed any more");
	check_end(before);
	return lab_finish();
}
