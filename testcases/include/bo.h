/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Buffer objects (BOs) of DRM drivers, without libdrm: find a device by its driver, make a BO, map it.
 *
 * The few structures and numbers of the kernel's uAPI are written out here, so that a workload builds
 * with nothing but a C library. They never change: that is what uAPI means.
 */
#ifndef FAULTLAB_BO_H
#define FAULTLAB_BO_H

#include "faultlab.h"

#include <fcntl.h>
#include <sys/ioctl.h>

/* include/uapi/drm/drm.h */
struct drm_version {
	int major, minor, patchlevel;
	size_t name_len;
	char *name;
	size_t date_len;
	char *date;
	size_t desc_len;
	char *desc;
};

/* include/uapi/drm/drm_mode.h */
struct drm_mode_create_dumb {
	uint32_t height, width, bpp, flags;
	uint32_t handle, pitch; /* returned, as is `size` */
	uint64_t size;
};

struct drm_mode_map_dumb {
	uint32_t handle, pad;
	uint64_t offset; /* returned */
};

/* include/uapi/drm/drm.h */
struct drm_gem_close {
	uint32_t handle, pad;
};

/* include/uapi/drm/qxl_drm.h */
struct drm_qxl_alloc {
	uint32_t size;
	uint32_t handle; /* returned */
};

struct drm_qxl_map {
	uint64_t offset; /* returned */
	uint32_t handle, pad;
};

#define DRM_IOCTL_VERSION _IOWR('d', 0x00, struct drm_version)
#define DRM_IOCTL_GEM_CLOSE _IOW('d', 0x09, struct drm_gem_close)
#define DRM_IOCTL_QXL_ALLOC _IOWR('d', 0x40, struct drm_qxl_alloc)
#define DRM_IOCTL_QXL_MAP _IOWR('d', 0x41, struct drm_qxl_map)
#define DRM_IOCTL_MODE_CREATE_DUMB _IOWR('d', 0xb2, struct drm_mode_create_dumb)
#define DRM_IOCTL_MODE_MAP_DUMB _IOWR('d', 0xb3, struct drm_mode_map_dumb)

enum { BO_MAX_CARDS = 16 };

enum bo_kind {
	BO_DUMB,     /* what the driver gives a compositor; qxl from 6.1: system memory of TTM */
	BO_QXL_VRAM, /* always the device's memory, mapped as iomem */
	BO_MEMFD,    /* no driver: plain shmem pages, as a control */
};

struct bo {
	int fd;
	uint64_t size;   /* bytes, as made: may be more than was asked */
	uint64_t offset; /* for mmap() on `fd` */
	uint32_t handle; /* of GEM; 0: none */
};

/*
 * Open the first card whose driver has that name; -1 if none has. `found` gets the path of the card,
 * or the names of the drivers that are there.
 */
static inline int bo_open_driver(const char *driver, char *found, size_t room)
{
	char seen[128] = "";

	for (int card = 0; card < BO_MAX_CARDS; card++) {
		char name[64] = "", path[32];
		struct drm_version version = { .name = name, .name_len = sizeof(name) - 1 };
		int fd;

		snprintf(path, sizeof(path), "/dev/dri/card%d", card);
		fd = open(path, O_RDWR | O_CLOEXEC);
		if (fd < 0)
			continue;
		if (!ioctl(fd, DRM_IOCTL_VERSION, &version) && !strcmp(name, driver)) {
			snprintf(found, room, "%s", path);
			return fd;
		}
		close(fd);
		snprintf(seen + strlen(seen), sizeof(seen) - strlen(seen), " %s", name);
	}
	snprintf(found, room, "drivers here:%s", *seen ? seen : " none");
	return -1;
}

/* Rows of 4 KiB (1024 pixels of 32 bits): no driver rounds that up, so any whole number of pages is exact. */
static inline int bo_make_dumb(int fd, uint64_t size, struct bo *bo)
{
	struct drm_mode_create_dumb made = { .width = 1024, .height = size / LAB_PAGE, .bpp = 32 };
	struct drm_mode_map_dumb map = { 0 };

	if (ioctl(fd, DRM_IOCTL_MODE_CREATE_DUMB, &made))
		return -1;
	map.handle = made.handle;
	if (ioctl(fd, DRM_IOCTL_MODE_MAP_DUMB, &map))
		return -1;
	*bo = (struct bo){ .fd = fd, .size = made.size, .offset = map.offset, .handle = made.handle };
	return 0;
}

static inline int bo_make_qxl_vram(int fd, uint64_t size, struct bo *bo)
{
	struct drm_qxl_alloc made = { .size = size };
	struct drm_qxl_map map = { 0 };

	if (size > UINT32_MAX) {
		errno = EFBIG;
		return -1;
	}
	if (ioctl(fd, DRM_IOCTL_QXL_ALLOC, &made))
		return -1;
	map.handle = made.handle;
	if (ioctl(fd, DRM_IOCTL_QXL_MAP, &map))
		return -1;
	*bo = (struct bo){ .fd = fd, .size = size, .offset = map.offset, .handle = made.handle };
	return 0;
}

static inline int bo_make_memfd(uint64_t size, struct bo *bo)
{
	int fd = memfd_create("bo", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, size))
		return -1;
	*bo = (struct bo){ .fd = fd, .size = size };
	return 0;
}

/* Make a BO of `size` bytes, whole pages; -1 and errno if the driver does not. */
static inline int bo_make(enum bo_kind kind, int fd, uint64_t size, struct bo *bo)
{
	switch (kind) {
	case BO_DUMB:
		return bo_make_dumb(fd, size, bo);
	case BO_QXL_VRAM:
		return bo_make_qxl_vram(fd, size, bo);
	case BO_MEMFD:
		return bo_make_memfd(size, bo);
	}
	errno = EINVAL;
	return -1;
}

/* Give the handle back; the memory goes with the last mapping. A memfd is closed. */
static inline int bo_free(const struct bo *bo)
{
	struct drm_gem_close gone = { .handle = bo->handle };

	return bo->handle ? ioctl(bo->fd, DRM_IOCTL_GEM_CLOSE, &gone) : close(bo->fd);
}

/* Map the whole BO at `address`, replacing what is there, or anywhere (NULL); as mmap() if it fails. */
static inline char *bo_map(const struct bo *bo, char *address)
{
	return mmap(address, bo->size, PROT_READ | PROT_WRITE, MAP_SHARED | (address ? MAP_FIXED : 0), bo->fd,
		    bo->offset);
}

/*
 * Address space for `size` bytes, `pages` pages behind a multiple of `align` (a power of two), so that no version
 * of the kernel's own placement has a say; MAP_FAILED if there is none.
 */
static inline char *bo_reserve(uint64_t size, uint64_t align, uint64_t pages)
{
	uint64_t room = size + 2 * align + pages * LAB_PAGE;
	char *reserved = mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uintptr_t aligned;

	if (reserved == MAP_FAILED)
		return MAP_FAILED;
	aligned = ((uintptr_t)reserved + align - 1) & ~(align - 1);
	return (char *)aligned + pages * LAB_PAGE;
}

/* Map the BO `pages` pages behind a multiple of `align`. */
static inline char *bo_map_at(const struct bo *bo, uint64_t align, uint64_t pages)
{
	char *reserved = bo_reserve(bo->size, align, pages);

	return reserved == MAP_FAILED ? MAP_FAILED : bo_map(bo, reserved);
}

#endif
