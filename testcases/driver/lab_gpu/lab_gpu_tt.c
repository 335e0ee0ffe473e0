// SPDX-License-Identifier: GPL-2.0-only
/* The system memory of BOs: TTM's pool, block by block where an order is asked for. */
#include <linux/highmem.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include "lab_gpu_drv.h"

struct lab_gpu_tt {
	struct ttm_tt ttm;
	unsigned int order;
	u32 counted; /* pages of this one in live_pages */
};

static struct lab_gpu_tt *to_lab_gpu_tt(struct ttm_tt *tt)
{
	return container_of(tt, struct lab_gpu_tt, ttm);
}

/* Pages of another driver. */
static bool lab_gpu_tt_is_imported(const struct ttm_tt *tt)
{
	return tt->page_flags & TTM_TT_FLAG_EXTERNAL &&
	       !(tt->page_flags & TTM_TT_FLAG_EXTERNAL_MAPPABLE);
}

/* ---- how many pages are where -------------------------------------------------------------- */

u32 lab_gpu_tt_backed_up(const struct ttm_tt *tt)
{
	u32 pages = 0;

	if (ttm_tt_is_backed_up(tt))
		for (u32 i = 0; i < tt->num_pages; i++)
			pages += ttm_backup_page_ptr_is_handle(tt->pages[i]);
	return pages;
}

u32 lab_gpu_tt_resident(const struct ttm_tt *tt)
{
	u32 pages = 0;

	if (lab_gpu_tt_is_imported(tt) || !tt->pages)
		return 0;
	for (u32 i = 0; i < tt->num_pages; i++)
		pages += tt->pages[i] && !ttm_backup_page_ptr_is_handle(tt->pages[i]);
	return pages;
}

static void lab_gpu_tt_set_counted(struct ttm_tt *tt, u32 pages)
{
	struct lab_gpu_tt *lab = to_lab_gpu_tt(tt);

	lab_gpu_count(live_pages, (s64)pages - lab->counted);
	if (pages > lab->counted)
		lab_gpu_count(allocated_pages, pages - lab->counted);
	else
		lab_gpu_count(freed_pages, lab->counted - pages);
	lab->counted = pages;
}

/* After anything that may have changed which pages are resident. */
void lab_gpu_tt_account(struct ttm_tt *tt)
{
	lab_gpu_tt_set_counted(tt, lab_gpu_tt_resident(tt));
}

/* ---- callbacks of TTM ---------------------------------------------------------------------- */

static enum ttm_caching lab_gpu_ttm_caching(enum lab_gpu_caching caching)
{
	switch (caching) {
	case LAB_GPU_WC:
		return ttm_write_combined;
	case LAB_GPU_UNCACHED:
		return ttm_uncached;
	default:
		return ttm_cached;
	}
}

static struct ttm_tt *lab_gpu_tt_create(struct ttm_buffer_object *tbo, u32 page_flags)
{
	struct lab_gpu_bo *bo = to_lab_gpu_bo(tbo);
	struct lab_gpu_tt *lab = kzalloc(sizeof(*lab), GFP_KERNEL);
	int ret;

	if (!lab)
		return NULL;
	lab->order = bo->order;
	if (tbo->type == ttm_bo_type_sg) {
		ret = ttm_sg_tt_init(&lab->ttm, tbo, page_flags, ttm_cached);
	} else {
		/* What TTM may back up it must not swap out: "external" keeps it from that. */
		if (bo->backup)
			page_flags |= TTM_TT_FLAG_EXTERNAL | TTM_TT_FLAG_EXTERNAL_MAPPABLE;
		ret = ttm_tt_init(&lab->ttm, tbo, page_flags, lab_gpu_ttm_caching(bo->caching), 0);
		if (!ret && bo->backup) {
			ret = ttm_tt_setup_backup(&lab->ttm);
			if (ret)
				ttm_tt_fini(&lab->ttm);
		}
	}
	if (ret) {
		kfree(lab);
		return NULL;
	}
	return &lab->ttm;
}

static void lab_gpu_tt_destroy(struct ttm_device *bdev, struct ttm_tt *tt)
{
	lab_gpu_tt_set_counted(tt, 0);
	ttm_tt_fini(tt);
	kfree(to_lab_gpu_tt(tt));
}

static void lab_gpu_tt_forget(struct ttm_tt *tt)
{
	memset(tt->pages, 0, tt->num_pages * sizeof(*tt->pages));
}

/*
 * The pool takes blocks as large as fit into what is left of a tt. A cap is had by showing it the
 * tt in parts: each is a copy whose page array begins later and is no longer than one block.
 * Freeing needs no such thing, because the pool knows each block's order by its first page.
 */
static int lab_gpu_tt_alloc(struct ttm_device *bdev, struct ttm_tt *tt,
			    struct ttm_operation_ctx *ctx)
{
	u32 block = 1U << to_lab_gpu_tt(tt)->order, done;
	struct ttm_tt part = *tt;
	int ret = 0;

	if (to_lab_gpu_tt(tt)->order >= LAB_GPU_MAX_ORDER ||
	    lab_gpu_has_defect(LAB_GPU_DEFECT_ORDER_IGNORED))
		return ttm_pool_alloc(&bdev->pool, tt, ctx);
	for (done = 0; done < tt->num_pages && !ret; done += part.num_pages) {
		part.pages = tt->pages + done;
		part.num_pages = min(block, tt->num_pages - done);
		ret = ttm_pool_alloc(&bdev->pool, &part, ctx);
		if (ret)
			break;
		cond_resched();
	}
	if (ret && done) {
		part.pages = tt->pages;
		part.num_pages = done;
		ttm_pool_free(&bdev->pool, &part);
	}
	return ret;
}

static int lab_gpu_tt_restore(struct ttm_device *bdev, struct ttm_tt *tt,
			      struct ttm_operation_ctx *ctx)
{
	u32 before = lab_gpu_tt_backed_up(tt), after;
	int ret = ttm_tt_restore(bdev, tt, ctx);

	after = ret ? lab_gpu_tt_backed_up(tt) : 0;
	lab_gpu_count(restores, 1);
	lab_gpu_count(restored_pages, before - after);
	if (!ret && lab_gpu_has_defect(LAB_GPU_DEFECT_CORRUPT_RESTORE))
		clear_highpage(tt->pages[tt->num_pages / 2]);
	return ret;
}

static int lab_gpu_tt_populate(struct ttm_device *bdev, struct ttm_tt *tt,
			       struct ttm_operation_ctx *ctx)
{
	int ret;

	if (lab_gpu_tt_is_imported(tt))
		return drm_prime_sg_to_dma_addr_array(tt->sg, tt->dma_address, tt->num_pages);
	if (ttm_tt_is_backed_up(tt)) {
		ret = lab_gpu_tt_restore(bdev, tt, ctx);
	} else {
		ret = lab_gpu_tt_alloc(bdev, tt, ctx);
		if (ret) /* the pool has freed what it had, and leaves pointers to it */
			lab_gpu_tt_forget(tt);
	}
	if (!ret && tt->page_flags & TTM_TT_FLAG_SWAPPED)
		lab_gpu_count(swapin_pages, tt->num_pages);
	lab_gpu_tt_account(tt);
	return ret;
}

/* Planted; it ends at some point, so that the guest lives to tell. */
static bool lab_gpu_tt_leaks(const struct ttm_tt *tt)
{
	static atomic_long_t leaked;

	return lab_gpu_has_defect(LAB_GPU_DEFECT_LEAK) &&
	       atomic_long_add_return(tt->num_pages, &leaked) <= SZ_64M >> PAGE_SHIFT;
}

static void lab_gpu_tt_unpopulate(struct ttm_device *bdev, struct ttm_tt *tt)
{
	if (lab_gpu_tt_is_imported(tt))
		return;
	if (lab_gpu_tt_leaks(tt)) {
		lab_gpu_tt_forget(tt);
		to_lab_gpu_tt(tt)->counted = 0; /* they stay in live_pages for ever */
		return;
	}
	ttm_pool_free(&bdev->pool, tt);
	lab_gpu_tt_forget(tt);
	lab_gpu_tt_account(tt);
}

static bool lab_gpu_eviction_valuable(struct ttm_buffer_object *tbo, const struct ttm_place *place)
{
	struct lab_gpu *gpu = bdev_to_lab_gpu(tbo->bdev);

	/*
	 * Only a task itself sets and clears its own identity here, so there is nothing to race
	 * with.
	 */
	if (READ_ONCE(gpu->swap_task) == current)
		return tbo == gpu->swap_bo;
	return ttm_bo_eviction_valuable(tbo, place);
}

static void lab_gpu_evict_flags(struct ttm_buffer_object *tbo, struct ttm_placement *placement)
{
	*placement = lab_gpu_placement(&lab_gpu_in_system);
}

static void lab_gpu_swap_notify(struct ttm_buffer_object *tbo)
{
	/* TTM swaps in behind the driver's back: the page is lost on the way out instead. */
	if (lab_gpu_has_defect(LAB_GPU_DEFECT_CORRUPT_RESTORE) && ttm_tt_is_populated(tbo->ttm))
		clear_highpage(tbo->ttm->pages[tbo->ttm->num_pages / 2]);
}

/* ttm_mem_io_reserve() is not exported; calling this twice does no harm. */
int lab_gpu_io_mem_reserve(struct ttm_device *bdev, struct ttm_resource *res)
{
	struct lab_gpu *gpu = bdev_to_lab_gpu(bdev);
	resource_size_t at = (resource_size_t)res->start << PAGE_SHIFT;

	if (res->mem_type != TTM_PL_VRAM)
		return 0;
	res->bus.addr = (void __force *)gpu->vram + at;
	res->bus.offset = gpu->vram_base + at;
	res->bus.is_iomem = true;
	res->bus.caching = ttm_write_combined;
	return 0;
}

/* For ptrace and /proc/PID/mem; the caller holds the reservation and has checked the range. */
static int lab_gpu_access_memory(struct ttm_buffer_object *tbo, unsigned long offset, void *buf,
				 int len, int write)
{
	struct lab_gpu *gpu = bdev_to_lab_gpu(tbo->bdev);
	void __iomem *at =
		gpu->vram + ((resource_size_t)tbo->resource->start << PAGE_SHIFT) + offset;
	int idx;

	if (!drm_dev_enter(&gpu->drm, &idx))
		return -ENODEV;
	if (write)
		memcpy_toio(at, buf, len);
	else
		memcpy_fromio(buf, at, len);
	drm_dev_exit(idx);
	return len;
}

/* Not const: 6.1's ttm_device_init() takes no const. */
struct ttm_device_funcs lab_gpu_ttm_funcs = {
	.ttm_tt_create = lab_gpu_tt_create,
	.ttm_tt_populate = lab_gpu_tt_populate,
	.ttm_tt_unpopulate = lab_gpu_tt_unpopulate,
	.ttm_tt_destroy = lab_gpu_tt_destroy,
	.eviction_valuable = lab_gpu_eviction_valuable,
	.evict_flags = lab_gpu_evict_flags,
	.move = lab_gpu_move,
	.swap_notify = lab_gpu_swap_notify,
	.io_mem_reserve = lab_gpu_io_mem_reserve,
	.access_memory = lab_gpu_access_memory,
};
