/* SPDX-License-Identifier: GPL-2.0-only */
/* What the files of the test GPU know of each other. */
#ifndef LAB_GPU_DRV_H
#define LAB_GPU_DRV_H

#include <linux/atomic.h>
#include <linux/io.h>
#include <linux/mutex.h>
#include <linux/xarray.h>

#include <drm/drm_device.h>
#include <drm/drm_file.h>

#include "lab_gpu.h"
#include "lab_gpu_compat.h"

#define LAB_GPU_HUGE_PAGES (1UL << PMD_ORDER)

/* One device. */
struct lab_gpu {
	struct drm_device drm;
	struct ttm_device bdev;
	void __iomem *vram;
	resource_size_t vram_base, vram_size;

	/*
	 * ttm_device_swapout() takes the first BO of the LRU that eviction_valuable() agrees to:
	 * for the task that holds this lock that is the one it wants.
	 */
	struct mutex swap_lock;
	struct task_struct *swap_task;
	struct ttm_buffer_object *swap_bo;
};

/* One open file. */
struct lab_gpu_file {
	struct xarray fences;
};

struct lab_gpu_bo {
	struct ttm_buffer_object tbo;
	enum lab_gpu_home home;
	enum lab_gpu_caching caching;
	unsigned int order;
	bool backup;
};

static inline struct lab_gpu *to_lab_gpu(struct drm_device *drm)
{
	return container_of(drm, struct lab_gpu, drm);
}

static inline struct lab_gpu *bdev_to_lab_gpu(struct ttm_device *bdev)
{
	return container_of(bdev, struct lab_gpu, bdev);
}

static inline struct lab_gpu_bo *to_lab_gpu_bo(struct ttm_buffer_object *tbo)
{
	return container_of(tbo, struct lab_gpu_bo, tbo);
}

static inline struct lab_gpu_bo *gem_to_lab_gpu_bo(struct drm_gem_object *gem)
{
	return container_of(gem, struct lab_gpu_bo, tbo.base);
}

/* ---- counters: /sys/kernel/debug/lab_gpu/counters (lab_gpu_debugfs.c) ---------------------- */

#define LAB_GPU_COUNTERS(X) \
	X(live_bos)		/* not yet destroyed */ \
	X(live_pages)		/* of system memory that BOs hold now */ \
	X(pending_fences)	/* attached, and neither signalled nor timed out */ \
	X(created_bos) \
	X(allocated_pages) \
	X(freed_pages) \
	X(faults)		/* of 4 KiB, by the own handler only */ \
	X(window_pages)		/* that these faults asked TTM to insert */ \
	X(huge_faults)		/* for a PMD */ \
	X(huge_inserted)	/* PMDs; the other huge faults fell back */ \
	X(evictions)		/* BOs from VRAM to system memory */ \
	X(uploads)		/* BOs to VRAM */ \
	X(zaps)			/* EVICT within system memory */ \
	X(swapouts) \
	X(swapped_pages) \
	X(swapin_pages) \
	X(backups) \
	X(backed_up_pages) \
	X(restores)		/* of BOs with backed-up pages; also interrupted ones */ \
	X(restored_pages) \
	X(fences_attached) \
	X(fences_signalled) \
	X(fences_timed_out) \
	X(pins) \
	X(imports)

#define LAB_GPU_COUNTER_ID(name) LAB_GPU_N_##name,
enum lab_gpu_counter { LAB_GPU_COUNTERS(LAB_GPU_COUNTER_ID) LAB_GPU_N };

extern atomic64_t lab_gpu_counters[LAB_GPU_N];

#define lab_gpu_count(name, by) atomic64_add(by, &lab_gpu_counters[LAB_GPU_N_##name])

void lab_gpu_debugfs_init(void);
void lab_gpu_debugfs_exit(void);

/* ---- parameters and planted defects (lab_gpu_defect.c) ------------------------------------- */

enum lab_gpu_defect {
	LAB_GPU_DEFECT_NONE,
	LAB_GPU_DEFECT_LEAK,
	LAB_GPU_DEFECT_CORRUPT_RESTORE,
	LAB_GPU_DEFECT_NO_ZAP_ON_EVICT,
	LAB_GPU_DEFECT_PREFAULT_IGNORED,
	LAB_GPU_DEFECT_ORDER_IGNORED,
	LAB_GPU_DEFECT_FENCE_EARLY,
};

enum lab_gpu_huge { LAB_GPU_HUGE_OFF, LAB_GPU_HUGE_SPECIAL, LAB_GPU_HUGE_UNSAFE };

bool lab_gpu_has_defect(enum lab_gpu_defect defect);
unsigned int lab_gpu_prefault(void);
enum lab_gpu_huge lab_gpu_huge(void);

/* ---- BOs (lab_gpu_bo.c) -------------------------------------------------------------------- */

struct lab_gpu_bo *lab_gpu_bo_new(struct lab_gpu *gpu, const struct lab_gpu_create *how,
				  struct sg_table *sg, struct dma_resv *resv);
struct lab_gpu_bo *lab_gpu_bo_lookup(struct drm_file *file, u32 handle);
int lab_gpu_create_ioctl(struct drm_device *drm, void *data, struct drm_file *file);
int lab_gpu_map_ioctl(struct drm_device *drm, void *data, struct drm_file *file);
int lab_gpu_dumb_create(struct drm_file *file, struct drm_device *drm,
			struct drm_mode_create_dumb *args);

static inline void lab_gpu_bo_put(struct lab_gpu_bo *bo)
{
	drm_gem_object_put(&bo->tbo.base);
}

/* ---- their system memory (lab_gpu_tt.c) ---------------------------------------------------- */

extern struct ttm_device_funcs lab_gpu_ttm_funcs;

int lab_gpu_io_mem_reserve(struct ttm_device *bdev, struct ttm_resource *res);
void lab_gpu_tt_account(struct ttm_tt *tt);
u32 lab_gpu_tt_backed_up(const struct ttm_tt *tt);
u32 lab_gpu_tt_resident(const struct ttm_tt *tt);

/* ---- moving them (lab_gpu_move.c) ---------------------------------------------------------- */

extern const struct ttm_place lab_gpu_in_system, lab_gpu_in_vram;

int lab_gpu_move(struct ttm_buffer_object *tbo, bool evict, struct ttm_operation_ctx *ctx,
		 struct ttm_resource *new, struct ttm_place *hop);
int lab_gpu_evict_ioctl(struct drm_device *drm, void *data, struct drm_file *file);
int lab_gpu_swapout_ioctl(struct drm_device *drm, void *data, struct drm_file *file);
int lab_gpu_backup_ioctl(struct drm_device *drm, void *data, struct drm_file *file);
int lab_gpu_restore_ioctl(struct drm_device *drm, void *data, struct drm_file *file);

/* ---- mapping them (lab_gpu_fault.c) -------------------------------------------------------- */

int lab_gpu_gem_mmap(struct drm_gem_object *gem, struct vm_area_struct *vma);

/* ---- the rest ------------------------------------------------------------------------------ */

void lab_gpu_fences_release(struct lab_gpu_file *file);
int lab_gpu_fence_attach_ioctl(struct drm_device *drm, void *data, struct drm_file *file);
int lab_gpu_fence_signal_ioctl(struct drm_device *drm, void *data, struct drm_file *file);

bool lab_gpu_huge_span(struct lab_gpu_bo *bo, u64 first, unsigned long *pfn);
int lab_gpu_info_ioctl(struct drm_device *drm, void *data, struct drm_file *file);

int lab_gpu_gem_pin(struct drm_gem_object *gem);
void lab_gpu_gem_unpin(struct drm_gem_object *gem);
struct sg_table *lab_gpu_gem_sg_table(struct drm_gem_object *gem);
struct drm_gem_object *lab_gpu_import(struct drm_device *drm, struct dma_buf_attachment *attach,
				      struct sg_table *sg);

#endif
