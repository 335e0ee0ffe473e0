/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * All that differs between the kernels the test GPU is built for, from 6.1 on.
 *
 * Where a header tells, it is asked for; versions are compared only where none does.
 */
#ifndef LAB_GPU_COMPAT_H
#define LAB_GPU_COMPAT_H

#include <linux/mm.h>
#include <linux/version.h>

#include <drm/drm_drv.h>
#include <drm/drm_gem.h>
#include <drm/drm_prime.h>
#include <drm/ttm/ttm_device.h>
#include <drm/ttm/ttm_placement.h>
#include <drm/ttm/ttm_range_manager.h>
#include <drm/ttm/ttm_tt.h>

#if __has_include(<drm/ttm/ttm_bo.h>)
#include <drm/ttm/ttm_bo.h>
#else
#include <drm/ttm/ttm_bo_api.h>
#include <drm/ttm/ttm_bo_driver.h>
#endif

/* ---- TTM ----------------------------------------------------------------------------------- */

#if __has_include(<drm/ttm/ttm_allocation.h>)
#define lab_gpu_ttm_device_init(bdev, funcs, dev, mapping, manager) \
	ttm_device_init(bdev, funcs, dev, mapping, manager, 0)
#else	/* two booleans: coherent DMA memory, DMA32 */
#define lab_gpu_ttm_device_init(bdev, funcs, dev, mapping, manager) \
	ttm_device_init(bdev, funcs, dev, mapping, manager, false, false)
#endif

/* ed7a4397f55b, 6.19: the last reference is the GEM object's. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 19, 0)
#define lab_gpu_ttm_free ttm_bo_fini
#else
#define lab_gpu_ttm_free ttm_bo_put
#endif

/* fc5d96670eb2, 6.13: a populated BO has to return to the LRU, so there is a function on BOs. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 13, 0)
#define lab_gpu_ttm_populate ttm_bo_populate
#else
static inline int lab_gpu_ttm_populate(struct ttm_buffer_object *bo, struct ttm_operation_ctx *ctx)
{
	return bo->ttm ? ttm_tt_populate(bo->bdev, bo->ttm, ctx) : 0;
}
#endif

/*
 * a78a8da51b36, 6.9: the second list of placements, for when memory is short, became flags of the
 * first.
 */
static inline struct ttm_placement lab_gpu_placement(const struct ttm_place *place)
{
	return (struct ttm_placement){
		.num_placement = 1,
		.placement = place,
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 9, 0)
		.num_busy_placement = 1,
		.busy_placement = place,
#endif
	};
}

/* e7b5d23e5d47 and followers, 6.15: backup of TTM pages, for shrinkers. */
#if __has_include(<drm/ttm/ttm_backup.h>)
#include <drm/ttm/ttm_backup.h>
#define LAB_GPU_HAS_BACKUP 1
#else
#define LAB_GPU_HAS_BACKUP 0
struct ttm_bo_shrink_flags {
	u32 purge : 1;
	u32 writeback : 1;
	u32 allow_move : 1;
};
static inline int ttm_tt_setup_backup(struct ttm_tt *tt) { return -EOPNOTSUPP; }
static inline bool ttm_tt_is_backed_up(const struct ttm_tt *tt) { return false; }
static inline bool ttm_backup_page_ptr_is_handle(const struct page *page) { return false; }
static inline u64 ttm_backup_bytes_avail(void) { return 0; }
static inline int ttm_tt_restore(struct ttm_device *bdev, struct ttm_tt *tt,
				 const struct ttm_operation_ctx *ctx)
{
	return -EOPNOTSUPP;
}
static inline long ttm_bo_shrink(struct ttm_operation_ctx *ctx, struct ttm_buffer_object *bo,
				 const struct ttm_bo_shrink_flags flags)
{
	return -EOPNOTSUPP;
}
#endif

/* ---- DRM ----------------------------------------------------------------------------------- */

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 14, 0)
#define LAB_GPU_DRM_DATE
#else	/* cb2e1c2136f7 dropped it */
#define LAB_GPU_DRM_DATE .date = "20260101",
#endif

/* 6b85aa68d9d5, 6.6: what every driver had set became the default. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 6, 0)
#define LAB_GPU_DRM_PRIME
#else
#define LAB_GPU_DRM_PRIME \
	.prime_handle_to_fd = drm_gem_prime_handle_to_fd, \
	.prime_fd_to_handle = drm_gem_prime_fd_to_handle, \
	.gem_prime_mmap = drm_gem_prime_mmap,
#endif

/* cdd30ebb1b9f, 6.13: a string. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 13, 0)
#define LAB_GPU_IMPORT_DMA_BUF MODULE_IMPORT_NS("DMA_BUF")
#else
#define LAB_GPU_IMPORT_DMA_BUF MODULE_IMPORT_NS(DMA_BUF)
#endif

/*
 * a78027847226, 6.10: the core holds the BO's reservation around drm_gem_object_funcs.pin and
 * .unpin.
 */
#define LAB_GPU_PIN_IS_LOCKED (LINUX_VERSION_CODE >= KERNEL_VERSION(6, 10, 0))

/* ---- memory management --------------------------------------------------------------------- */

#ifndef PMD_ORDER
#define PMD_ORDER (PMD_SHIFT - PAGE_SHIFT)
#endif

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 12, 0)
static inline bool pmd_special(pmd_t pmd) { return false; }
static inline bool pud_special(pud_t pud) { return false; }
#endif

/*
 * A huge entry for a whole PMD. From 6.12 it is marked special, and fast GUP leaves it alone
 * (3c8e44c9b369); before that it is an ordinary one whose pages fast GUP takes references on,
 * although nobody else counts any: unsafe.
 */
#if __has_include(<linux/pfn_t.h>)
#include <linux/pfn_t.h>
#define LAB_GPU_PFN(pfn) __pfn_to_pfn_t(pfn, PFN_DEV)
#else	/* gone in 6.17 */
#define LAB_GPU_PFN(pfn) (pfn)
#endif

#ifdef CONFIG_ARCH_SUPPORTS_PMD_PFNMAP
#define LAB_GPU_HAS_SPECIAL_PMD 1
#define lab_gpu_insert_pmd(vmf, pfn, prot, write) vmf_insert_pfn_pmd(vmf, LAB_GPU_PFN(pfn), write)
#else
#define LAB_GPU_HAS_SPECIAL_PMD 0
#define lab_gpu_insert_pmd(vmf, pfn, prot, write) \
	vmf_insert_pfn_pmd_prot(vmf, LAB_GPU_PFN(pfn), prot, write)
#endif

#endif
