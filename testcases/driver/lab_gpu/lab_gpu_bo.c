// SPDX-License-Identifier: GPL-2.0-only
/* Buffer objects: how they are made, found and destroyed. */
#include <linux/slab.h>

#include <drm/drm_gem_ttm_helper.h>
#include <drm/drm_mode.h>
#include <drm/drm_vma_manager.h>

#include "lab_gpu_drv.h"

#define MAX_SIZE (64ULL << 30)

static void lab_gpu_bo_destroy(struct ttm_buffer_object *tbo)
{
	struct lab_gpu_bo *bo = to_lab_gpu_bo(tbo);

	if (tbo->base.import_attach)
		drm_prime_gem_destroy(&tbo->base, tbo->sg);
	drm_gem_object_release(&tbo->base);
	kfree(bo);
	lab_gpu_count(live_bos, -1);
}

static void lab_gpu_gem_free(struct drm_gem_object *gem)
{
	lab_gpu_ttm_free(&gem_to_lab_gpu_bo(gem)->tbo);
}

static const struct drm_gem_object_funcs lab_gpu_gem_funcs = {
	.free = lab_gpu_gem_free,
	.print_info = drm_gem_ttm_print_info,
	.pin = lab_gpu_gem_pin,
	.unpin = lab_gpu_gem_unpin,
	.get_sg_table = lab_gpu_gem_sg_table,
	.vmap = drm_gem_ttm_vmap,
	.vunmap = drm_gem_ttm_vunmap,
	.mmap = lab_gpu_gem_mmap,
};

/* As the uAPI says; with `sg`, which comes with its locked `resv`, an imported one. */
struct lab_gpu_bo *lab_gpu_bo_new(struct lab_gpu *gpu, const struct lab_gpu_create *how,
				  struct sg_table *sg, struct dma_resv *resv)
{
	struct ttm_operation_ctx ctx = { .interruptible = true, .gfp_retry_mayfail = true };
	struct ttm_placement placement;
	struct lab_gpu_bo *bo;
	u32 alignment = 1;
	int ret;

	bo = kzalloc(sizeof(*bo), GFP_KERNEL);
	if (!bo)
		return ERR_PTR(-ENOMEM);
	bo->home = how->home;
	bo->caching = how->caching;
	bo->order = how->order;
	bo->backup = how->flags & LAB_GPU_CREATE_BACKUP;
	drm_gem_private_object_init(&gpu->drm, &bo->tbo.base, how->size);
	bo->tbo.base.funcs = &lab_gpu_gem_funcs;
	lab_gpu_count(live_bos, 1);
	lab_gpu_count(created_bos, 1);

	if (how->size >= PMD_SIZE)
		alignment = LAB_GPU_HUGE_PAGES; /* so that it can be mapped by PMDs */
	placement =
		lab_gpu_placement(bo->home == LAB_GPU_VRAM ? &lab_gpu_in_vram : &lab_gpu_in_system);
	ret = ttm_bo_init_reserved(&gpu->bdev, &bo->tbo, sg ? ttm_bo_type_sg : ttm_bo_type_device,
				   &placement, alignment, &ctx, sg, resv, lab_gpu_bo_destroy);
	if (ret)
		return ERR_PTR(ret); /* TTM has destroyed it */
	if (!resv)
		ttm_bo_unreserve(&bo->tbo);
	return bo;
}

/* Referenced; or an ERR_PTR. */
struct lab_gpu_bo *lab_gpu_bo_lookup(struct drm_file *file, u32 handle)
{
	struct drm_gem_object *gem = drm_gem_object_lookup(file, handle);

	return gem ? gem_to_lab_gpu_bo(gem) : ERR_PTR(-ENOENT);
}

static int lab_gpu_create(struct drm_device *drm, struct drm_file *file,
			  const struct lab_gpu_create *how, u32 *handle)
{
	struct lab_gpu_bo *bo = lab_gpu_bo_new(to_lab_gpu(drm), how, NULL, NULL);
	int ret;

	if (IS_ERR(bo))
		return PTR_ERR(bo);
	ret = drm_gem_handle_create(file, &bo->tbo.base, handle);
	lab_gpu_bo_put(bo);
	return ret;
}

int lab_gpu_create_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct lab_gpu_create *args = data;

	if (!args->size || !PAGE_ALIGNED(args->size) || args->size > MAX_SIZE ||
	    args->home > LAB_GPU_VRAM || args->caching > LAB_GPU_UNCACHED ||
	    args->order > LAB_GPU_MAX_ORDER || args->flags & ~LAB_GPU_CREATE_BACKUP || args->pad)
		return -EINVAL;
	if (args->flags & LAB_GPU_CREATE_BACKUP && !LAB_GPU_HAS_BACKUP)
		return -EOPNOTSUPP;
	return lab_gpu_create(drm, file, args, &args->handle);
}

int lab_gpu_map_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct lab_gpu_map *args = data;
	struct lab_gpu_bo *bo;

	if (args->pad)
		return -EINVAL;
	bo = lab_gpu_bo_lookup(file, args->handle);
	if (IS_ERR(bo))
		return PTR_ERR(bo);
	args->offset = drm_vma_node_offset_addr(&bo->tbo.base.vma_node);
	lab_gpu_bo_put(bo);
	return 0;
}

/*
 * What a compositor without acceleration asks for: cached system memory, as qxl gives from 6.1 on.
 */
int lab_gpu_dumb_create(struct drm_file *file, struct drm_device *drm,
			struct drm_mode_create_dumb *args)
{
	struct lab_gpu_create how = { .home = LAB_GPU_SYSTEM, .order = LAB_GPU_MAX_ORDER };

	args->pitch = args->width * DIV_ROUND_UP(args->bpp, 8);
	args->size = PAGE_ALIGN((u64)args->pitch * args->height);
	if (!args->size || args->size > MAX_SIZE)
		return -EINVAL;
	how.size = args->size;
	return lab_gpu_create(drm, file, &how, &args->handle);
}
