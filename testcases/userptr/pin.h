/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Holding the pages of an area through GUP: as io_uring's fixed buffers, or with the module gup_pin. */
#ifndef USERPTR_PIN_H
#define USERPTR_PIN_H

#include "counters.h"
#include "gup_pin.h"

#include <linux/io_uring.h>
#include <sys/ioctl.h>
#include <sys/uio.h>

enum pin_kind {
	PIN_IO_URING, /* FOLL_PIN | FOLL_LONGTERM, by a kernel as it is shipped */
	PIN_SHORT,    /* FOLL_PIN: pin_user_pages() */
	PIN_GET,      /* FOLL_GET: get_user_pages(), a reference and no more */
};

static const char *const pin_kinds[] = { "io_uring", "pin", "get", NULL };

enum { PIN_MAX_RANGES = 1024 }; /* fixed buffers of one ring, up to 5.12 */

static inline int pin_io_uring(const struct area *area)
{
	bool whole = area->stride == 1;
	size_t ranges = whole ? 1 : area->pages, length = whole ? area_bytes(area) : LAB_PAGE;
	struct iovec *range = lab_array(ranges, sizeof(*range));
	struct io_uring_params params = { 0 };
	int ring = syscall(SYS_io_uring_setup, 1, &params);
	int failed = ring < 0 || ranges > PIN_MAX_RANGES;

	for (size_t i = 0; i < ranges; i++)
		range[i] = (struct iovec){ area_page(area, i), length };
	if (!failed)
		failed = syscall(SYS_io_uring_register, ring, IORING_REGISTER_BUFFERS, range, ranges);
	free(range);
	if (!failed)
		return ring;
	if (ring >= 0)
		close(ring);
	return -1;
}

static inline int pin_module(const struct area *area, uint32_t flags)
{
	struct gup_pin_hold hold = {
		.start = (uintptr_t)area->base, .stride = area->stride * LAB_PAGE,
		.pages = area->pages, .flags = flags,
	};
	int fd = open("/dev/gup_pin", O_RDWR | O_CLOEXEC);

	if (fd < 0 || !ioctl(fd, GUP_PIN_IOC_HOLD, &hold))
		return fd;
	close(fd);
	return -1;
}

/* Hold all pages for writing, until unpin(): a descriptor, or -1 and errno. */
static inline int pin(enum pin_kind kind, const struct area *area)
{
	if (kind == PIN_IO_URING)
		return pin_io_uring(area);
	return pin_module(area, GUP_PIN_WRITE | (kind == PIN_GET ? GUP_PIN_GET : 0));
}

/* io_uring gives its buffers back from a worker, a moment after the close: wait for it. */
static inline void unpin(enum pin_kind kind, int fd, uint64_t held_before)
{
	struct timespec moment = { .tv_nsec = 10 * 1000 * 1000 };

	if (fd >= 0 && kind == PIN_IO_URING)
		syscall(SYS_io_uring_register, fd, IORING_UNREGISTER_BUFFERS, NULL, 0);
	if (fd >= 0)
		close(fd);
	for (int i = 0; i < 500 && pins_held() != held_before; i++)
		nanosleep(&moment, NULL);
}

#endif
