/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The scene of bo_backup with more BOs than memory, moved out and in by several processes at once. */
#ifndef BACKUP_SCENES_MANY_H
#define BACKUP_SCENES_MANY_H

#include "content.h"
#include "memory.h"
#include "touch.h"

#include <sys/wait.h>

enum {
	MANY_PROCESSES = 4,
	MANY_BOS = 96,	    /* of 1 MiB, of each process: 384 MiB together */
	MANY_RESIDENT = 24, /* of them not backed up: what reclaim cannot take */
	MANY_TURNS = 128,
};

/* What one process has. The BO that came in first is the next to be backed up. */
struct many {
	struct known known[MANY_BOS];
	unsigned int resident[MANY_RESIDENT], next;
	bool in[MANY_BOS];
};

/* BO `i` is about to be used: if it is not in memory, another one makes room, as a driver's shrinker would have it. */
static inline void many_use(struct many *many, unsigned int i)
{
	unsigned int oldest = many->resident[many->next];

	if (many->in[i])
		return;
	if (many->in[oldest])
		back_up(&many->known[oldest], LAB_GPU_WRITEBACK);
	many->in[oldest] = false;
	many->in[i] = true;
	many->resident[many->next] = i;
	many->next = (many->next + 1) % MANY_RESIDENT;
}

/* One process: its own open file, its own BOs, which it reads in an order of its own. Pages not as written. */
static inline uint64_t many_process(uint64_t number)
{
	struct many *many = lab_array(1, sizeof(*many));
	uint64_t random = number, wrong = 0;
	int fd = gpu_open();

	for (unsigned int i = 0; i < MANY_BOS; i++) {
		many_use(many, i);
		many->known[i] = known_backup(fd, 1 << 20, number * MANY_BOS + i);
	}
	for (unsigned int turn = 0; turn < MANY_TURNS; turn++) {
		unsigned int i = next_random(&random) % MANY_BOS;

		many_use(many, i);
		wrong += known_wrong(&many->known[i]);
	}
	for (unsigned int i = 0; i < MANY_BOS; i++)
		known_free(&many->known[i]);
	return wrong;
}

static inline void scene_many(int fd)
{
	uint64_t out = vmstat("pswpout"), restored = gpu_counter("restores");
	unsigned int right = 0;
	pid_t child[MANY_PROCESSES];

	(void)fd;
	for (int i = 0; i < MANY_PROCESSES; i++)
		if (!(child[i] = fork()))
			_exit(many_process(i + 1) ? 1 : 0);
	for (int i = 0; i < MANY_PROCESSES; i++) {
		int status = -1;

		waitpid(child[i], &status, 0);
		if (WIFEXITED(status) && !WEXITSTATUS(status))
			right++;
		else
			lab_line("# note: process %d ended with wait status %#x", i + 1, status);
	}
	out = vmstat("pswpout") - out;
	restored = gpu_counter("restores") - restored;
	lab_check(right == MANY_PROCESSES, "content", "%u of %d processes found all their pages as written", right,
		  MANY_PROCESSES);
	lab_check(restored >= MANY_PROCESSES * MANY_TURNS / 2, "moved", "%lld backups, %llu restores",
		  (long long)gpu_counter("backups"), (unsigned long long)restored);
	lab_check(out > 0, "swapped", "%llu pages written to swap", (unsigned long long)out);
	lab_metric("", "restores", restored, "count");
	lab_metric("", "written", out, "count");
}

#endif
