/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the memory of a virtual machine can be: for each kind, how it is made, mapped, and filled without the
 * mapping under test having an entry. All but anonymous memory are a `struct bo`: a file, and an offset to map
 * it by.
 */
#ifndef VIRT_FAULTS_BACKING_H
#define VIRT_FAULTS_BACKING_H

#include "gpu.h"
#include "mapped_bo.h"
#include "vfio_device.h"

#define GIANT_SIZE (1UL << 30)

enum kind {
	ANONYMOUS, THP, HUGETLB, HUGETLB_1G, MEMFD, VGEM, VFIO_BAR, QXL_VRAM, QXL_SYSTEM, GPU_VRAM, GPU_SYSTEM,
	GPU_PAGES,
};

static const char *const kinds[] = {
	"anonymous", "thp", "hugetlb", "hugetlb-1g", "memfd", "vgem", "vfio-bar", "qxl-vram", "qxl-system",
	"gpu-vram", "gpu-system", "gpu-pages", NULL,
};

/* When the memory comes: with a touch; with the BO or its mapping, so that no touch ever pays for it. */
enum comes { BY_TOUCH, BEFORE };

static const struct {
	const char *driver; /* of the card that makes it; NULL: none does */
	enum comes comes;
} about[] = {
	[ANONYMOUS] = { NULL, BY_TOUCH },
	[THP] = { NULL, BY_TOUCH },
	[HUGETLB] = { NULL, BY_TOUCH },
	[HUGETLB_1G] = { NULL, BY_TOUCH },
	[MEMFD] = { NULL, BY_TOUCH },
	[VGEM] = { "vgem", BEFORE },
	[VFIO_BAR] = { NULL, BEFORE },
	[QXL_VRAM] = { "qxl", BEFORE },
	[QXL_SYSTEM] = { "qxl", BY_TOUCH },
	[GPU_VRAM] = { LAB_GPU_DRIVER, BEFORE },
	[GPU_SYSTEM] = { LAB_GPU_DRIVER, BY_TOUCH },
	[GPU_PAGES] = { LAB_GPU_DRIVER, BY_TOUCH },
};

struct backing {
	enum kind kind;
	struct bo bo; /* fd -1: anonymous */
	uint64_t off; /* pages that it is mapped behind a multiple of 2 MiB (1 GiB for pages of that size) */
	char *base;   /* of the present mapping */
};

/* Neither a file nor anything else that could be mapped twice. */
static inline bool is_private(const struct backing *backing)
{
	return backing->kind == ANONYMOUS || backing->kind == THP;
}

static inline int make_hugetlb(uint64_t size, unsigned int log2, struct bo *bo)
{
	int fd = memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB | log2 << 26 /* MFD_HUGE_SHIFT */);

	if (fd < 0 || ftruncate(fd, size))
		return -1;
	*bo = (struct bo){ .fd = fd, .size = size };
	return 0;
}

static inline int make_gpu(int card, enum kind kind, uint64_t size, struct bo *bo)
{
	struct lab_gpu_create how = kind == GPU_VRAM ? gpu_vram(size) : gpu_system(size);
	struct gpu_bo made = { 0 };
	int ret;

	if (kind == GPU_PAGES)
		how.order = 0;
	ret = gpu_try_create(card, how, &made);
	*bo = (struct bo){ .fd = made.fd, .size = made.size, .offset = made.offset, .handle = made.handle };
	errno = -ret;
	return ret ? -1 : 0;
}

/* The start of the BAR that is an ivshmem's memory; -1 and errno. */
static inline int make_vfio_bar(uint64_t size, struct bo *bo)
{
	static struct vfio_device device; /* open as long as the workload runs */
	struct vfio_bar bar;

	if (!vfio_open(&device))
		return -1;
	errno = ENXIO;
	if (!vfio_bar(&device, 2, &bar) || !bar.can_mmap || bar.size < size)
		return -1;
	*bo = (struct bo){ .fd = device.fd, .size = size, .offset = bar.offset };
	return 0;
}

static inline int make_memory(enum kind kind, int card, uint64_t size, struct bo *bo)
{
	switch (kind) {
	case ANONYMOUS:
	case THP:
		*bo = (struct bo){ .fd = -1, .size = size };
		return 0;
	case HUGETLB:
		return make_hugetlb(size, 21, bo);
	case HUGETLB_1G:
		return make_hugetlb(size, 30, bo);
	case MEMFD:
		return bo_make(BO_MEMFD, -1, size, bo);
	case VFIO_BAR:
		return make_vfio_bar(size, bo);
	case QXL_VRAM:
		return bo_make(BO_QXL_VRAM, card, size, bo);
	case VGEM:
	case QXL_SYSTEM:
		return bo_make(BO_DUMB, card, size, bo);
	default:
		return make_gpu(card, kind, size, bo);
	}
}

static inline char *map_memory(const struct backing *backing)
{
	uint64_t align = backing->kind == HUGETLB_1G ? GIANT_SIZE : HUGE_SIZE;
	char *at;

	if (!is_private(backing))
		return bo_map_at(&backing->bo, align, backing->off);
	at = bo_reserve(backing->bo.size, align, backing->off);
	if (at == MAP_FAILED)
		return at;
	at = mmap(at, backing->bo.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	if (at != MAP_FAILED)
		madvise(at, backing->bo.size, backing->kind == THP ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	return at;
}

/* Map it anew, without an entry: a check `mapped` and false if that fails. */
static inline bool backing_map(struct backing *backing)
{
	bool huge = backing->kind == HUGETLB || backing->kind == HUGETLB_1G;

	backing->base = map_memory(backing);
	return backing->base != MAP_FAILED ||
	       lab_check(false, "mapped", "mmap of %llu bytes: %s%s", (unsigned long long)backing->bo.size,
			 strerror(errno),
			 huge ? "; hugepages=N on the kernel's command line reserves huge pages" : "");
}

static inline void backing_unmap(struct backing *backing)
{
	munmap(backing->base, backing->bo.size);
}

/* Let all memory be there, through a mapping that is gone afterwards; anonymous memory cannot. */
static inline bool backing_fill(const struct backing *backing)
{
	struct backing apart = *backing;

	if (!backing_map(&apart))
		return false;
	for (size_t at = 0; at < apart.bo.size; at += LAB_PAGE)
		*(volatile uint64_t *)(apart.base + at) = 0;
	backing_unmap(&apart);
	return true;
}

/*
 * Make memory of that kind and map it: checks `driver`, `memory` and `mapped`; false if the workload ends here,
 * with all that is to be said said.
 */
static inline bool backing_make(enum kind kind, uint64_t size, uint64_t off, struct backing *backing)
{
	char found[160] = "no driver has a part in it";
	int card = -1;

	*backing = (struct backing){ .kind = kind, .off = off };
	if (about[kind].driver)
		card = bo_open_driver(about[kind].driver, found, sizeof(found));
	if (about[kind].driver && card < 0) {
		lab_skip("driver", "no card is driven by %s; %s", about[kind].driver, found);
		return false;
	}
	lab_check(true, "driver", "%s", found);
	if (make_memory(kind, card, size, &backing->bo))
		return lab_check(false, "memory", "%s of %llu bytes: %s", kinds[kind], (unsigned long long)size,
				 strerror(errno));
	lab_check(backing->bo.size == size, "memory", "%s of %llu bytes", kinds[kind],
		  (unsigned long long)backing->bo.size);
	return backing_map(backing);
}

#endif
