// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Does the test GPU do what lab_gpu.h says? One check or a few for each ioctl and parameter; what a
 * kernel cannot do must be refused as documented. With --each-defect: does it notice each defect that can
 * be planted into the driver?
 */
#include "content.h"
#include "dma_buf.h"
#include "options.h"
#include "page_walk.h"
#include "swap.h"
#include "vma.h"

#include <pthread.h>
#include <sys/utsname.h>
#include <sys/wait.h>

#define MIB (1UL << 20)
#define PAGES(bytes) ((unsigned long)((bytes) / LAB_PAGE))

static int card, walker;

static bool kernel_is_at_least(int major, int minor)
{
	struct utsname names;
	int here = 0, below = 0;

	uname(&names);
	sscanf(names.release, "%d.%d", &here, &below);
	return here > major || (here == major && below >= minor);
}

/* `name`: page by page as fill() wrote it */
static bool check_content(const char *name, char *at, uint64_t size, uint64_t seed)
{
	uint64_t right = filled(at, size, seed);

	return lab_check(right == PAGES(size), name, "%llu of %lu pages as written", (unsigned long long)right,
			 PAGES(size));
}

static bool check_ret(const char *name, int64_t ret, int64_t wanted)
{
	return lab_check(ret == wanted, name, "%lld (%s), %lld expected", (long long)ret,
			 ret < 0 ? strerror(-ret) : "ok", (long long)wanted);
}

/* ---- making BOs --------------------------------------------------------------------------------------- */

static void test_arguments(void)
{
	struct lab_gpu_create bad[] = {
		{ .size = 0 }, { .size = 100 }, { .size = LAB_PAGE, .home = 2 }, { .size = LAB_PAGE, .caching = 3 },
		{ .size = LAB_PAGE, .order = 11 }, { .size = LAB_PAGE, .flags = 2 }, { .size = LAB_PAGE, .pad = 1 },
	};
	struct gpu_bo bo = { .fd = card, .handle = 12345 };
	int refused = 0, count = sizeof(bad) / sizeof(*bad);

	for (int i = 0; i < count; i++)
		refused += gpu_try_create(card, bad[i], &bo) == -EINVAL;
	lab_check(refused == count, "create-refuses", "%d of %d wrong arguments", refused, count);
	bo = (struct gpu_bo){ .fd = card, .handle = 12345 };
	check_ret("no-handle", gpu_try_move(&bo, DRM_IOCTL_LAB_GPU_EVICT, 0), -ENOENT);
	check_ret("no-fence", gpu_try_signal(card, 99), -ENOENT);
}

static void test_create(void)
{
	struct gpu_bo bo = gpu_create(card, gpu_system(4 * MIB));
	struct lab_gpu_info info = gpu_info(&bo);
	char *at = gpu_map(&bo);
	uint64_t zero;

	lab_check(info.pages == 1024 && !info.resident_pages && !info.state && info.place == LAB_GPU_IN_SYSTEM,
		  "create", "%llu pages, %llu resident, state %#x", (unsigned long long)info.pages,
		  (unsigned long long)info.resident_pages, info.state);
	zero = zeroed(at, bo.size);
	lab_check(zero == 1024, "zeroed", "%llu of 1024 pages", (unsigned long long)zero);
	fill(at, bo.size, 1);
	check_content("content", at, bo.size, 1);
	info = gpu_info(&bo);
	lab_check(info.resident_pages == 1024 && info.state == LAB_GPU_POPULATED, "resident",
		  "%llu of 1024 pages, state %#x", (unsigned long long)info.resident_pages, info.state);
	munmap(at, bo.size);
	gpu_close(&bo);
}

static void test_dumb(void)
{
	struct bo bo = { 0 };
	char *at;

	if (!lab_check(!bo_make_dumb(card, MIB, &bo), "dumb", "%llu bytes",
		       (unsigned long long)bo.size))
		return;
	at = bo_map(&bo, NULL);
	fill(at, MIB, 2);
	check_content("dumb-content", at, MIB, 2);
	munmap(at, MIB);
	bo_free(&bo);
}

static void test_order(uint32_t order)
{
	struct lab_gpu_create how = gpu_system(4 * MIB);
	uint64_t pages = 0, above = 0;
	struct lab_gpu_info info;
	struct gpu_bo bo;
	char name[32];

	how.order = order;
	bo = gpu_create(card, how);
	gpu_try_move(&bo, DRM_IOCTL_LAB_GPU_RESTORE, 0);
	info = gpu_info(&bo);
	for (uint32_t i = 0; i <= LAB_GPU_MAX_ORDER; i++) {
		pages += (uint64_t)info.blocks[i] << i;
		above += i > order ? info.blocks[i] : 0;
	}
	snprintf(name, sizeof(name), "order-%u", order);
	lab_check(pages == 1024 && !above && info.blocks[order], name, "%u blocks of this order, %llu larger, %llu pages",
		  info.blocks[order], (unsigned long long)above, (unsigned long long)pages);
	if (order == 9)
		lab_check(info.huge_spans == 2, "huge-spans", "%llu of 2", (unsigned long long)info.huge_spans);
	gpu_close(&bo);
}

static void test_caching(uint32_t caching, const char *name)
{
	struct lab_gpu_create how = gpu_system(MIB);
	struct gpu_bo bo;
	char *at;

	how.caching = caching;
	bo = gpu_create(card, how);
	at = gpu_map(&bo);
	fill(at, bo.size, 3);
	gpu_try_move(&bo, DRM_IOCTL_LAB_GPU_EVICT, 0);
	check_content(name, at, bo.size, 3);
	munmap(at, bo.size);
	gpu_close(&bo);
}

/* ---- moving them -------------------------------------------------------------------------------------- */

static void test_vram(void)
{
	struct gpu_bo bo = gpu_create(card, gpu_vram(4 * MIB));
	struct lab_gpu_info info = gpu_info(&bo);
	char *at = gpu_map(&bo);
	struct page_walk walk;

	lab_check(info.place == LAB_GPU_IN_VRAM && info.vram_offset % (2 * MIB) == 0 && info.huge_spans == 2, "vram",
		  "at %llu, %llu spans of 2 MiB", (unsigned long long)info.vram_offset,
		  (unsigned long long)info.huge_spans);
	lab_check(zeroed(at, bo.size) == 1024, "vram-zeroed", "all 1024 pages");
	fill(at, bo.size, 4);
	check_ret("swapout-of-vram", gpu_try_move(&bo, DRM_IOCTL_LAB_GPU_SWAPOUT, 0), -EINVAL);
	check_ret("evict", gpu_try_move(&bo, DRM_IOCTL_LAB_GPU_EVICT, 0), 1024);
	walk = page_walk(walker, at, bo.size);
	lab_check(walk.none == 1024, "evict-zapped", "%llu of 1024 pages not mapped",
		  (unsigned long long)walk.none);
	lab_check(gpu_info(&bo).place == LAB_GPU_IN_SYSTEM, "evicted", "it is in system memory");
	check_content("evict-content", at, bo.size, 4);
	fill(at, bo.size, 5);
	check_ret("restore", gpu_try_move(&bo, DRM_IOCTL_LAB_GPU_RESTORE, 0), 1024);
	lab_check(gpu_info(&bo).place == LAB_GPU_IN_VRAM, "restored", "it is in VRAM");
	check_content("restore-content", at, bo.size, 5);
	munmap(at, bo.size);
	gpu_close(&bo);
}

/* More BOs than there is VRAM: TTM evicts others by itself. */
static void test_vram_full(void)
{
	enum { COUNT = 10 };
	struct gpu_bo bo[COUNT];
	char *at[COUNT];
	uint64_t right = 0, evictions = gpu_counter("evictions");

	for (int i = 0; i < COUNT; i++) {
		bo[i] = gpu_create(card, gpu_vram(8 * MIB));
		at[i] = gpu_map(&bo[i]);
		*word(at[i], i) = token(i, 6);
	}
	for (int i = 0; i < COUNT; i++) {
		right += *word(at[i], i) == token(i, 6);
		munmap(at[i], bo[i].size);
		gpu_close(&bo[i]);
	}
	evictions = gpu_counter("evictions") - evictions;
	lab_check(right == COUNT && evictions >= 2, "vram-full", "%llu of %d BOs as written, %llu evicted",
		  (unsigned long long)right, COUNT, (unsigned long long)evictions);
}

static void test_zap(void)
{
	struct gpu_bo bo = gpu_create(card, gpu_system(MIB));
	char *at = gpu_map(&bo), words[48];
	struct vma_flags flags;
	struct page_walk walk;

	fill(at, bo.size, 7);
	walk = page_walk(walker, at, bo.size);
	lab_check(walk.pte == 256 && walk.special_pte == 256 && walk.writable == 256 && !walk.none, "walk",
		  "%llu entries, %llu special, %llu writable", (unsigned long long)walk.pte,
		  (unsigned long long)walk.special_pte, (unsigned long long)walk.writable);
	flags = vma_flags_at(at);
	lab_check(flags.pfnmap && flags.io, "vma", "%s", vma_words(&flags, words, sizeof(words)));
	check_ret("zap", gpu_try_move(&bo, DRM_IOCTL_LAB_GPU_EVICT, 0), 0);
	walk = page_walk(walker, at, bo.size);
	lab_check(walk.none == 256, "zapped", "%llu of 256 pages not mapped", (unsigned long long)walk.none);
	check_content("zap-content", at, bo.size, 7);
	munmap(at, bo.size);
	gpu_close(&bo);
}

static void test_swapout(void)
{
	struct gpu_bo bo = gpu_create(card, gpu_system(4 * MIB)), other = gpu_create(card, gpu_system(MIB));
	char *at = gpu_map(&bo), *beside = gpu_map(&other);
	struct lab_gpu_info info;

	fill(beside, other.size, 8);
	check_ret("swapout-of-nothing", gpu_try_move(&bo, DRM_IOCTL_LAB_GPU_SWAPOUT, 0), 0);
	fill(at, bo.size, 9);
	check_ret("swapout", gpu_try_move(&bo, DRM_IOCTL_LAB_GPU_SWAPOUT, 0), 1024);
	info = gpu_info(&bo);
	lab_check(info.state == LAB_GPU_SWAPPED && !info.resident_pages, "swapped", "state %#x, %llu pages resident",
		  info.state, (unsigned long long)info.resident_pages);
	info = gpu_info(&other);
	lab_check(info.resident_pages == 256, "swapout-alone", "%llu of 256 pages of another BO are resident",
		  (unsigned long long)info.resident_pages);
	check_content("swapin-content", at, bo.size, 9);
	check_ret("swapout-again", gpu_try_move(&bo, DRM_IOCTL_LAB_GPU_SWAPOUT, 0), 1024);
	check_ret("swapin", gpu_try_move(&bo, DRM_IOCTL_LAB_GPU_RESTORE, 0), 1024);
	check_content("swapin-restored", at, bo.size, 9);
	check_ret("backup-refused", gpu_try_move(&bo, DRM_IOCTL_LAB_GPU_BACKUP, 0), -EOPNOTSUPP);
	munmap(at, bo.size);
	munmap(beside, other.size);
	gpu_close(&bo);
	gpu_close(&other);
}

static void backup_of(struct lab_gpu_create how)
{
	struct gpu_bo bo = gpu_create(card, how);
	char *at = gpu_map(&bo);
	struct lab_gpu_info info;
	int64_t pages;

	fill(at, bo.size, 10);
	check_ret("backup-without-swap", gpu_try_move(&bo, DRM_IOCTL_LAB_GPU_BACKUP, 0), -EBUSY);
	pages = lab_swap_on_zram("64M");
	if (!lab_check(pages > 0, "swap", "zram: %lld pages or errno", (long long)pages))
		return;
	check_ret("backup", gpu_try_move(&bo, DRM_IOCTL_LAB_GPU_BACKUP, LAB_GPU_WRITEBACK), 1024);
	info = gpu_info(&bo);
	lab_check(info.backed_up_pages == 1024 && !info.resident_pages && info.state == LAB_GPU_BACKED_UP, "backed-up",
		  "%llu pages, %llu resident, state %#x", (unsigned long long)info.backed_up_pages,
		  (unsigned long long)info.resident_pages, info.state);
	check_ret("backup-twice", gpu_try_move(&bo, DRM_IOCTL_LAB_GPU_BACKUP, 0), 0);
	check_content("backup-fault", at, bo.size, 10);
	check_ret("backup-again", gpu_try_move(&bo, DRM_IOCTL_LAB_GPU_BACKUP, 0), 1024);
	check_ret("backup-restore", gpu_try_move(&bo, DRM_IOCTL_LAB_GPU_RESTORE, 0), 1024);
	check_content("backup-content", at, bo.size, 10);
	check_ret("swapout-refused", gpu_try_move(&bo, DRM_IOCTL_LAB_GPU_SWAPOUT, 0), -EOPNOTSUPP);
	munmap(at, bo.size);
	gpu_close(&bo);

	how.home = LAB_GPU_VRAM;
	bo = gpu_create(card, how);
	at = gpu_map(&bo);
	fill(at, bo.size, 11);
	check_ret("backup-of-vram", gpu_try_move(&bo, DRM_IOCTL_LAB_GPU_BACKUP, 0), 1024);
	check_ret("back-to-vram", gpu_try_move(&bo, DRM_IOCTL_LAB_GPU_RESTORE, 0), 1024);
	check_content("vram-backup-content", at, bo.size, 11);
	munmap(at, bo.size);
	gpu_close(&bo);
	lab_check(!swapoff("/dev/zram0"), "swapoff", "nothing in it is needed any more");
}

static void test_backup(void)
{
	struct lab_gpu_create how = gpu_system(4 * MIB);
	struct gpu_bo bo;

	how.flags = LAB_GPU_CREATE_BACKUP;
	if (kernel_is_at_least(6, 15))
		backup_of(how);
	else
		check_ret("backup", gpu_try_create(card, how, &bo), -EOPNOTSUPP);
}

/* ---- fences ------------------------------------------------------------------------------------------- */

struct toucher {
	char *at;
	volatile bool done;
};

static void *touch_one(void *data)
{
	struct toucher *toucher = data;

	*word(toucher->at, 0) = 1;
	toucher->done = true;
	return NULL;
}

static void rest_ms(long ms)
{
	nanosleep(&(struct timespec){ .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 }, NULL);
}

static void test_fence(void)
{
	struct gpu_bo bo = gpu_create(card, gpu_vram(MIB));
	struct toucher toucher = { .at = gpu_map(&bo) };
	int fence = gpu_try_fence(&bo, LAB_GPU_FENCE_KERNEL, 0);
	pthread_t thread;

	lab_check(fence > 0, "fence", "%d", fence);
	lab_check(gpu_info(&bo).state & LAB_GPU_BUSY, "fence-busy", "state %#x", gpu_info(&bo).state);
	check_ret("evict-busy", gpu_try_move(&bo, DRM_IOCTL_LAB_GPU_EVICT, LAB_GPU_NO_WAIT), -EBUSY);
	pthread_create(&thread, NULL, touch_one, &toucher);
	rest_ms(100);
	lab_check(!toucher.done, "fault-waits", "the touch %s", toucher.done ? "came through" : "waits");
	check_ret("signal", gpu_try_signal(card, fence), 0);
	pthread_join(thread, NULL);
	lab_check(toucher.done, "fault-goes-on", "after the signal");
	check_ret("evict-idle", gpu_try_move(&bo, DRM_IOCTL_LAB_GPU_EVICT, LAB_GPU_NO_WAIT), 256);
	check_ret("signal-twice", gpu_try_signal(card, fence), -ENOENT);

	fence = gpu_try_fence(&bo, LAB_GPU_FENCE_BOOKKEEP, 20);
	rest_ms(200);
	check_ret("fence-times-out", gpu_try_signal(card, fence), -ETIME);
	munmap(toucher.at, bo.size);
	gpu_close(&bo);
}

/* A BO that is freed while busy goes when its fence does: here, when the file is closed. */
static void test_fence_at_close(void)
{
	int own = gpu_open();
	struct gpu_bo bo = gpu_create(own, gpu_system(MIB));
	int64_t live = gpu_counter("live_bos"), busy;

	gpu_try_move(&bo, DRM_IOCTL_LAB_GPU_RESTORE, 0);
	gpu_try_fence(&bo, LAB_GPU_FENCE_WRITE, LAB_GPU_FENCE_MAX_MS);
	gpu_close(&bo);
	rest_ms(50);
	busy = gpu_counter("live_bos");
	close(own);
	for (int i = 0; i < 100 && gpu_counter("live_bos") >= live; i++)
		rest_ms(20);
	lab_check(busy == live && gpu_counter("live_bos") == live - 1, "freed-while-busy",
		  "%lld BOs of %lld while busy, then %lld", (long long)busy, (long long)live,
		  (long long)gpu_counter("live_bos"));
}

/* ---- mapping ------------------------------------------------------------------------------------------ */

static void test_prefault(const char *window, uint64_t pages)
{
	struct gpu_bo bo = gpu_create(card, gpu_system(4 * MIB));
	int64_t faults = gpu_counter("faults");
	struct page_walk walk;
	char name[32], *at;

	gpu_try_parameter("prefault", window);
	at = gpu_map(&bo);
	*word(at, 0) = 1;
	walk = page_walk(walker, at, bo.size);
	faults = gpu_counter("faults") - faults;
	snprintf(name, sizeof(name), "prefault-%s", window);
	if (pages)
		lab_check(walk.pte == pages && faults == 1, name, "%llu pages by %lld faults", (unsigned long long)walk.pte,
			  (long long)faults);
	else /* how many is TTM's decision, and what series change */
		lab_check(walk.pte && !faults, name, "TTM mapped %llu pages, the driver %lld",
			  (unsigned long long)walk.pte, (long long)faults);
	gpu_try_parameter("prefault", "0");
	munmap(at, bo.size);
	gpu_close(&bo);
}

static void huge_of(struct lab_gpu_create how, const char *name, uint64_t offset, uint64_t huge, bool special)
{
	struct gpu_bo bo = gpu_create(card, how);
	char *at = gpu_map_at(&bo, offset), content[48];
	struct page_walk walk;

	fill(at, bo.size, 12);
	walk = page_walk(walker, at, bo.size);
	lab_check(walk.pmd == huge && walk.special_pmd == (special ? huge : 0) &&
		  walk.pmd * 512 + walk.pte + walk.none == PAGES(bo.size),
		  name, "%llu PMDs, %llu special, %llu PTEs", (unsigned long long)walk.pmd,
		  (unsigned long long)walk.special_pmd, (unsigned long long)walk.pte);
	gpu_try_move(&bo, DRM_IOCTL_LAB_GPU_EVICT, 0);
	snprintf(content, sizeof(content), "%s-content", name);
	check_content(content, at, bo.size, 12);
	munmap(at, bo.size);
	gpu_close(&bo);
}

static void test_huge(void)
{
	bool special = kernel_is_at_least(6, 12);
	struct lab_gpu_create wc = gpu_system(4 * MIB);

	wc.caching = LAB_GPU_WC;
	check_ret("huge-refused", gpu_try_parameter("huge", special ? "2" : "1"), -EOPNOTSUPP);
	if (!check_ret("huge", gpu_try_parameter("huge", special ? "1" : "2"), 0))
		return;
	huge_of(gpu_system(4 * MIB), "huge-system", 0, 2, special);
	huge_of(wc, "huge-wc", 0, 2, special);
	huge_of(gpu_vram(4 * MIB), "huge-vram", 0, 2, special);
	huge_of(gpu_system(4 * MIB), "huge-misaligned", 1, 0, special);
	gpu_try_parameter("huge", "0");
}

/* ---- dma-bufs ----------------------------------------------------------------------------------------- */

static void test_export(void)
{
	struct gpu_bo bo = gpu_create(card, gpu_vram(MIB));
	char *at = gpu_map(&bo), *shared;
	int buf = dma_buf_export(card, bo.handle);
	uint32_t handle = 0;

	fill(at, bo.size, 13);
	if (!lab_check(buf >= 0, "export", "%s", buf < 0 ? strerror(-buf) : "a dma-buf"))
		return;
	shared = mmap(NULL, bo.size, PROT_READ | PROT_WRITE, MAP_SHARED, buf, 0);
	if (lab_check(shared != MAP_FAILED, "export-mmap", "%s", shared == MAP_FAILED ? strerror(errno) : "mapped")) {
		check_content("export-content", shared, bo.size, 13);
		gpu_try_move(&bo, DRM_IOCTL_LAB_GPU_EVICT, 0);
		lab_check(page_walk(walker, shared, bo.size).none == 256, "export-zapped", "with the BO's own mappings");
		munmap(shared, bo.size);
	}
	lab_check(!dma_buf_import(card, buf, &handle) && handle == bo.handle, "import-own", "the same handle");
	close(buf);
	munmap(at, bo.size);
	gpu_close(&bo);
}

/* vgem imports it, which pins it in system memory. */
static void test_pin(void)
{
	char found[160];
	int vgem = bo_open_driver("vgem", found, sizeof(found)), buf;
	struct gpu_bo bo;
	uint32_t handle = 0;
	int64_t ret;

	if (vgem < 0) {
		lab_skip("pin", "no vgem to import it");
		return;
	}
	bo = gpu_create(card, gpu_vram(MIB));
	buf = dma_buf_export(card, bo.handle);
	ret = dma_buf_import(vgem, buf, &handle);
	if (check_ret("imported-by-vgem", ret, 0)) {
		struct lab_gpu_info info = gpu_info(&bo);
		struct drm_gem_close gone = { .handle = handle };

		lab_check(info.state == (LAB_GPU_PINNED | LAB_GPU_POPULATED) && info.place == LAB_GPU_IN_SYSTEM, "pin",
			  "state %#x", info.state);
		check_ret("evict-pinned", gpu_try_move(&bo, DRM_IOCTL_LAB_GPU_EVICT, 0), -EBUSY);
		ioctl(vgem, DRM_IOCTL_GEM_CLOSE, &gone);
		lab_check(!(gpu_info(&bo).state & LAB_GPU_PINNED), "unpin", "vgem has closed it");
	}
	close(buf);
	close(vgem);
	gpu_close(&bo);
}

/* A dma-buf of vgem: mapped by its exporter, not moved by us. */
static void test_import(void)
{
	char found[160], *at, *theirs;
	int vgem = bo_open_driver("vgem", found, sizeof(found)), buf;
	struct gpu_bo bo = { .fd = card, .size = MIB };
	struct lab_gpu_map map = { 0 };
	struct bo dumb;

	if (vgem < 0 || bo_make_dumb(vgem, MIB, &dumb)) {
		lab_skip("import", "no dumb buffer of vgem to import");
		return;
	}
	theirs = bo_map(&dumb, NULL);
	fill(theirs, MIB, 14);
	buf = dma_buf_export(vgem, dumb.handle);
	if (check_ret("import", dma_buf_import(card, buf, &bo.handle), 0)) {
		lab_check(gpu_info(&bo).state & LAB_GPU_IMPORTED, "imported", "state %#x", gpu_info(&bo).state);
		check_ret("evict-imported", gpu_try_move(&bo, DRM_IOCTL_LAB_GPU_EVICT, 0), -EOPNOTSUPP);
		map.handle = bo.handle;
		gpu_ioctl(card, DRM_IOCTL_LAB_GPU_MAP, &map);
		bo.offset = map.offset;
		at = gpu_map(&bo);
		check_content("import-content", at, MIB, 14);
		munmap(at, MIB);
		gpu_close(&bo);
	}
	munmap(theirs, MIB);
	close(buf);
	close(vgem);
}

/* ---- the end ------------------------------------------------------------------------------------------ */

static void test_end(void)
{
	static const char *const gauges[] = { "live_bos", "live_pages", "pending_fences" };

	close(card);
	for (int i = 0; i < 3; i++) {
		int64_t left = gpu_await_zero(gauges[i], 5);

		lab_check(!left, gauges[i], "%lld left", (long long)left);
	}
}

static int selftest(void)
{
	card = gpu_open();
	walker = page_walk_open();
	if (walker < 0)
		return lab_finish();
	lab_check(true, "driver", "lab_gpu");
	test_arguments();
	test_create();
	test_dumb();
	test_order(0);
	test_order(3);
	test_order(9);
	test_caching(LAB_GPU_WC, "write-combined");
	test_caching(LAB_GPU_UNCACHED, "uncached");
	test_vram();
	test_vram_full();
	test_zap();
	test_swapout();
	test_backup();
	test_fence();
	test_fence_at_close();
	test_prefault("0", 0);
	test_prefault("1", 1);
	test_prefault("100", 100);
	test_huge();
	test_export();
	test_pin();
	test_import();
	test_end();
	return lab_finish();
}

/* ---- the test of the test ------------------------------------------------------------------------------ */

static const struct {
	const char *name, *check;
} defects[] = {
	{ "corrupt-restore", "swapin-content" },
	{ "no-zap-on-evict", "zapped" },
	{ "prefault-ignored", "prefault-100" },
	{ "order-ignored", "order-0" },
	{ "fence-early", "fault-waits" },
	{ "leak", "live_pages" }, /* last: the counters stay wrong */
};

/* Whether a report says "not ok NUMBER check". */
static bool has_failed(FILE *report, const char *check)
{
	char line[512], found[64];

	while (fgets(line, sizeof(line), report))
		if (sscanf(line, "not ok %*d %63s", found) == 1 && !strcmp(found, check))
			return true;
	return false;
}

/* The whole selftest in a process of its own, with the defect, its report in a file. */
static void check_defect(const char *defect, const char *check)
{
	FILE *report = fdopen(memfd_create("report", 0), "r");
	int status = -1, planted = gpu_try_parameter("defect", defect);
	pid_t child = fork();

	if (!child) {
		dup2(fileno(report), STDOUT_FILENO);
		exit(selftest());
	}
	waitpid(child, &status, 0);
	gpu_try_parameter("defect", "none");
	rewind(report);
	lab_check(!planted && WIFEXITED(status) && WEXITSTATUS(status) == LAB_FAIL && has_failed(report, check), defect,
		  "status %#x; the check that is to fail: %s", status, check);
	fclose(report);
}

int main(int argc, char **argv)
{
	lab_start();
	if (argc == 1)
		return selftest();
	if (argc > 2 || strcmp(argv[1], "--each-defect"))
		lab_usage("selftest [--each-defect]");
	for (size_t i = 0; i < sizeof(defects) / sizeof(*defects); i++)
		check_defect(defects[i].name, defects[i].check);
	return lab_finish();
}
