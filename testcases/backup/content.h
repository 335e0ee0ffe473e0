/* SPDX-License-Identifier: GPL-2.0-or-later */
/* BOs of the test GPU whose every word is known. */
#ifndef BACKUP_CONTENT_H
#define BACKUP_CONTENT_H

#include "faultlab.h"

#include "gpu.h"

struct known {
	struct gpu_bo bo;
	uint64_t seed;
	uint64_t pages;
	char *base;
};

/* The word of a page: differs from BO to BO, page to page and word to word, and repeats, so that zram can pack it. */
static inline uint64_t known_word(const struct known *known, uint64_t page, unsigned int at)
{
	return (known->seed << 32 | (page + 1)) * 0x9e3779b97f4a7c15ULL + at % 8;
}

static inline void known_write(const struct known *known)
{
	for (uint64_t page = 0; page < known->pages; page++) {
		volatile uint64_t *word = (volatile uint64_t *)(known->base + page * LAB_PAGE);

		for (unsigned int at = 0; at < LAB_PAGE / 8; at++)
			word[at] = known_word(known, page, at);
	}
}

/* Pages that are not as written. Reading brings back what is not in memory. */
static inline uint64_t known_wrong(const struct known *known)
{
	uint64_t wrong = 0;

	for (uint64_t page = 0; page < known->pages; page++) {
		const uint64_t *word = (const uint64_t *)(known->base + page * LAB_PAGE);
		unsigned int at = 0;

		while (at < LAB_PAGE / 8 && word[at] == known_word(known, page, at))
			at++;
		wrong += at < LAB_PAGE / 8;
	}
	return wrong;
}

/* A BO as wanted, mapped and written. */
static inline struct known known_make(int fd, struct lab_gpu_create how, uint64_t seed)
{
	struct known known = { .bo = gpu_create(fd, how), .seed = seed, .pages = how.size / LAB_PAGE };

	known.base = gpu_map(&known.bo);
	known_write(&known);
	return known;
}

/* Of cached system memory, in blocks as large as there are, that can be backed up. */
static inline struct known known_backup(int fd, uint64_t size, uint64_t seed)
{
	struct lab_gpu_create how = gpu_system(size);

	how.flags = LAB_GPU_CREATE_BACKUP;
	return known_make(fd, how, seed);
}

static inline void known_free(struct known *known)
{
	munmap(known->base, known->bo.size);
	gpu_close(&known->bo);
}

static inline int64_t back_up(const struct known *known, uint32_t flags)
{
	return gpu_try_move(&known->bo, DRM_IOCTL_LAB_GPU_BACKUP, flags);
}

static inline int64_t restore(const struct known *known)
{
	return gpu_try_move(&known->bo, DRM_IOCTL_LAB_GPU_RESTORE, 0);
}

/* The check `backed-up`: all pages of the BO, and the driver finds none of them in memory any more. */
static inline bool check_backed_up(const struct known *known, int64_t pages)
{
	struct lab_gpu_info info = gpu_info(&known->bo);

	if (pages < 0)
		return lab_check(false, "backed-up", "%s", strerror(-pages));
	return lab_check((uint64_t)pages == known->pages && info.backed_up_pages == known->pages &&
			 !info.resident_pages, "backed-up", "%lld of %llu pages, %llu still in memory",
			 (long long)pages, (unsigned long long)known->pages,
			 (unsigned long long)info.resident_pages);
}

/* The check `content`. */
static inline bool check_content(const struct known *known)
{
	uint64_t wrong = known_wrong(known);

	return lab_check(!wrong, "content", "%llu of %llu pages are not as written", (unsigned long long)wrong,
			 (unsigned long long)known->pages);
}

/* The check `freed`: when all BOs are gone, so are their pages. */
static inline void check_freed(void)
{
	long long pages = gpu_await_zero("live_pages", 10), bos = gpu_await_zero("live_bos", 10);

	lab_check(!pages && !bos, "freed", "%lld BOs and %lld pages are left", bos, pages);
}

#endif
