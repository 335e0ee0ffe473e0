// SPDX-License-Identifier: GPL-2.0-only
/* dma-bufs: BOs of ours that others use, and the other way round. The DRM core does most of it. */
#include <linux/dma-buf.h>

#include "lab_gpu_drv.h"

/* Into system memory, which every importer can reach, and keep it there. The BO is reserved. */
static int lab_gpu_pin_reserved(struct ttm_buffer_object *tbo)
{
	struct ttm_operation_ctx ctx = { .interruptible = true, .gfp_retry_mayfail = true };
	struct ttm_placement placement = lab_gpu_placement(&lab_gpu_in_system);
	int ret = 0;

	if (!tbo->pin_count)
		ret = ttm_bo_validate(tbo, &placement, &ctx);
	if (!ret)
		ret = lab_gpu_ttm_populate(tbo, &ctx);
	if (ret)
		return ret;
	ttm_bo_pin(tbo);
	lab_gpu_count(pins, 1);
	return 0;
}

int lab_gpu_gem_pin(struct drm_gem_object *gem)
{
	struct ttm_buffer_object *tbo = &gem_to_lab_gpu_bo(gem)->tbo;
	int ret;

	if (LAB_GPU_PIN_IS_LOCKED)
		return lab_gpu_pin_reserved(tbo);
	ret = ttm_bo_reserve(tbo, true, false, NULL);
	if (ret)
		return ret;
	ret = lab_gpu_pin_reserved(tbo);
	ttm_bo_unreserve(tbo);
	return ret;
}

void lab_gpu_gem_unpin(struct drm_gem_object *gem)
{
	struct ttm_buffer_object *tbo = &gem_to_lab_gpu_bo(gem)->tbo;

	if (!LAB_GPU_PIN_IS_LOCKED)
		dma_resv_lock(tbo->base.resv, NULL);
	ttm_bo_unpin(tbo);
	if (!LAB_GPU_PIN_IS_LOCKED)
		ttm_bo_unreserve(tbo);
}

/* Of a pinned BO. */
struct sg_table *lab_gpu_gem_sg_table(struct drm_gem_object *gem)
{
	struct ttm_tt *tt = gem_to_lab_gpu_bo(gem)->tbo.ttm;

	return drm_prime_pages_to_sg(gem->dev, tt->pages, tt->num_pages);
}

struct drm_gem_object *lab_gpu_import(struct drm_device *drm, struct dma_buf_attachment *attach,
				      struct sg_table *sg)
{
	const struct lab_gpu_create how = { .size = attach->dmabuf->size, .home = LAB_GPU_SYSTEM };
	struct dma_resv *resv = attach->dmabuf->resv;
	struct lab_gpu_bo *bo;

	dma_resv_lock(resv, NULL);
	bo = lab_gpu_bo_new(to_lab_gpu(drm), &how, sg, resv);
	dma_resv_unlock(resv);
	if (IS_ERR(bo))
		return ERR_CAST(bo);
	lab_gpu_count(imports, 1);
	return &bo->tbo.base;
}
