// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * advise_bo: which advice of madvise() does the kernel take for a mapped BO?
 *
 * A BO belongs to its driver, so there is little that a program may say of its memory. What is refused has
 * changed with the kind of the mapping: VM_MIXEDMAP lets more through than VM_PFNMAP.
 */
#include "bo.h"

static const struct { const char *name; int advice; } advices[] = {
	{ "MADV_DONTNEED", 4 }, { "MADV_COLD", 20 }, { "MADV_PAGEOUT", 21 },
};

/* The advice must not lose what was written: the pages are the driver's, not the program's to drop. */
static void check_content(const char *base, uint64_t size)
{
	uint64_t right = 0;

	for (uint64_t at = 0; at < size; at += LAB_PAGE)
		right += base[at] == (char)(at / LAB_PAGE);
	lab_check(right == size / LAB_PAGE, "content", "%llu of %llu pages as they were written",
		  (unsigned long long)right, (unsigned long long)(size / LAB_PAGE));
}

int main(int argc, char **argv)
{
	const char *driver = argc == 2 ? argv[1] : "qxl";
	unsigned int taken = 0;
	struct bo bo = { 0 };
	char found[160], *base;
	int fd = bo_open_driver(driver, found, sizeof(found));

	lab_start();
	if (fd < 0) {
		lab_skip("driver", "no card is driven by %.40s; %s", driver, found);
		return lab_finish();
	}
	if (!lab_check(!bo_make(BO_DUMB, fd, 1 << 20, &bo), "bo", "1 MiB of %s", driver))
		return lab_finish();
	base = bo_map(&bo, NULL);
	if (!lab_check(base != MAP_FAILED, "mapped", "%s", base == MAP_FAILED ? strerror(errno) : "all of it"))
		return lab_finish();
	for (uint64_t at = 0; at < bo.size; at += LAB_PAGE)
		base[at] = (char)(at / LAB_PAGE);
	for (size_t i = 0; i < sizeof(advices) / sizeof(*advices); i++) {
		int refused = madvise(base, bo.size, advices[i].advice) ? errno : 0;

		taken += !refused;
		lab_check(!refused || refused == EINVAL, advices[i].name, "%s",
			  refused ? strerrorname_np(refused) : "taken");
	}
	lab_metric("", "taken", taken, "count");
	check_content(base, bo.size);
	return lab_finish();
}
