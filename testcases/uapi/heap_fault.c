// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * heap_fault: DMA_HEAP_IOCTL_ALLOC that cannot return its result must not leave a descriptor behind.
 *
 * The argument lies in a page that can be read and not be written, so copy_to_user() fails at the very end. A
 * kernel that has put the descriptor into the table by then cannot take it back: whoever shares the table may
 * have it already, and the program that asked never learns its number.
 */
#include "faultlab.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/ioctl.h>

#define HEAP "/dev/dma_heap/system"

/* include/uapi/linux/dma-heap.h */
struct heap_allocation {
	uint64_t len;
	uint32_t fd, fd_flags;
	uint64_t heap_flags;
};

#define DMA_HEAP_IOCTL_ALLOC _IOWR('H', 0, struct heap_allocation)

/* Open descriptors of this process; the folder's own counts as well, each time. */
static int descriptors(void)
{
	DIR *folder = opendir("/proc/self/fd");
	int count = 0;

	if (!folder)
		return -1;
	while (readdir(folder))
		count++;
	closedir(folder);
	return count;
}

static int allocate(int heap, struct heap_allocation *wanted)
{
	return ioctl(heap, DMA_HEAP_IOCTL_ALLOC, wanted) ? errno : 0;
}

int main(void)
{
	const struct heap_allocation page = { .len = LAB_PAGE, .fd_flags = O_RDWR | O_CLOEXEC };
	struct heap_allocation *wanted =
		mmap(NULL, LAB_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int heap = open(HEAP, O_RDONLY | O_CLOEXEC), failed, before, after;

	lab_start();
	*wanted = page;
	if (heap < 0) {
		lab_skip("heap", HEAP ": %s", strerror(errno));
		return lab_finish();
	}
	/* As a control: where the result can be returned, there is a buffer. */
	failed = allocate(heap, wanted);
	if (!lab_check(!failed, "control", "%s", failed ? strerror(failed) : "a buffer"))
		return lab_finish();
	close((int)wanted->fd);
	*wanted = page;
	before = descriptors();
	mprotect(wanted, LAB_PAGE, PROT_READ);
	failed = allocate(heap, wanted);
	after = descriptors();
	lab_check(failed == EFAULT, "refused", "%s", failed ? strerrorname_np(failed) : "not at all");
	lab_check(before > 0 && after == before, "no-descriptor", "%d descriptors before, %d after", before, after);
	return lab_finish();
}
