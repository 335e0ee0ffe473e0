/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * The uAPI of lab_gpu, the lab's test GPU: shared by the driver (testcases/driver/lab_gpu) and by
 * workloads. testcases/test-gpu/README.md tells how the parts belong together.
 *
 * Rules for all ioctls: what is not named as returned is set by the caller; `flags` may only hold
 * the flags named here, `pad` must be 0 (else EINVAL); ENOENT is a handle or an identity that is
 * not known. Every one that waits for a fence or for memory ends with EINTR if a signal comes.
 *
 * A BO has a home: system memory or VRAM. Its content is always in exactly one of these places:
 *
 *	VRAM		BAR 2 of the device, mapped as iomem, write-combined
 *	resident	pages of system memory in TTM's pool, with the BO's caching
 *	swapped		a shmem file: TTM's own swap, of the whole BO (SWAPOUT)
 *	backed up	the swap cache or swap, page by page (BACKUP, from 6.15); can be partial
 *	nowhere		nothing was ever written: it reads as zeroes
 *
 * A fault brings a BO that is swapped or backed up into system memory, and leaves one in VRAM
 * there.
 */
#ifndef LAB_GPU_H
#define LAB_GPU_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define LAB_GPU_DRIVER "lab_gpu"

enum lab_gpu_home {
	LAB_GPU_SYSTEM = 0,
	LAB_GPU_VRAM = 1,
};

enum lab_gpu_caching {		/* of pages of system memory */
	LAB_GPU_CACHED = 0,
	LAB_GPU_WC = 1,
	LAB_GPU_UNCACHED = 2,
};

#define LAB_GPU_MAX_ORDER 10	/* the largest block the page allocator gives on x86-64 */

/* lab_gpu_create.flags: can be backed up, and then cannot be swapped out (TTM knows either) */
#define LAB_GPU_CREATE_BACKUP (1 << 0)

/*
 * Make a BO. No page is allocated yet if its home is system memory; VRAM is allocated and cleared
 * at once, which may evict others. EOPNOTSUPP: LAB_GPU_CREATE_BACKUP on a kernel before 6.15.
 */
struct lab_gpu_create {
	__u64 size;		/* bytes, whole pages, at most 64 GiB */
	__u32 home;		/* enum lab_gpu_home */
	__u32 caching;		/* enum lab_gpu_caching, of its pages of system memory */
	/*
	 * The largest block to ask TTM's pool for, 0 to LAB_GPU_MAX_ORDER: 2^order pages. It is a
	 * cap: where memory is fragmented, smaller blocks come, and LAB_GPU_INFO tells which.
	 * Blocks that BACKUP restores are as large as TTM likes.
	 */
	__u32 order;
	__u32 flags;
	__u32 handle;		/* returned: a GEM handle */
	__u32 pad;
};

struct lab_gpu_map {
	__u32 handle;
	__u32 pad;
	__u64 offset;		/* returned: for mmap() */
};

/* lab_gpu_move.flags: EBUSY at once instead of waiting for a fence */
#define LAB_GPU_NO_WAIT (1 << 0)
/* ... of BACKUP: write to swap at once, instead of when the swap cache is reclaimed */
#define LAB_GPU_WRITEBACK (1 << 1)
/*
 * ... of BACKUP: allocate as a shrinker does within reclaim (PF_MEMALLOC): no reclaim, but the
 * reserves
 */
#define LAB_GPU_RECLAIM (1 << 2)

/*
 * What moves a BO's content. All of these need a BO that is not pinned (as one that another driver
 * has imported is; else EBUSY) and not imported itself (EOPNOTSUPP).
 *
 * EVICT	VRAM to system memory; in any case all mappings of the BO are zapped.
 * SWAPOUT	resident to swapped, through ttm_device_swapout(). EINVAL in VRAM; EOPNOTSUPP with
 *		LAB_GPU_CREATE_BACKUP; EBUSY if others hold the BO.
 * BACKUP	resident or VRAM to backed up, through ttm_bo_shrink(). EOPNOTSUPP without
 *		LAB_GPU_CREATE_BACKUP; EBUSY if no swap is free or no page could be backed up.
 * RESTORE	from wherever it is to its home; pages are allocated if there are none.
 *
 * 0 pages and no error: there was nothing to do.
 */
struct lab_gpu_move {
	__u32 handle;
	__u32 flags;
	__u64 pages;		/* returned: moved or made; EVICT within system memory: 0 */
};

/* What a fence keeps waiting: enum dma_resv_usage, by name. */
enum lab_gpu_fence_usage {
	LAB_GPU_FENCE_KERNEL = 0,	/* faults, moves and freeing the memory */
	LAB_GPU_FENCE_WRITE = 1,	/* moves and freeing */
	LAB_GPU_FENCE_READ = 2,		/* the same for TTM; differs for who imports the dma-buf */
	LAB_GPU_FENCE_BOOKKEEP = 3,	/* moves and freeing; not implied for who imports */
};

#define LAB_GPU_FENCE_MAX_MS 600000

/*
 * Attach a fence that does not signal until FENCE_SIGNAL, the last close() of this file or
 * `timeout_ms` (0: 10 s, at most LAB_GPU_FENCE_MAX_MS), so that nothing hangs for ever.
 */
struct lab_gpu_fence_attach {
	__u32 handle;
	__u32 usage;		/* enum lab_gpu_fence_usage */
	__u32 timeout_ms;
	__u32 fence;		/* returned: its identity within this open file, not 0 */
};

/* ETIME: it had timed out. Either way its identity is gone. */
struct lab_gpu_fence_signal {
	__u32 fence;
	__u32 pad;
};

enum lab_gpu_place {
	LAB_GPU_IN_SYSTEM = 0,	/* resident, swapped, backed up or nowhere */
	LAB_GPU_IN_VRAM = 1,
};

/* lab_gpu_info.state */
#define LAB_GPU_POPULATED (1 << 0)	/* TTM has all its pages of system memory */
#define LAB_GPU_SWAPPED (1 << 1)
#define LAB_GPU_BACKED_UP (1 << 2)	/* at least one page */
#define LAB_GPU_PINNED (1 << 3)
#define LAB_GPU_IMPORTED (1 << 4)
#define LAB_GPU_BUSY (1 << 5)		/* has a fence that has not signalled */

struct lab_gpu_info {
	__u32 handle;
	__u32 pad;
	/* all returned: */
	__u32 home, place;		/* enum lab_gpu_home, enum lab_gpu_place */
	__u32 caching, state;		/* enum lab_gpu_caching, LAB_GPU_* above */
	__u64 pages;			/* of the BO */
	__u64 resident_pages;		/* in system memory */
	__u64 backed_up_pages;		/* BACKUP only: swapped pages are not counted here */
	__u64 vram_offset;		/* bytes into BAR 2, if it is there */
	/*
	 * Spans of 2 MiB, aligned in the BO, whose memory is one aligned block of 2 MiB: what a
	 * huge mapping needs. The memory may be VRAM or resident pages.
	 */
	__u64 huge_spans;
	/* Blocks as TTM's pool got them, by order; only of resident pages. */
	__u32 blocks[LAB_GPU_MAX_ORDER + 1];
	__u32 pad2;
};

/* DRM's ioctls of a driver begin at 0x40 (DRM_COMMAND_BASE). */
#define DRM_IOCTL_LAB_GPU_CREATE _IOWR('d', 0x40, struct lab_gpu_create)
#define DRM_IOCTL_LAB_GPU_MAP _IOWR('d', 0x41, struct lab_gpu_map)
#define DRM_IOCTL_LAB_GPU_EVICT _IOWR('d', 0x42, struct lab_gpu_move)
#define DRM_IOCTL_LAB_GPU_SWAPOUT _IOWR('d', 0x43, struct lab_gpu_move)
#define DRM_IOCTL_LAB_GPU_BACKUP _IOWR('d', 0x44, struct lab_gpu_move)
#define DRM_IOCTL_LAB_GPU_RESTORE _IOWR('d', 0x45, struct lab_gpu_move)
#define DRM_IOCTL_LAB_GPU_FENCE_ATTACH _IOWR('d', 0x46, struct lab_gpu_fence_attach)
#define DRM_IOCTL_LAB_GPU_FENCE_SIGNAL _IOWR('d', 0x47, struct lab_gpu_fence_signal)
#define DRM_IOCTL_LAB_GPU_INFO _IOWR('d', 0x48, struct lab_gpu_info)

#endif
