// SPDX-License-Identifier: GPL-2.0-only
/* Fences that signal when they are told to: the GPU work that BOs wait for. */
#include <linux/dma-fence.h>
#include <linux/dma-resv.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#include "lab_gpu_drv.h"

#define DEFAULT_MS 10000

struct lab_gpu_fence {
	struct dma_fence base; /* first: dma_fence_free() frees it */
	spinlock_t lock;
	struct delayed_work timeout;
};

static const char *lab_gpu_fence_name(struct dma_fence *fence)
{
	return LAB_GPU_DRIVER;
}

static const struct dma_fence_ops lab_gpu_fence_ops = {
	.get_driver_name = lab_gpu_fence_name,
	.get_timeline_name = lab_gpu_fence_name,
};

static void lab_gpu_fence_timeout(struct work_struct *work)
{
	struct lab_gpu_fence *fence =
		container_of(to_delayed_work(work), struct lab_gpu_fence, timeout);

	if (!dma_fence_is_signaled(&fence->base)) { /* only by defect=fence-early it is */
		dma_fence_set_error(&fence->base, -ETIME);
		dma_fence_signal(&fence->base);
	}
	lab_gpu_count(fences_timed_out, 1);
	lab_gpu_count(pending_fences, -1);
	dma_fence_put(&fence->base);
}

/* Signal and drop the reference of the table. Whether it had not timed out. */
static bool lab_gpu_fence_signal(struct lab_gpu_fence *fence)
{
	bool in_time = cancel_delayed_work_sync(&fence->timeout);

	if (in_time) {
		dma_fence_signal(&fence->base);
		lab_gpu_count(fences_signalled, 1);
		lab_gpu_count(pending_fences, -1);
		dma_fence_put(&fence->base); /* of the work */
	}
	dma_fence_put(&fence->base);
	return in_time;
}

/* With two references: of the table, and of the timeout, which runs from now on. */
static struct lab_gpu_fence *lab_gpu_fence_new(unsigned int timeout_ms)
{
	struct lab_gpu_fence *fence = kzalloc(sizeof(*fence), GFP_KERNEL);

	if (!fence)
		return NULL;
	spin_lock_init(&fence->lock);
	/* A timeline each: two fences of a test GPU are never in order. */
	dma_fence_init(&fence->base, &lab_gpu_fence_ops, &fence->lock, dma_fence_context_alloc(1),
		       1);
	INIT_DELAYED_WORK(&fence->timeout, lab_gpu_fence_timeout);
	dma_fence_get(&fence->base);
	lab_gpu_count(fences_attached, 1);
	lab_gpu_count(pending_fences, 1);
	schedule_delayed_work(&fence->timeout, msecs_to_jiffies(timeout_ms));
	return fence;
}

static int lab_gpu_fence_attach(struct lab_gpu_bo *bo, struct lab_gpu_fence *fence,
				enum dma_resv_usage usage)
{
	struct dma_resv *resv = bo->tbo.base.resv;
	int ret = ttm_bo_reserve(&bo->tbo, true, false, NULL);

	if (ret)
		return ret;
	ret = dma_resv_reserve_fences(resv, 1);
	if (!ret)
		dma_resv_add_fence(resv, &fence->base, usage);
	ttm_bo_unreserve(&bo->tbo);
	return ret;
}

int lab_gpu_fence_attach_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	static const enum dma_resv_usage usages[] = {
		[LAB_GPU_FENCE_KERNEL] = DMA_RESV_USAGE_KERNEL,
		[LAB_GPU_FENCE_WRITE] = DMA_RESV_USAGE_WRITE,
		[LAB_GPU_FENCE_READ] = DMA_RESV_USAGE_READ,
		[LAB_GPU_FENCE_BOOKKEEP] = DMA_RESV_USAGE_BOOKKEEP,
	};
	struct lab_gpu_file *priv = file->driver_priv;
	struct lab_gpu_fence_attach *args = data;
	struct lab_gpu_fence *fence;
	struct lab_gpu_bo *bo;
	int ret;

	if (args->usage >= ARRAY_SIZE(usages) || args->timeout_ms > LAB_GPU_FENCE_MAX_MS)
		return -EINVAL;
	bo = lab_gpu_bo_lookup(file, args->handle);
	if (IS_ERR(bo))
		return PTR_ERR(bo);
	fence = lab_gpu_fence_new(args->timeout_ms ?: DEFAULT_MS);
	if (!fence) {
		ret = -ENOMEM;
		goto put_bo;
	}
	ret = lab_gpu_fence_attach(bo, fence, usages[args->usage]);
	if (ret)
		goto signal;
	/* Signalled at once, it may be signalled again. */
	if (lab_gpu_has_defect(LAB_GPU_DEFECT_FENCE_EARLY))
		dma_fence_signal(&fence->base);
	/* Last: from here on another thread may signal and free it. */
	ret = xa_alloc(&priv->fences, &args->fence, fence, xa_limit_31b, GFP_KERNEL);
	if (!ret)
		goto put_bo;
signal:
	lab_gpu_fence_signal(fence);
put_bo:
	lab_gpu_bo_put(bo);
	return ret;
}

int lab_gpu_fence_signal_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct lab_gpu_file *priv = file->driver_priv;
	struct lab_gpu_fence_signal *args = data;
	struct lab_gpu_fence *fence;

	if (args->pad)
		return -EINVAL;
	fence = xa_erase(&priv->fences, args->fence);
	if (!fence)
		return -ENOENT;
	return lab_gpu_fence_signal(fence) ? 0 : -ETIME;
}

/* The file is closed: nobody can signal them any more. */
void lab_gpu_fences_release(struct lab_gpu_file *file)
{
	struct lab_gpu_fence *fence;
	unsigned long id;

	xa_for_each(&file->fences, id, fence)
		lab_gpu_fence_signal(fence);
	xa_destroy(&file->fences);
}
