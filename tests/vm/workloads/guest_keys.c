// SPDX-License-Identifier: GPL-2.0-or-later
/* Is the guest as the case asked for it? Disks, memory, command line, module parameters. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>
#include <linux/fs.h>
#include "faultlab.h"

#define MIB (1ul << 20)

static char text[4096];

static const char *slurp(const char *path)
{
	int fd = open(path, O_RDONLY);
	ssize_t got = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	text[got > 0 ? got : 0] = '\0';
	text[strcspn(text, "\n")] = '\0';
	if (fd >= 0)
		close(fd);
	return text;
}

static int disk(const char *path, uint64_t size)
{
	int fd = open(path, O_RDWR | O_DIRECT);
	uint64_t found = 0;

	if (fd >= 0)
		ioctl(fd, BLKGETSIZE64, &found);
	lab_check(found == size, path, "%llu bytes", (unsigned long long)found);
	return fd;
}

static long milliseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int main(void)
{
	int throttled, plain;
	struct sysinfo info;
	char *page;
	long start;

	lab_start();
	page = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memset(page, 1, MIB);
	throttled = disk("/dev/vda", 8 * MIB);
	plain = disk("/dev/vdb", 64 * MIB);
	lab_check(pread(plain, page, MIB, 0) == (ssize_t)MIB && page[0] == 0 && !memcmp(page, page + 1, MIB - 1),
		  "zeros", "errno %d", errno);
	memset(page, 0x5a, LAB_PAGE);
	lab_check(pwrite(plain, page, LAB_PAGE, 63 * MIB) == LAB_PAGE && !fsync(plain), "written", "errno %d", errno);
	/* The first second's worth passes at once. */
	start = milliseconds();
	for (int piece = 0; piece < 4; piece++)
		lab_check(pread(throttled, page, MIB / 2, piece * MIB / 2) == (ssize_t)(MIB / 2), "read", "errno %d",
			  errno);
	start = milliseconds() - start;
	lab_check(start > 400, "throttled", "%ld ms for 2 MiB at 1 MB/s", start);
	lab_check(!strcmp(slurp("/sys/module/ttm/parameters/page_pool_size"), "100"), "parameter", "%s", text);
	lab_check(strstr(slurp("/proc/cmdline"), "page_poison=1") != NULL, "cmdline", "%zu bytes", strlen(text));
	sysinfo(&info);
	lab_check(info.totalram > 250 * MIB && info.totalram < 384 * MIB, "memory", "%lu MiB", info.totalram / MIB);
	lab_check(access("/sys/module/kvm", F_OK) == 0, "module", "errno %d", errno);
	return lab_finish();
}
