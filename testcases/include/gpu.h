/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The test GPU (lab_gpu.h) for workloads: BOs with their mapping, parameters of the module, counters.
 * Functions that begin with gpu_try_ return 0 or -errno; the others end the workload where they fail,
 * because nothing that follows would mean anything.
 */
#ifndef FAULTLAB_GPU_H
#define FAULTLAB_GPU_H

#include "bo.h"
#include "lab_gpu.h"

#include <sys/mount.h>

#define GPU_PARAMETERS "/sys/module/lab_gpu/parameters/"
#define GPU_COUNTERS "/sys/kernel/debug/lab_gpu/counters"

/* A BO of the test GPU. */
struct gpu_bo {
	int fd;
	uint32_t handle;
	uint64_t size;   /* bytes */
	uint64_t offset; /* for mmap() on `fd` */
};

static inline _Noreturn LAB_PRINTF(1) void gpu_fail(const char *format, ...)
{
	char text[256];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	lab_check(false, "test-gpu", "%s", text);
	exit(lab_finish());
}

static inline int gpu_ioctl(int fd, unsigned long request, void *args)
{
	return ioctl(fd, request, args) ? -errno : 0;
}

/* The card of the test GPU, opened anew each time: handles and fences belong to the open file. */
static inline int gpu_open(void)
{
	char found[160];
	int fd = bo_open_driver(LAB_GPU_DRIVER, found, sizeof(found));

	if (fd < 0)
		gpu_fail("no card is driven by lab_gpu; %.100s", found);
	return fd;
}

static inline int gpu_try_create(int fd, struct lab_gpu_create how, struct gpu_bo *bo)
{
	struct lab_gpu_map map = { 0 };
	int ret = gpu_ioctl(fd, DRM_IOCTL_LAB_GPU_CREATE, &how);

	if (ret)
		return ret;
	map.handle = how.handle;
	ret = gpu_ioctl(fd, DRM_IOCTL_LAB_GPU_MAP, &map);
	*bo = (struct gpu_bo){ .fd = fd, .handle = how.handle, .size = how.size, .offset = map.offset };
	return ret;
}

static inline struct gpu_bo gpu_create(int fd, struct lab_gpu_create how)
{
	struct gpu_bo bo;
	int ret = gpu_try_create(fd, how, &bo);

	if (ret)
		gpu_fail("BO of %llu bytes: %s", (unsigned long long)how.size, strerror(-ret));
	return bo;
}

/* Of `size` bytes of cached system memory, in blocks as large as there are. */
static inline struct lab_gpu_create gpu_system(uint64_t size)
{
	return (struct lab_gpu_create){ .size = size, .home = LAB_GPU_SYSTEM, .order = LAB_GPU_MAX_ORDER };
}

static inline struct lab_gpu_create gpu_vram(uint64_t size)
{
	return (struct lab_gpu_create){ .size = size, .home = LAB_GPU_VRAM, .order = LAB_GPU_MAX_ORDER };
}

/* The memory goes with the last mapping and the last fence. */
static inline void gpu_close(const struct gpu_bo *bo)
{
	struct drm_gem_close gone = { .handle = bo->handle };

	ioctl(bo->fd, DRM_IOCTL_GEM_CLOSE, &gone);
}

/* A mapping of the whole BO, `pages` pages behind a multiple of 2 MiB. */
static inline char *gpu_map_at(const struct gpu_bo *bo, uint64_t pages)
{
	const struct bo plain = { .fd = bo->fd, .size = bo->size, .offset = bo->offset };
	char *at = bo_map_at(&plain, 2 << 20, pages);

	if (at == MAP_FAILED)
		gpu_fail("mmap: %s", strerror(errno));
	return at;
}

static inline char *gpu_map(const struct gpu_bo *bo)
{
	return gpu_map_at(bo, 0);
}

/* DRM_IOCTL_LAB_GPU_EVICT, SWAPOUT, BACKUP or RESTORE: pages, or -errno. */
static inline int64_t gpu_try_move(const struct gpu_bo *bo, unsigned long request, uint32_t flags)
{
	struct lab_gpu_move move = { .handle = bo->handle, .flags = flags };
	int ret = gpu_ioctl(bo->fd, request, &move);

	return ret ? ret : (int64_t)move.pages;
}

static inline struct lab_gpu_info gpu_info(const struct gpu_bo *bo)
{
	struct lab_gpu_info info = { .handle = bo->handle };
	int ret = gpu_ioctl(bo->fd, DRM_IOCTL_LAB_GPU_INFO, &info);

	if (ret)
		gpu_fail("info: %s", strerror(-ret));
	return info;
}

/* Attach a fence; its identity, or -errno. */
static inline int gpu_try_fence(const struct gpu_bo *bo, uint32_t usage, uint32_t timeout_ms)
{
	struct lab_gpu_fence_attach attach = { .handle = bo->handle, .usage = usage, .timeout_ms = timeout_ms };
	int ret = gpu_ioctl(bo->fd, DRM_IOCTL_LAB_GPU_FENCE_ATTACH, &attach);

	return ret ? ret : (int)attach.fence;
}

static inline int gpu_try_signal(int fd, uint32_t fence)
{
	struct lab_gpu_fence_signal signal = { .fence = fence };

	return gpu_ioctl(fd, DRM_IOCTL_LAB_GPU_FENCE_SIGNAL, &signal);
}

/* Set prefault, huge or defect from now on: 0, or -errno (EOPNOTSUPP: not on this kernel). */
static inline int gpu_try_parameter(const char *name, const char *value)
{
	char path[128];
	int fd, ret = 0;

	snprintf(path, sizeof(path), GPU_PARAMETERS "%s", name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write(fd, value, strlen(value)) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

static inline FILE *gpu_counters(void)
{
	FILE *file = fopen(GPU_COUNTERS, "r");

	if (!file && !mount("debugfs", "/sys/kernel/debug", "debugfs", 0, NULL))
		file = fopen(GPU_COUNTERS, "r");
	if (!file)
		gpu_fail("%s: %s", GPU_COUNTERS, strerror(errno));
	return file;
}

/* One of the driver's counters (lab_gpu_drv.h lists them). */
static inline int64_t gpu_counter(const char *name)
{
	FILE *file = gpu_counters();
	char found[64];
	long long value;

	while (fscanf(file, "%63s %lld", found, &value) == 2)
		if (!strcmp(found, name)) {
			fclose(file);
			return value;
		}
	gpu_fail("the driver has no counter %s", name);
}

/* Wait until a counter is 0, as freeing is deferred; what it is in the end. `seconds`: at most. */
static inline int64_t gpu_await_zero(const char *name, int seconds)
{
	struct timespec rest = { .tv_nsec = 20 * 1000 * 1000 };

	for (int i = 0; i < seconds * 50 && gpu_counter(name); i++)
		nanosleep(&rest, NULL);
	return gpu_counter(name);
}

#endif
