// SPDX-License-Identifier: GPL-2.0-only
/* Moving the content of BOs: to and from VRAM, out to swap, and back. */
#include <linux/sched.h>
#include <linux/sched/mm.h>

#include "lab_gpu_drv.h"

const struct ttm_place lab_gpu_in_system = { .mem_type = TTM_PL_SYSTEM };
const struct ttm_place lab_gpu_in_vram = { .mem_type = TTM_PL_VRAM };

static int lab_gpu_copy(struct ttm_buffer_object *tbo, struct ttm_operation_ctx *ctx,
			struct ttm_resource *new)
{
	bool upload = new->mem_type == TTM_PL_VRAM;
	int ret;

	/*
	 * ttm_bo_move_memcpy() swaps in what is swapped out, but takes a BO that is backed up for
	 * an empty one (7.3: it asks for TTM_TT_FLAG_SWAPPED), and would clear the VRAM instead of
	 * filling it.
	 */
	if (upload && tbo->ttm && ttm_tt_is_backed_up(tbo->ttm)) {
		ret = lab_gpu_ttm_populate(tbo, ctx);
		if (ret)
			return ret;
	}
	ret = ttm_bo_move_memcpy(tbo, ctx, new);
	if (ret)
		return ret;
	if (upload)
		lab_gpu_count(uploads, 1);
	else
		lab_gpu_count(evictions, 1);
	return 0;
}

/* TTM's callback; the BO is reserved and its mappings are gone. */
int lab_gpu_move(struct ttm_buffer_object *tbo, bool evict, struct ttm_operation_ctx *ctx,
		 struct ttm_resource *new, struct ttm_place *hop)
{
	struct lab_gpu *gpu = bdev_to_lab_gpu(tbo->bdev);
	int ret, idx;

	if (!tbo->resource) { /* a new BO is nowhere (6.12); in 6.1 it begins in system memory */
		if (new->mem_type != TTM_PL_SYSTEM) {
			*hop = lab_gpu_in_system;
			hop->flags = TTM_PL_FLAG_TEMPORARY;
			return -EMULTIHOP;
		}
		ttm_bo_move_null(tbo, new);
		return 0;
	}
	if (tbo->resource->mem_type == new->mem_type) {
		ttm_bo_move_null(tbo, new);
		return 0;
	}
	ret = ttm_bo_wait_ctx(tbo, ctx);
	if (ret)
		return ret;
	if (!drm_dev_enter(&gpu->drm, &idx))
		return -ENODEV;
	ret = lab_gpu_copy(tbo, ctx, new);
	drm_dev_exit(idx);
	return ret;
}

/* ---- ioctls -------------------------------------------------------------------------------- */

/* Find the BO of `args` and reserve it. Returns it referenced, or an ERR_PTR. */
static struct lab_gpu_bo *lab_gpu_begin(struct drm_file *file, const struct lab_gpu_move *args,
					u32 flags)
{
	struct lab_gpu_bo *bo;
	int ret;

	if (args->flags & ~flags)
		return ERR_PTR(-EINVAL);
	bo = lab_gpu_bo_lookup(file, args->handle);
	if (IS_ERR(bo))
		return bo;
	ret = bo->tbo.base.import_attach ? -EOPNOTSUPP :
					   ttm_bo_reserve(&bo->tbo, true, false, NULL);
	if (!ret && bo->tbo.pin_count) {
		ttm_bo_unreserve(&bo->tbo);
		ret = -EBUSY;
	}
	if (ret) {
		lab_gpu_bo_put(bo);
		return ERR_PTR(ret);
	}
	return bo;
}

static void lab_gpu_end(struct lab_gpu_bo *bo)
{
	ttm_bo_unreserve(&bo->tbo);
	lab_gpu_bo_put(bo);
}

static struct ttm_operation_ctx lab_gpu_ctx(const struct lab_gpu_move *args)
{
	return (struct ttm_operation_ctx){
		.interruptible = true,
		.no_wait_gpu = args->flags & LAB_GPU_NO_WAIT,
		.gfp_retry_mayfail = true, /* ENOMEM instead of the OOM killer */
	};
}

static int lab_gpu_validate(struct ttm_buffer_object *tbo, const struct ttm_place *place,
			    struct ttm_operation_ctx *ctx)
{
	struct ttm_placement placement = lab_gpu_placement(place);

	return ttm_bo_validate(tbo, &placement, ctx);
}

int lab_gpu_evict_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct lab_gpu_move *args = data;
	struct ttm_operation_ctx ctx = lab_gpu_ctx(args);
	struct lab_gpu_bo *bo = lab_gpu_begin(file, args, LAB_GPU_NO_WAIT);
	int ret = 0;

	if (IS_ERR(bo))
		return PTR_ERR(bo);
	args->pages = 0;
	if (bo->tbo.resource->mem_type == TTM_PL_VRAM) {
		ret = lab_gpu_validate(&bo->tbo, &lab_gpu_in_system, &ctx);
		if (!ret)
			args->pages = PFN_UP(bo->tbo.base.size);
	} else if (!lab_gpu_has_defect(LAB_GPU_DEFECT_NO_ZAP_ON_EVICT)) {
		ttm_bo_unmap_virtual(&bo->tbo);
		lab_gpu_count(zaps, 1);
	}
	lab_gpu_end(bo);
	return ret;
}

/* Whether TTM could swap `bo` out: its pages, 0 if there are none, or why not. */
static int lab_gpu_swappable(struct lab_gpu_bo *bo)
{
	if (bo->backup)
		return -EOPNOTSUPP;
	if (bo->tbo.resource->mem_type != TTM_PL_SYSTEM)
		return -EINVAL;
	return bo->tbo.ttm && ttm_tt_is_populated(bo->tbo.ttm) ? bo->tbo.ttm->num_pages : 0;
}

/*
 * ttm_tt_swapout() is not exported. ttm_device_swapout() is, and walks the LRU of the device until
 * it has swapped one BO out: eviction_valuable() makes it this one. It only tries to lock the BOs
 * it meets, so the caller must not have `bo` reserved, and whoever else has it makes this fail
 * with EBUSY.
 */
static int lab_gpu_swapout(struct lab_gpu *gpu, struct lab_gpu_bo *bo,
			   struct ttm_operation_ctx *ctx)
{
	int ret = mutex_lock_interruptible(&gpu->swap_lock);

	if (ret)
		return ret;
	gpu->swap_bo = &bo->tbo;
	WRITE_ONCE(gpu->swap_task, current);
	ret = ttm_device_swapout(&gpu->bdev, ctx, GFP_KERNEL);
	WRITE_ONCE(gpu->swap_task, NULL);
	gpu->swap_bo = NULL;
	mutex_unlock(&gpu->swap_lock);
	if (ret > 0)
		return 0;
	return ret == 0 || ret == -ENOSPC ? -EBUSY : ret;
}

int lab_gpu_swapout_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct lab_gpu_move *args = data;
	struct ttm_operation_ctx ctx = lab_gpu_ctx(args);
	struct lab_gpu_bo *bo = lab_gpu_begin(file, args, LAB_GPU_NO_WAIT);
	int ret, pages;

	if (IS_ERR(bo))
		return PTR_ERR(bo);
	pages = lab_gpu_swappable(bo);
	ret = pages > 0 ? ttm_bo_wait_ctx(&bo->tbo, &ctx) : pages;
	ttm_bo_unreserve(&bo->tbo);
	if (!ret && pages)
		ret = lab_gpu_swapout(to_lab_gpu(drm), bo, &ctx);
	if (!ret && pages) {
		lab_gpu_count(swapouts, 1);
		lab_gpu_count(swapped_pages, pages);
	}
	args->pages = ret ? 0 : pages;
	lab_gpu_bo_put(bo);
	return ret;
}

/* Pages backed up; or why not. */
static long lab_gpu_backup(struct lab_gpu_bo *bo, struct ttm_operation_ctx *ctx, u32 how)
{
	const struct ttm_bo_shrink_flags flags = { .writeback = !!(how & LAB_GPU_WRITEBACK),
						   .allow_move = true };
	struct ttm_tt *tt = bo->tbo.ttm;
	unsigned int noreclaim = 0;
	long pages;

	if (!bo->backup)
		return -EOPNOTSUPP;
	/*
	 * In part backed up counts as not populated; ttm_pool_backup() warns about a second time
	 * (7.2).
	 */
	if (bo->tbo.resource->mem_type == TTM_PL_SYSTEM && !(tt && ttm_tt_is_populated(tt)))
		return 0;
	if (!ttm_backup_bytes_avail())
		return -EBUSY;
	if (how & LAB_GPU_RECLAIM)
		noreclaim = memalloc_noreclaim_save();
	pages = ttm_bo_shrink(ctx, &bo->tbo, flags);
	if (how & LAB_GPU_RECLAIM)
		memalloc_noreclaim_restore(noreclaim);
	if (bo->tbo.ttm)
		lab_gpu_tt_account(bo->tbo.ttm);
	if (pages > 0) {
		lab_gpu_count(backups, 1);
		lab_gpu_count(backed_up_pages, pages);
	}
	return pages;
}

int lab_gpu_backup_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct lab_gpu_move *args = data;
	struct ttm_operation_ctx ctx = lab_gpu_ctx(args);
	struct lab_gpu_bo *bo =
		lab_gpu_begin(file, args, LAB_GPU_NO_WAIT | LAB_GPU_WRITEBACK | LAB_GPU_RECLAIM);
	long pages;

	if (IS_ERR(bo))
		return PTR_ERR(bo);
	pages = lab_gpu_backup(bo, &ctx, args->flags);
	lab_gpu_end(bo);
	args->pages = max(pages, 0L);
	return min(pages, 0L);
}

static int lab_gpu_restore(struct lab_gpu_bo *bo, struct ttm_operation_ctx *ctx)
{
	struct ttm_buffer_object *tbo = &bo->tbo;

	if (bo->home == LAB_GPU_VRAM)
		return lab_gpu_validate(tbo, &lab_gpu_in_vram, ctx);
	return lab_gpu_ttm_populate(tbo, ctx);
}

int lab_gpu_restore_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct lab_gpu_move *args = data;
	struct ttm_operation_ctx ctx = lab_gpu_ctx(args);
	struct lab_gpu_bo *bo = lab_gpu_begin(file, args, LAB_GPU_NO_WAIT);
	bool was_home;
	int ret;

	if (IS_ERR(bo))
		return PTR_ERR(bo);
	was_home = bo->home == LAB_GPU_VRAM ? bo->tbo.resource->mem_type == TTM_PL_VRAM :
					      bo->tbo.ttm && ttm_tt_is_populated(bo->tbo.ttm);
	ret = lab_gpu_restore(bo, &ctx);
	args->pages = was_home || ret ? 0 : PFN_UP(bo->tbo.base.size);
	lab_gpu_end(bo);
	return ret;
}
