// SPDX-License-Identifier: GPL-2.0-only
/*
 * Mapping BOs. With prefault=0 and huge=0 a mapping gets TTM's own operations, so that what a
 * patched ttm.ko does is what is measured. Otherwise faults come here first.
 */
#include <linux/dma-buf.h>
#include <linux/dma-resv.h>

#include <drm/drm_gem_ttm_helper.h>

#include "lab_gpu_drv.h"

/* Of the BO; what TTM calls page_offset. */
static u64 lab_gpu_page_at(const struct vm_area_struct *vma, const struct lab_gpu_bo *bo,
			   unsigned long address)
{
	return ((address - vma->vm_start) >> PAGE_SHIFT) + vma->vm_pgoff -
	       drm_vma_node_start(&bo->tbo.base.vma_node);
}

/*
 * As ttm_bo_vm_fault_idle(), which is not exported: 0, or what the fault ends with. With
 * VM_FAULT_RETRY both the reservation and mmap_lock are gone, unless the fault may not wait.
 */
static vm_fault_t lab_gpu_fault_idle(struct ttm_buffer_object *tbo, struct vm_fault *vmf)
{
	long ret;

	if (dma_resv_test_signaled(tbo->base.resv, DMA_RESV_USAGE_KERNEL))
		return 0;
	if (fault_flag_allow_retry_first(vmf->flags)) {
		if (vmf->flags & FAULT_FLAG_RETRY_NOWAIT)
			return VM_FAULT_RETRY;
		drm_gem_object_get(&tbo->base);
		mmap_read_unlock(vmf->vma->vm_mm);
		dma_resv_wait_timeout(tbo->base.resv, DMA_RESV_USAGE_KERNEL, true,
				      MAX_SCHEDULE_TIMEOUT);
		dma_resv_unlock(tbo->base.resv);
		drm_gem_object_put(&tbo->base);
		return VM_FAULT_RETRY;
	}
	ret = dma_resv_wait_timeout(tbo->base.resv, DMA_RESV_USAGE_KERNEL, true,
				    MAX_SCHEDULE_TIMEOUT);
	if (ret < 0)
		return ret == -ERESTARTSYS ? VM_FAULT_NOPAGE : VM_FAULT_SIGBUS;
	return 0;
}

/* One entry for the whole PMD around the address, if BO, memory and mapping are aligned for it. */
static vm_fault_t lab_gpu_fault_pmd(struct lab_gpu_bo *bo, struct vm_fault *vmf)
{
	struct ttm_operation_ctx ctx = { .interruptible = true };
	unsigned long start = vmf->address & PMD_MASK, pfn;
	struct ttm_buffer_object *tbo = &bo->tbo;
	struct vm_area_struct *vma = vmf->vma;
	vm_fault_t ret;

	lab_gpu_count(huge_faults, 1);
	if (start < vma->vm_start || start + PMD_SIZE > vma->vm_end)
		return VM_FAULT_FALLBACK;
	ret = lab_gpu_fault_idle(tbo, vmf);
	if (ret)
		return ret;
	lab_gpu_io_mem_reserve(tbo->bdev, tbo->resource);
	/*
	 * What fails here will fail in the fault of 4 KiB that follows, which knows what to tell.
	 */
	if (!tbo->resource->bus.is_iomem && lab_gpu_ttm_populate(tbo, &ctx))
		return VM_FAULT_FALLBACK;
	if (!lab_gpu_huge_span(bo, lab_gpu_page_at(vma, bo, start), &pfn))
		return VM_FAULT_FALLBACK;
	ret = lab_gpu_insert_pmd(vmf, pfn, ttm_io_prot(tbo, tbo->resource, vma->vm_page_prot),
				 vmf->flags & FAULT_FLAG_WRITE);
	if (ret == VM_FAULT_NOPAGE)
		lab_gpu_count(huge_inserted, 1);
	return ret;
}

/*
 * Before 6.12 the core calls no huge_fault for such a mapping, but a fault may fill an empty PMD
 * itself.
 */
static bool lab_gpu_wants_unsafe_pmd(const struct vm_fault *vmf)
{
	return lab_gpu_huge() == LAB_GPU_HUGE_UNSAFE && pmd_none(*vmf->pmd);
}

static vm_fault_t lab_gpu_fault_reserved(struct lab_gpu_bo *bo, struct vm_fault *vmf)
{
	unsigned long window = lab_gpu_prefault() ?: TTM_BO_VM_NUM_PREFAULT;
	vm_fault_t ret;

	if (lab_gpu_wants_unsafe_pmd(vmf)) {
		ret = lab_gpu_fault_pmd(bo, vmf);
		if (ret != VM_FAULT_FALLBACK)
			return ret;
	}
	if (lab_gpu_has_defect(LAB_GPU_DEFECT_PREFAULT_IGNORED))
		window = 1;
	lab_gpu_count(faults, 1);
	lab_gpu_count(window_pages, window);
	return ttm_bo_vm_fault_reserved(vmf, vmf->vma->vm_page_prot, window);
}

static vm_fault_t lab_gpu_vm_fault(struct vm_fault *vmf)
{
	struct ttm_buffer_object *tbo = vmf->vma->vm_private_data;
	vm_fault_t ret = ttm_bo_vm_reserve(tbo, vmf);
	int idx;

	if (ret)
		return ret;
	if (drm_dev_enter(tbo->base.dev, &idx)) {
		ret = lab_gpu_fault_reserved(to_lab_gpu_bo(tbo), vmf);
		drm_dev_exit(idx);
	} else {
		ret = ttm_bo_vm_dummy_page(vmf, vmf->vma->vm_page_prot);
	}
	if (ret == VM_FAULT_RETRY && !(vmf->flags & FAULT_FLAG_RETRY_NOWAIT))
		return ret; /* the reservation is gone already */
	dma_resv_unlock(tbo->base.resv);
	return ret;
}

static const struct vm_operations_struct lab_gpu_vm_ops = {
	.fault = lab_gpu_vm_fault,
	.open = ttm_bo_vm_open,
	.close = ttm_bo_vm_close,
	.access = ttm_bo_vm_access,
};

#if LAB_GPU_HAS_SPECIAL_PMD

/*
 * From 6.6 on this may be called with the lock of the VMA alone, and TTM's helpers, which drop
 * mmap_lock to wait, do not know that. Falling back then makes the core come again with mmap_lock,
 * because .fault is not called otherwise (vmf_can_call_fault()), and the PMD is still empty.
 */
static vm_fault_t lab_gpu_vm_huge_fault(struct vm_fault *vmf, unsigned int order)
{
	struct ttm_buffer_object *tbo = vmf->vma->vm_private_data;
	vm_fault_t ret;
	int idx;

	if (order != PMD_ORDER || vmf->flags & FAULT_FLAG_VMA_LOCK)
		return VM_FAULT_FALLBACK;
	ret = ttm_bo_vm_reserve(tbo, vmf);
	if (ret)
		return ret;
	ret = VM_FAULT_FALLBACK;
	if (drm_dev_enter(tbo->base.dev, &idx)) {
		ret = lab_gpu_fault_pmd(to_lab_gpu_bo(tbo), vmf);
		drm_dev_exit(idx);
	}
	if (ret == VM_FAULT_RETRY && !(vmf->flags & FAULT_FLAG_RETRY_NOWAIT))
		return ret;
	dma_resv_unlock(tbo->base.resv);
	return ret;
}

static const struct vm_operations_struct lab_gpu_vm_huge_ops = {
	.fault = lab_gpu_vm_fault,
	.huge_fault = lab_gpu_vm_huge_fault,
	.open = ttm_bo_vm_open,
	.close = ttm_bo_vm_close,
	.access = ttm_bo_vm_access,
};

#endif

/* Those of a new mapping, by the parameters as they are now; NULL: TTM's. */
static const struct vm_operations_struct *lab_gpu_vm_operations(void)
{
#if LAB_GPU_HAS_SPECIAL_PMD
	if (lab_gpu_huge() == LAB_GPU_HUGE_SPECIAL)
		return &lab_gpu_vm_huge_ops;
#endif
	return lab_gpu_huge() || lab_gpu_prefault() ? &lab_gpu_vm_ops : NULL;
}

int lab_gpu_gem_mmap(struct drm_gem_object *gem, struct vm_area_struct *vma)
{
	int ret;

	if (gem->import_attach) { /* by its exporter; as drm_gem_shmem_mmap() does */
		vma->vm_private_data = NULL;
		ret = dma_buf_mmap(gem->import_attach->dmabuf, vma, 0);
		if (!ret)
			drm_gem_object_put(gem); /* the mapping holds the dma-buf instead */
		return ret;
	}
	vma->vm_ops = lab_gpu_vm_operations();
	return drm_gem_ttm_mmap(gem, vma);
}
