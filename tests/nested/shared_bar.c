// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A BAR that is plain memory: each page has a word from the host, and gets one from the guest. The scenes of
 * the test (vfio_scenes.py) are the other side. No driver takes the device, so sysfs is the way to it.
 */
#include "faultlab.h"

#include <fcntl.h>
#include <glob.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define FROM_HOST 0x686f737400000000
#define FROM_GUEST 0x6775657300000000

/* The text of an attribute in the device's folder, as a number; 0 if there is none. */
static unsigned long attribute(const char *folder, const char *name)
{
	char path[256], text[32] = "";
	int fd;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && read(fd, text, sizeof(text) - 1) < 0)
		text[0] = '\0';
	close(fd);
	return strtoul(text, NULL, 16);
}

/* The folder of the one ivshmem in sysfs; false: there is none. */
static bool find(char *folder, size_t size)
{
	bool found = false;
	glob_t all;

	if (glob("/sys/bus/pci/devices/*", 0, NULL, &all))
		return false;
	for (size_t i = 0; i < all.gl_pathc && !found; i++) {
		found = attribute(all.gl_pathv[i], "vendor") == 0x1af4 &&
			attribute(all.gl_pathv[i], "device") == 0x1110;
		snprintf(folder, size, "%s", all.gl_pathv[i]);
	}
	globfree(&all);
	return found;
}

/* Let the device answer, and map its BAR 2. */
static volatile uint64_t *map(const char *folder, size_t *size)
{
	char path[256];
	struct stat about;
	void *base;
	int fd;

	snprintf(path, sizeof(path), "%s/enable", folder);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "1", 1) != 1)
		return NULL;
	close(fd);
	snprintf(path, sizeof(path), "%s/resource2", folder);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &about))
		return NULL;
	*size = about.st_size;
	base = mmap(NULL, *size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	return base == MAP_FAILED ? NULL : base;
}

int main(void)
{
	volatile uint64_t *words;
	char folder[192];
	size_t size = 0, pages, right = 0;

	lab_start();
	if (!lab_check(find(folder, sizeof(folder)), "seen", "a device 1af4:1110 on the bus"))
		return lab_finish();
	words = map(folder, &size);
	if (!lab_check(words != NULL, "mapped", "%s: %s", folder, strerror(errno)))
		return lab_finish();
	pages = size / LAB_PAGE;
	for (size_t page = 0; page < pages; page++) {
		volatile uint64_t *word = words + page * LAB_PAGE / sizeof(*words);

		right += *word == FROM_HOST + page;
		*word = FROM_GUEST + page;
	}
	lab_check(right == pages, "from-host", "%zu of %zu pages have the host's word", right, pages);
	lab_metric("", "pages", pages, "count");
	return lab_finish();
}
