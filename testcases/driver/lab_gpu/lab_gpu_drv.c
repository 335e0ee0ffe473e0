// SPDX-License-Identifier: GPL-2.0-only
/*
 * lab_gpu, the lab's test GPU: a TTM driver that computes nothing and does with memory what it is
 * told.
 *
 * The device is QEMU's ivshmem-plain, whose BAR 2 is VRAM. testcases/include/lab_gpu.h is the uAPI.
 */
#include <linux/module.h>
#include <linux/pci.h>

#include <drm/drm_drv.h>
#include <drm/drm_gem_ttm_helper.h>
#include <drm/drm_ioctl.h>
#include <drm/drm_managed.h>

#include "lab_gpu_drv.h"

#define VRAM_BAR 2

static int lab_gpu_open(struct drm_device *drm, struct drm_file *file)
{
	struct lab_gpu_file *priv = kzalloc(sizeof(*priv), GFP_KERNEL);

	if (!priv)
		return -ENOMEM;
	xa_init_flags(&priv->fences, XA_FLAGS_ALLOC1);
	file->driver_priv = priv;
	return 0;
}

static void lab_gpu_postclose(struct drm_device *drm, struct drm_file *file)
{
	struct lab_gpu_file *priv = file->driver_priv;

	lab_gpu_fences_release(priv);
	kfree(priv);
}

static const struct drm_ioctl_desc lab_gpu_ioctls[] = {
	DRM_IOCTL_DEF_DRV(LAB_GPU_CREATE, lab_gpu_create_ioctl, DRM_RENDER_ALLOW),
	DRM_IOCTL_DEF_DRV(LAB_GPU_MAP, lab_gpu_map_ioctl, DRM_RENDER_ALLOW),
	DRM_IOCTL_DEF_DRV(LAB_GPU_EVICT, lab_gpu_evict_ioctl, DRM_RENDER_ALLOW),
	DRM_IOCTL_DEF_DRV(LAB_GPU_SWAPOUT, lab_gpu_swapout_ioctl, DRM_RENDER_ALLOW),
	DRM_IOCTL_DEF_DRV(LAB_GPU_BACKUP, lab_gpu_backup_ioctl, DRM_RENDER_ALLOW),
	DRM_IOCTL_DEF_DRV(LAB_GPU_RESTORE, lab_gpu_restore_ioctl, DRM_RENDER_ALLOW),
	DRM_IOCTL_DEF_DRV(LAB_GPU_FENCE_ATTACH, lab_gpu_fence_attach_ioctl, DRM_RENDER_ALLOW),
	DRM_IOCTL_DEF_DRV(LAB_GPU_FENCE_SIGNAL, lab_gpu_fence_signal_ioctl, DRM_RENDER_ALLOW),
	DRM_IOCTL_DEF_DRV(LAB_GPU_INFO, lab_gpu_info_ioctl, DRM_RENDER_ALLOW),
};

DEFINE_DRM_GEM_FOPS(lab_gpu_fops);

static const struct drm_driver lab_gpu_driver = {
	.driver_features = DRIVER_GEM | DRIVER_RENDER,
	.open = lab_gpu_open,
	.postclose = lab_gpu_postclose,
	.ioctls = lab_gpu_ioctls,
	.num_ioctls = ARRAY_SIZE(lab_gpu_ioctls),
	.fops = &lab_gpu_fops,
	.dumb_create = lab_gpu_dumb_create,
	.dumb_map_offset = drm_gem_ttm_dumb_map_offset,
	.gem_prime_import_sg_table = lab_gpu_import,
	LAB_GPU_DRM_PRIME
	.name = LAB_GPU_DRIVER,
	.desc = "the lab's test GPU",
	LAB_GPU_DRM_DATE
	.major = 1,
};

/* With the last reference on the device: files, BOs and dma-bufs are gone. */
static void lab_gpu_ttm_fini(struct drm_device *drm, void *data)
{
	struct lab_gpu *gpu = data;

	ttm_range_man_fini(&gpu->bdev, TTM_PL_VRAM);
	ttm_device_fini(&gpu->bdev);
	mutex_destroy(&gpu->swap_lock);
}

static int lab_gpu_vram_init(struct lab_gpu *gpu, struct pci_dev *pdev)
{
	gpu->vram_base = pci_resource_start(pdev, VRAM_BAR);
	gpu->vram_size = pci_resource_len(pdev, VRAM_BAR);
	if (!gpu->vram_size)
		return dev_err_probe(&pdev->dev, -ENODEV, "no BAR %d: is this ivshmem-plain?\n",
				     VRAM_BAR);
	if (!devm_request_mem_region(&pdev->dev, gpu->vram_base, gpu->vram_size, LAB_GPU_DRIVER))
		return dev_err_probe(&pdev->dev, -EBUSY, "BAR %d is in use\n", VRAM_BAR);
	gpu->vram = devm_ioremap_wc(&pdev->dev, gpu->vram_base, gpu->vram_size);
	return gpu->vram ? 0 : -ENOMEM;
}

static int lab_gpu_ttm_init(struct lab_gpu *gpu)
{
	struct drm_device *drm = &gpu->drm;
	int ret;

	mutex_init(&gpu->swap_lock);
	ret = lab_gpu_ttm_device_init(&gpu->bdev, &lab_gpu_ttm_funcs, drm->dev,
				      drm->anon_inode->i_mapping, drm->vma_offset_manager);
	if (ret)
		return ret;
	ret = ttm_range_man_init(&gpu->bdev, TTM_PL_VRAM, false, gpu->vram_size >> PAGE_SHIFT);
	if (ret) {
		ttm_device_fini(&gpu->bdev);
		return ret;
	}
	return drmm_add_action_or_reset(drm, lab_gpu_ttm_fini, gpu);
}

static int lab_gpu_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct lab_gpu *gpu;
	int ret;

	gpu = devm_drm_dev_alloc(&pdev->dev, &lab_gpu_driver, struct lab_gpu, drm);
	if (IS_ERR(gpu))
		return PTR_ERR(gpu);
	ret = pcim_enable_device(pdev);
	if (ret)
		return ret;
	/* For imported dma-bufs: anywhere, and in pieces of any length. */
	ret = dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64));
	if (ret)
		return ret;
	dma_set_max_seg_size(&pdev->dev, UINT_MAX);
	ret = lab_gpu_vram_init(gpu, pdev);
	if (ret)
		return ret;
	ret = lab_gpu_ttm_init(gpu);
	if (ret)
		return ret;
	pci_set_drvdata(pdev, gpu);
	return drm_dev_register(&gpu->drm, 0);
}

/* Zaps all mappings too; a later fault finds the device unplugged and gets a page of zeroes. */
static void lab_gpu_remove(struct pci_dev *pdev)
{
	struct lab_gpu *gpu = pci_get_drvdata(pdev);

	drm_dev_unplug(&gpu->drm);
}

static const struct pci_device_id lab_gpu_ids[] = {
	{ PCI_DEVICE(0x1af4, 0x1110) }, /* ivshmem */
	{ }
};
MODULE_DEVICE_TABLE(pci, lab_gpu_ids);

static struct pci_driver lab_gpu_pci_driver = {
	.name = LAB_GPU_DRIVER,
	.id_table = lab_gpu_ids,
	.probe = lab_gpu_probe,
	.remove = lab_gpu_remove,
};

static int __init lab_gpu_init(void)
{
	int ret;

	lab_gpu_debugfs_init();
	ret = pci_register_driver(&lab_gpu_pci_driver);
	if (ret)
		lab_gpu_debugfs_exit();
	return ret;
}

static void __exit lab_gpu_exit(void)
{
	pci_unregister_driver(&lab_gpu_pci_driver);
	lab_gpu_debugfs_exit();
}

module_init(lab_gpu_init);
module_exit(lab_gpu_exit);

MODULE_DESCRIPTION("Test GPU of faultlab");
MODULE_LICENSE("GPL");
LAB_GPU_IMPORT_DMA_BUF;
