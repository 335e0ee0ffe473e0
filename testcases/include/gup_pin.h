/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * /dev/gup_pin: holds the pages behind an address, and obeys nothing.
 *
 * For what io_uring's fixed buffers cannot show: they take FOLL_PIN | FOLL_LONGTERM and nothing else. With
 * GUP_PIN_GET pages are held by plain references (get_user_pages), as a GPU driver's userptr did when it was
 * converted to HMM; without it by a short-term pin (pin_user_pages). One set of pages per open file; closing
 * the file lets go of them.
 */
#ifndef GUP_PIN_H
#define GUP_PIN_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define GUP_PIN_GET 1   /* FOLL_GET instead of FOLL_PIN */
#define GUP_PIN_WRITE 2 /* FOLL_WRITE */

struct gup_pin_hold {
	__u64 start;  /* address of the first page */
	__u64 stride; /* bytes from one page to the next: whole pages, not 0 */
	__u32 pages;  /* at most 1 << 18 */
	__u32 flags;  /* GUP_PIN_* */
};

/* HOLD is all or nothing: an error leaves no page held. */
#define GUP_PIN_IOC_HOLD _IOW('m', 0x50, struct gup_pin_hold)

#endif
