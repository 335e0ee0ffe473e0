/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Swap on a block device or in compressed memory (zram), without a mkswap in the guest. */
#ifndef FAULTLAB_SWAP_H
#define FAULTLAB_SWAP_H

#include "faultlab.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/swap.h>

/* union swap_header of include/linux/swap.h: one page, its magic at the end */
struct lab_swap_header {
	char boot[1024];
	uint32_t version, last_page, bad_pages;
	char rest[LAB_PAGE - 1024 - 12 - 10];
	char magic[10];
} __attribute__((packed));

/* Make all of `device` swap and use it: its pages, or -errno. */
static inline int64_t lab_swap_on(const char *device)
{
	struct lab_swap_header header = { .version = 1, .magic = "SWAPSPACE2" };
	int fd = open(device, O_RDWR | O_CLOEXEC), ret = 0;
	uint64_t size = 0;

	if (fd < 0)
		return -errno;
	if (ioctl(fd, BLKGETSIZE64, &size)) {
		ret = -errno;
	} else {
		header.last_page = size / LAB_PAGE - 1;
		if (pwrite(fd, &header, sizeof(header), 0) != sizeof(header) || fsync(fd))
			ret = -errno;
	}
	close(fd);
	if (ret)
		return ret;
	return swapon(device, 0) ? -errno : (int64_t)header.last_page;
}

/* The same in compressed memory: `size` is what it can hold, such as "64M". Needs the module zram. */
static inline int64_t lab_swap_on_zram(const char *size)
{
	int fd = open("/sys/block/zram0/disksize", O_WRONLY | O_CLOEXEC), ret = 0;

	if (fd < 0)
		return -errno;
	/* Once it has a size it cannot be given another: then it is in use again as it is. */
	if (write(fd, size, strlen(size)) < 0 && errno != EBUSY)
		ret = -errno;
	close(fd);
	return ret ? ret : lab_swap_on("/dev/zram0");
}

/* End that, with all that is in it read back first, and free its memory: 0 or -errno. */
static inline int lab_swap_off_zram(void)
{
	int fd, ret = 0;

	if (swapoff("/dev/zram0"))
		return -errno;
	fd = open("/sys/block/zram0/reset", O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "1", 1) < 0)
		ret = -errno;
	if (fd >= 0)
		close(fd);
	return ret;
}

#endif
