// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vgem_fences: the last reference to a fence of vgem is dropped in an interrupt.
 *
 * Two BOs get a fence each, and both fences become one: sync files, merged, which makes a dma_fence_array. Then
 * all is closed that refers to them but the array, which lives on its callbacks alone. When the second fence is
 * signalled, the array ends in an irq_work, and with it the first fence. Releasing a fence of vgem stops its
 * timer; whoever waits for a timer in an interrupt may wait for what that interrupt holds up.
 */
#include "dma_buf.h"

#include <poll.h>

/* include/uapi/drm/vgem_drm.h, include/uapi/linux/dma-buf.h, include/uapi/linux/sync_file.h */
struct vgem_attach {
	uint32_t handle, flags, out_fence, pad;
};

struct vgem_signal {
	uint32_t fence, flags;
};

struct export_sync_file {
	uint32_t flags;
	int32_t fd;
};

struct sync_merge {
	char name[32];
	int32_t fd2, fence;
	uint32_t flags, pad;
};

#define VGEM_FENCE_ATTACH _IOWR('d', 0x41, struct vgem_attach)
#define VGEM_FENCE_SIGNAL _IOW('d', 0x42, struct vgem_signal)
#define VGEM_WRITE 1
#define EXPORT_SYNC_FILE _IOWR('b', 2, struct export_sync_file)
#define SYNC_READ 1 /* what a reader has to wait for: the writer's fence */
#define MERGE _IOWR('>', 3, struct sync_merge)

struct fenced {
	struct bo bo;
	uint32_t fence;
	int buffer, sync_file;
};

/* A BO with a fence, and that fence as a sync file; false, and a check that failed, where one cannot be had. */
static bool make(int card, struct fenced *one)
{
	struct vgem_attach attach = { .flags = VGEM_WRITE };
	struct export_sync_file export = { .flags = SYNC_READ };

	if (bo_make(BO_DUMB, card, LAB_PAGE, &one->bo))
		return lab_check(false, "bo", "%s", strerror(errno));
	attach.handle = one->bo.handle;
	if (ioctl(card, VGEM_FENCE_ATTACH, &attach))
		return lab_check(false, "attached", "%s", strerror(errno));
	one->fence = attach.out_fence;
	one->buffer = dma_buf_export(card, one->bo.handle);
	if (one->buffer < 0 || ioctl(one->buffer, EXPORT_SYNC_FILE, &export))
		return lab_check(false, "sync-file", "%s", strerror(one->buffer < 0 ? -one->buffer : errno));
	one->sync_file = export.fd;
	return true;
}

/* From here on only the driver's own table, and whatever was made of the fence, refers to it. */
static void forget(const struct fenced *one)
{
	bo_free(&one->bo);
	close(one->buffer);
	close(one->sync_file);
}

static int signal_fence(int card, const struct fenced *one)
{
	struct vgem_signal signal = { .fence = one->fence };

	return ioctl(card, VGEM_FENCE_SIGNAL, &signal);
}

int main(void)
{
	struct sync_merge merge = { .name = "both" };
	struct fenced one, other;
	struct pollfd both;
	char found[160];
	int card = bo_open_driver("vgem", found, sizeof(found)), early;

	lab_start();
	if (card < 0) {
		lab_skip("driver", "there is no vgem; %s", found);
		return lab_finish();
	}
	if (!make(card, &one) || !make(card, &other))
		return lab_finish();
	merge.fd2 = other.sync_file;
	if (!lab_check(!ioctl(one.sync_file, MERGE, &merge), "merged", "%s", "one fence of two"))
		return lab_finish();
	both = (struct pollfd){ .fd = merge.fence, .events = POLLIN };
	early = poll(&both, 1, 0); /* whoever asks makes the array listen to its fences */
	lab_check(early == 0, "pending", "poll() says %d before a signal", early);
	close(merge.fence);
	forget(&one);
	forget(&other);
	lab_check(!signal_fence(card, &one) && !signal_fence(card, &other), "signalled", "%s",
		  "one after the other; the second ends both");
	return lab_finish();
}
