/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A PCI device that vfio-pci holds, opened as a virtual machine monitor opens it: container, group, device.
 * Needs vfio-pci and vfio_iommu_type1 loaded, an IOMMU, and the device bound (`vfio-pci ids=VENDOR:DEVICE`).
 */
#ifndef FAULTLAB_VFIO_DEVICE_H
#define FAULTLAB_VFIO_DEVICE_H

#include "faultlab.h"

#include <fcntl.h>
#include <glob.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <sys/ioctl.h>

struct vfio_device {
	int container, group, fd;
	char address[16];   /* such as 0000:00:02.0 */
	const char *failed; /* what did not work; errno tells why */
};

/* A BAR, as mmap() on the device's descriptor takes it. */
struct vfio_bar {
	uint64_t offset, size;
	bool can_mmap;
};

/* The first device that vfio-pci holds, and the number of its group; false: it holds none. */
static inline bool vfio_find(struct vfio_device *device, unsigned int *group)
{
	char path[PATH_MAX], target[PATH_MAX];
	bool found = false;
	ssize_t length;
	glob_t all;

	if (glob("/sys/bus/pci/drivers/vfio-pci/*:*", 0, NULL, &all))
		return false;
	snprintf(device->address, sizeof(device->address), "%s", strrchr(all.gl_pathv[0], '/') + 1);
	snprintf(path, sizeof(path), "%s/iommu_group", all.gl_pathv[0]);
	length = readlink(path, target, sizeof(target) - 1);
	if (length > 0) {
		target[length] = '\0';
		found = sscanf(strrchr(target, '/'), "/%u", group) == 1;
	}
	globfree(&all);
	return found;
}

/* Let the device answer accesses to its memory: a mapping of a BAR faults with SIGBUS before. */
static inline bool vfio_enable_memory(const struct vfio_device *device)
{
	struct vfio_region_info config = { .argsz = sizeof(config), .index = VFIO_PCI_CONFIG_REGION_INDEX };
	uint16_t command;

	if (ioctl(device->fd, VFIO_DEVICE_GET_REGION_INFO, &config) ||
	    pread(device->fd, &command, sizeof(command), config.offset + PCI_COMMAND) != sizeof(command))
		return false;
	command |= PCI_COMMAND_MEMORY;
	return pwrite(device->fd, &command, sizeof(command), config.offset + PCI_COMMAND) == sizeof(command);
}

/* Open what vfio-pci holds: false, and `failed`, if that does not work. */
static inline bool vfio_open(struct vfio_device *device)
{
	struct vfio_group_status status = { .argsz = sizeof(status) };
	unsigned int number;
	char path[32];

	*device = (struct vfio_device){ .container = -1, .group = -1, .fd = -1 };
	device->failed = "a device of vfio-pci in an IOMMU group";
	errno = ENODEV;
	if (!vfio_find(device, &number))
		return false;
	device->failed = "/dev/vfio/vfio";
	device->container = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
	if (device->container < 0)
		return false;
	device->failed = "/dev/vfio/GROUP";
	snprintf(path, sizeof(path), "/dev/vfio/%u", number);
	device->group = open(path, O_RDWR | O_CLOEXEC);
	if (device->group < 0 || ioctl(device->group, VFIO_GROUP_GET_STATUS, &status))
		return false;
	device->failed = "a group whose devices are all vfio-pci's";
	errno = EBUSY;
	if (!(status.flags & VFIO_GROUP_FLAGS_VIABLE))
		return false;
	device->failed = "VFIO_GROUP_SET_CONTAINER";
	if (ioctl(device->group, VFIO_GROUP_SET_CONTAINER, &device->container))
		return false;
	device->failed = "VFIO_SET_IOMMU, which needs interrupt remapping";
	if (ioctl(device->container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU))
		return false;
	device->failed = "VFIO_GROUP_GET_DEVICE_FD";
	device->fd = ioctl(device->group, VFIO_GROUP_GET_DEVICE_FD, device->address);
	return device->fd >= 0 && vfio_enable_memory(device);
}

/* BAR `number` of the device: false if it has none. */
static inline bool vfio_bar(const struct vfio_device *device, unsigned int number, struct vfio_bar *bar)
{
	struct vfio_region_info info = {
		.argsz = sizeof(info), .index = VFIO_PCI_BAR0_REGION_INDEX + number,
	};

	if (ioctl(device->fd, VFIO_DEVICE_GET_REGION_INFO, &info) || !info.size)
		return false;
	*bar = (struct vfio_bar){
		.offset = info.offset, .size = info.size, .can_mmap = info.flags & VFIO_REGION_INFO_FLAG_MMAP,
	};
	return true;
}

/*
 * Map a whole BAR `pages` pages behind a multiple of 2 MiB, without touching it; MAP_FAILED and errno. What
 * was reserved around it stays.
 */
static inline char *vfio_map(const struct vfio_device *device, const struct vfio_bar *bar, uint64_t pages)
{
	const int reserve = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, put = MAP_SHARED | MAP_FIXED;
	const uint64_t huge = 2UL << 20;
	char *area = mmap(NULL, bar->size + 2 * huge, PROT_NONE, reserve, -1, 0);
	char *where;

	if (area == MAP_FAILED)
		return area;
	where = (char *)(((uintptr_t)area + huge - 1) / huge * huge + pages * LAB_PAGE);
	return mmap(where, bar->size, PROT_READ | PROT_WRITE, put, device->fd, bar->offset);
}

#endif
