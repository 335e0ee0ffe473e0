/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How many pages the kernel has taken by pin_user_pages(), and given back, since it was booted. */
#ifndef FAULTLAB_PINS_H
#define FAULTLAB_PINS_H

#include "faultlab.h"

#include <fcntl.h>

struct pins {
	int64_t acquired, released; /* -1: not known (before 5.8, or without /proc) */
};

static inline int64_t pins_field(const char *text, const char *name)
{
	const char *found = strstr(text, name);

	return found ? strtoll(found + strlen(name), NULL, 10) : -1;
}

static inline struct pins pins_now(void)
{
	static char text[16 << 10];
	int fd = open("/proc/sys/vm/stat_refresh", O_WRONLY | O_CLOEXEC);
	ssize_t got = 0;

	if (fd >= 0) { /* what each CPU still keeps to itself is counted from here on */
		if (write(fd, "1", 1) != 1)
			lab_line("# note: stat_refresh: %s; pins may be counted late", strerror(errno));
		close(fd);
	}
	fd = open("/proc/vmstat", O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		got = read(fd, text, sizeof(text) - 1);
		close(fd);
	}
	text[got > 0 ? got : 0] = '\0';
	return (struct pins){
		.acquired = pins_field(text, "\nnr_foll_pin_acquired "),
		.released = pins_field(text, "\nnr_foll_pin_released "),
	};
}

/* Add what was acquired and released since `before`; the fields of `sum` stay -1 where they are not known. */
static inline void pins_since(const struct pins *before, struct pins *sum)
{
	struct pins now = pins_now();

	if (now.acquired < 0) {
		*sum = (struct pins){ -1, -1 };
		return;
	}
	sum->acquired += now.acquired - before->acquired;
	sum->released += now.released - before->released;
}

/* A check `pins`: nothing of that sum was acquired and not released. */
static inline void check_pins(const struct pins *sum)
{
	if (sum->acquired < 0)
		lab_skip("pins", "/proc/vmstat has no nr_foll_pin_acquired");
	else
		lab_check(sum->acquired == sum->released, "pins", "%lld acquired, %lld released",
			  (long long)sum->acquired, (long long)sum->released);
}

#endif
