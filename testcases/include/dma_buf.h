/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Exporting BOs of DRM drivers as dma-bufs, and importing them (include/uapi/drm/drm.h). */
#ifndef FAULTLAB_DMA_BUF_H
#define FAULTLAB_DMA_BUF_H

#include "bo.h"

struct drm_prime_handle {
	uint32_t handle, flags;
	int32_t fd;
};

#define DRM_IOCTL_PRIME_HANDLE_TO_FD _IOWR('d', 0x2d, struct drm_prime_handle)
#define DRM_IOCTL_PRIME_FD_TO_HANDLE _IOWR('d', 0x2e, struct drm_prime_handle)

/* The file descriptor of a dma-buf that can be mapped for writing; or -errno. */
static inline int dma_buf_export(int card, uint32_t handle)
{
	struct drm_prime_handle prime = { .handle = handle, .flags = O_CLOEXEC | O_RDWR };

	return ioctl(card, DRM_IOCTL_PRIME_HANDLE_TO_FD, &prime) ? -errno : prime.fd;
}

/* 0 and a GEM handle of `card`; or -errno. */
static inline int dma_buf_import(int card, int fd, uint32_t *handle)
{
	struct drm_prime_handle prime = { .fd = fd };

	if (ioctl(card, DRM_IOCTL_PRIME_FD_TO_HANDLE, &prime))
		return -errno;
	*handle = prime.handle;
	return 0;
}

#endif
