/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where a guest can get a dma-buf from. */
#ifndef DMA_BUF_EXPORTERS_H
#define DMA_BUF_EXPORTERS_H

#include "dma_buf.h"
#include "gpu.h"

enum exporter {
	EXPORT_VGEM,       /* dumb BOs: shmem pages */
	EXPORT_VIRTIO_GPU, /* the same, and a copy in the host */
	EXPORT_QXL,        /* dumb BOs: pages of TTM; 5.10: device memory */
	EXPORT_QXL_VRAM,   /* device memory */
	EXPORT_BOCHS,      /* TTM up to 6.12, shmem since */
	EXPORT_TEST_GPU,   /* system memory of TTM */
	EXPORT_TEST_VRAM,  /* device memory of TTM */
	EXPORT_UDMABUF,    /* pages of a memfd */
	EXPORT_HEAP,       /* the system heap's own pages */
};

static const char *const exporters[] = {
	"vgem", "virtio-gpu", "qxl", "qxl-vram", "bochs", "test-gpu", "test-gpu-vram", "udmabuf", "heap", NULL,
};

/* include/uapi/linux/udmabuf.h */
struct udmabuf_create {
	uint32_t memfd, flags;
	uint64_t offset, size;
};
#define UDMABUF_CREATE _IOW('u', 0x42, struct udmabuf_create)

/* include/uapi/linux/dma-heap.h */
struct dma_heap_allocation_data {
	uint64_t len;
	uint32_t fd, fd_flags; /* fd: returned */
	uint64_t heap_flags;
};
#define DMA_HEAP_IOCTL_ALLOC _IOWR('H', 0x0, struct dma_heap_allocation_data)

struct exported {
	int fd;        /* the dma-buf, or -errno */
	struct bo own; /* the exporter's own way to the same memory; fd -1: it has none */
};

static inline int export_bo(struct exported *made)
{
	made->fd = dma_buf_export(made->own.fd, made->own.handle);
	return made->fd;
}

static inline int export_dumb(const char *driver, bool qxl_vram, uint64_t size, struct exported *made)
{
	char found[160];
	int card = bo_open_driver(driver, found, sizeof(found));

	if (card < 0)
		return -ENODEV;
	if (bo_make(qxl_vram ? BO_QXL_VRAM : BO_DUMB, card, size, &made->own))
		return -errno;
	return export_bo(made);
}

static inline int export_test_gpu(enum lab_gpu_home home, uint64_t size, struct exported *made)
{
	struct lab_gpu_create how = home == LAB_GPU_VRAM ? gpu_vram(size) : gpu_system(size);
	struct gpu_bo bo = gpu_create(gpu_open(), how);

	made->own = (struct bo){ .fd = bo.fd, .size = bo.size, .offset = bo.offset, .handle = bo.handle };
	return export_bo(made);
}

static inline int export_udmabuf(uint64_t size, struct exported *made)
{
	int device = open("/dev/udmabuf", O_RDWR | O_CLOEXEC);
	int memory = memfd_create("udmabuf", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	struct udmabuf_create create = { .memfd = memory, .size = size };

	if (device < 0)
		return -errno;
	/* It wants to be sure that the memory cannot be taken away below the dma-buf. */
	if (memory < 0 || ftruncate(memory, size) || fcntl(memory, F_ADD_SEALS, F_SEAL_SHRINK))
		return -errno;
	made->own = (struct bo){ .fd = memory, .size = size };
	made->fd = ioctl(device, UDMABUF_CREATE, &create);
	return made->fd < 0 ? -errno : made->fd;
}

static inline int export_heap(uint64_t size, struct exported *made)
{
	struct dma_heap_allocation_data data = { .len = size, .fd_flags = O_RDWR | O_CLOEXEC };
	int heap = open("/dev/dma_heap/system", O_RDWR | O_CLOEXEC);

	made->own.size = size;
	if (heap < 0 || ioctl(heap, DMA_HEAP_IOCTL_ALLOC, &data))
		return -errno;
	return data.fd;
}

/* A dma-buf of `size` bytes: its descriptor, or -errno (ENODEV: there is no such exporter here). */
static inline int export_make(enum exporter which, uint64_t size, struct exported *made)
{
	*made = (struct exported){ .own.fd = -1 };
	switch (which) {
	case EXPORT_VGEM: return made->fd = export_dumb("vgem", false, size, made);
	case EXPORT_VIRTIO_GPU: return made->fd = export_dumb("virtio_gpu", false, size, made);
	case EXPORT_QXL: return made->fd = export_dumb("qxl", false, size, made);
	case EXPORT_QXL_VRAM: return made->fd = export_dumb("qxl", true, size, made);
	case EXPORT_BOCHS: return made->fd = export_dumb("bochs-drm", false, size, made);
	case EXPORT_TEST_GPU: return made->fd = export_test_gpu(LAB_GPU_SYSTEM, size, made);
	case EXPORT_TEST_VRAM: return made->fd = export_test_gpu(LAB_GPU_VRAM, size, made);
	case EXPORT_UDMABUF: return made->fd = export_udmabuf(size, made);
	case EXPORT_HEAP: return made->fd = export_heap(size, made);
	}
	return made->fd = -EINVAL;
}

#endif
