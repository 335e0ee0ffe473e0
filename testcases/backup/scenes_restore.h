/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The scenes of bo_backup in which a restore is disturbed: by signals, by SIGKILL, by lack of memory. */
#ifndef BACKUP_SCENES_RESTORE_H
#define BACKUP_SCENES_RESTORE_H

#include "content.h"
#include "memory.h"

#include <sys/wait.h>

enum { DISTURBED_SIZE = 16 << 20 };

/* A BO that is backed up, and whose content is in swap and nowhere else; false: the check `backed-up` says why. */
static inline bool in_swap(int fd, struct known *known, uint64_t seed)
{
	int64_t pages;

	*known = known_backup(fd, DISTURBED_SIZE, seed);
	pages = back_up(known, LAB_GPU_WRITEBACK);
	if (!check_backed_up(known, pages))
		return false;
	push_out(fd, known->pages);
	return true;
}

/* ---- interrupted ------------------------------------------------------------------------------------ */

static volatile sig_atomic_t signals;

static void count_signal(int number)
{
	(void)number;
	signals++;
}

/* SIGALRM each 50 us of the clock, without SA_RESTART: an ioctl that can be interrupted ends with EINTR. */
static inline timer_t begin_storm(void)
{
	struct sigaction action = { .sa_handler = count_signal };
	struct itimerspec every = { { 0, 50 * 1000 }, { 0, 50 * 1000 } };
	timer_t timer;

	sigaction(SIGALRM, &action, NULL);
	if (timer_create(CLOCK_MONOTONIC, NULL, &timer) || timer_settime(timer, 0, &every, NULL))
		gpu_fail("timer: %s", strerror(errno));
	return timer;
}

/*
 * Whether the kernel lets itself be interrupted is for it to say: what counts is that each restore can be
 * begun again, comes to an end, and loses nothing.
 */
static inline void scene_interrupted(int fd)
{
	uint64_t wrong = 0, interrupted = 0, pending = 0, in = vmstat("pswpin");
	timer_t storm;
	int64_t ret;

	for (uint64_t seed = 1; seed <= 4; seed++) {
		struct known known;

		if (!in_swap(fd, &known, seed))
			return;
		signals = 0;
		storm = begin_storm();
		while ((ret = restore(&known)) == -EINTR && interrupted < 100000)
			interrupted++;
		timer_delete(storm);
		pending += signals > 0;
		if (ret < 0)
			lab_check(false, "restored", "%s", strerror(-ret));
		wrong += known_wrong(&known);
		known_free(&known);
	}
	in = vmstat("pswpin") - in;
	lab_check(pending == 4, "signals", "%llu of 4 restores met signals", (unsigned long long)pending);
	lab_check(in > DISTURBED_SIZE / LAB_PAGE, "swapped", "%llu pages read from swap", (unsigned long long)in);
	lab_check(!wrong, "content", "%llu pages are not as written; %llu restores ended with EINTR",
		  (unsigned long long)wrong, (unsigned long long)interrupted);
	lab_metric("", "interrupted", interrupted, "count");
}

/* ---- killed ----------------------------------------------------------------------------------------- */

/* Have a child restore the BO, through the open file that it shares with us, and kill it on the way. */
static inline int kill_restore(const struct known *known, long microseconds)
{
	struct timespec wait = { .tv_nsec = microseconds * 1000 };
	int status = 0;
	pid_t child = fork();

	if (!child)
		_exit(restore(known) == (int64_t)known->pages ? 0 : 1);
	nanosleep(&wait, NULL);
	kill(child, SIGKILL);
	waitpid(child, &status, 0);
	return WIFSIGNALED(status);
}

static inline void scene_killed(int fd)
{
	struct sched_param first = { .sched_priority = 1 };
	uint64_t wrong = 0, killed = 0, half_way = 0;

	sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &first); /* so that we wake up when we want to */
	for (int i = 1; i <= 4; i++) {
		struct lab_gpu_info info;
		struct known known;

		if (!in_swap(fd, &known, i))
			return;
		killed += kill_restore(&known, i * 2000);
		info = gpu_info(&known.bo);
		half_way += info.backed_up_pages > 0;
		wrong += known_wrong(&known);
		known_free(&known);
	}
	lab_check(killed > 0, "killed", "%llu of 4 children died in the ioctl, %llu with pages left in swap",
		  (unsigned long long)killed, (unsigned long long)half_way);
	lab_check(!wrong, "content", "%llu pages are not as written", (unsigned long long)wrong);
	lab_metric("", "half_way", half_way, "count");
}

/* ---- cut-short -------------------------------------------------------------------------------------- */

/* Memory for half of the BO: restoring ends with ENOMEM, goes on when there is more, and frees what it had. */
static inline void scene_cut_short(int fd)
{
	struct ballast *ballast = ballast_new(fd);
	struct lab_gpu_info info;
	struct known known, gone;
	int64_t ret;

	if (!in_swap(fd, &known, 1) || !in_swap(fd, &gone, 2))
		return;
	ballast_leave(ballast, read_watermarks().high + known.pages / 2);
	ret = restore(&known);
	ballast_give(ballast, 512); /* for whoever needs a page now, not enough for the other BO */
	info = gpu_info(&known.bo);
	lab_check(ret == -ENOMEM, "no-memory", "%s", ret < 0 ? strerror(-ret) : "restored all the same");
	lab_check(info.backed_up_pages > 0 && info.backed_up_pages < known.pages, "cut-short",
		  "%llu of %llu pages are still backed up", (unsigned long long)info.backed_up_pages,
		  (unsigned long long)known.pages);
	lab_metric("", "left", info.backed_up_pages, "count");
	ret = restore(&gone);
	known_free(&gone); /* in the middle of its restore */
	ballast_drop(ballast);
	lab_check(ret == -ENOMEM, "no-memory-again", "%s", ret < 0 ? strerror(-ret) : "restored all the same");
	ret = restore(&known);
	lab_check(ret == (int64_t)known.pages, "resumed", "%s", ret < 0 ? strerror(-ret) : "the rest came back");
	check_content(&known);
	known_free(&known);
}

#endif
