// SPDX-License-Identifier: GPL-2.0-only
/* Where a BO is, and what its memory is made of. */
#include <linux/dma-resv.h>

#include "lab_gpu_drv.h"

/*
 * Whether the pages from `first` on, of the BO, are one aligned block as large as a PMD; and its
 * pfn.
 */
bool lab_gpu_huge_span(struct lab_gpu_bo *bo, u64 first, unsigned long *pfn)
{
	struct ttm_buffer_object *tbo = &bo->tbo;
	struct page **pages;

	if (first + LAB_GPU_HUGE_PAGES > PFN_UP(tbo->base.size))
		return false;
	if (tbo->resource->mem_type == TTM_PL_VRAM) {
		*pfn = PHYS_PFN(bdev_to_lab_gpu(tbo->bdev)->vram_base) + tbo->resource->start +
		       first;
		return IS_ALIGNED(*pfn, LAB_GPU_HUGE_PAGES);
	}
	if (!tbo->ttm || !ttm_tt_is_populated(tbo->ttm))
		return false;
	pages = tbo->ttm->pages + first;
	*pfn = page_to_pfn(pages[0]);
	if (!IS_ALIGNED(*pfn, LAB_GPU_HUGE_PAGES))
		return false;
	for (unsigned long i = 1; i < LAB_GPU_HUGE_PAGES; i++)
		if (page_to_pfn(pages[i]) != *pfn + i)
			return false;
	return true;
}

static u64 lab_gpu_huge_spans(struct lab_gpu_bo *bo)
{
	u64 pages = PFN_UP(bo->tbo.base.size), spans = 0;
	unsigned long pfn;

	for (u64 first = 0; first + LAB_GPU_HUGE_PAGES <= pages; first += LAB_GPU_HUGE_PAGES)
		spans += lab_gpu_huge_span(bo, first, &pfn);
	return spans;
}

/*
 * TTM's pool keeps a block's order in the first page (ttm_pool_page_order()), the same from 6.1 to
 * 7.3.
 */
static void lab_gpu_info_blocks(const struct ttm_tt *tt, u32 *blocks)
{
	for (u32 i = 0; i < tt->num_pages;) {
		struct page *page = tt->pages[i];
		unsigned long order = 0;

		if (page && !ttm_backup_page_ptr_is_handle(page)) {
			order = min(page_private(page), (unsigned long)LAB_GPU_MAX_ORDER);
			blocks[order]++;
		}
		i += 1U << order;
	}
}

static u32 lab_gpu_info_state(const struct ttm_buffer_object *tbo)
{
	const struct ttm_tt *tt = tbo->ttm;
	u32 state = 0;

	if (tt && tt->page_flags & TTM_TT_FLAG_PRIV_POPULATED)
		state |= LAB_GPU_POPULATED;
	if (tt && tt->page_flags & TTM_TT_FLAG_SWAPPED)
		state |= LAB_GPU_SWAPPED;
	if (tt && ttm_tt_is_backed_up(tt))
		state |= LAB_GPU_BACKED_UP;
	if (tbo->pin_count)
		state |= LAB_GPU_PINNED;
	if (tbo->base.import_attach)
		state |= LAB_GPU_IMPORTED;
	if (!dma_resv_test_signaled(tbo->base.resv, DMA_RESV_USAGE_BOOKKEEP))
		state |= LAB_GPU_BUSY;
	return state;
}

static void lab_gpu_info(struct lab_gpu_bo *bo, struct lab_gpu_info *info)
{
	struct ttm_buffer_object *tbo = &bo->tbo;
	bool imported = tbo->base.import_attach;

	info->home = bo->home;
	info->caching = bo->caching;
	info->pages = PFN_UP(tbo->base.size);
	info->state = lab_gpu_info_state(tbo);
	if (tbo->resource->mem_type == TTM_PL_VRAM) {
		info->place = LAB_GPU_IN_VRAM;
		info->vram_offset = (u64)tbo->resource->start << PAGE_SHIFT;
	}
	if (!imported && tbo->ttm) {
		info->resident_pages = lab_gpu_tt_resident(tbo->ttm);
		info->backed_up_pages = lab_gpu_tt_backed_up(tbo->ttm);
		lab_gpu_info_blocks(tbo->ttm, info->blocks);
	}
	if (!imported)
		info->huge_spans = lab_gpu_huge_spans(bo);
}

int lab_gpu_info_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct lab_gpu_info *args = data;
	struct lab_gpu_bo *bo;
	int ret;

	if (args->pad || args->pad2)
		return -EINVAL;
	bo = lab_gpu_bo_lookup(file, args->handle);
	if (IS_ERR(bo))
		return PTR_ERR(bo);
	*args = (struct lab_gpu_info){ .handle = args->handle };
	ret = ttm_bo_reserve(&bo->tbo, true, false, NULL);
	if (!ret) {
		lab_gpu_info(bo, args);
		ttm_bo_unreserve(&bo->tbo);
	}
	lab_gpu_bo_put(bo);
	return ret;
}
