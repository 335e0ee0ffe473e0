/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Threads that look at the kernel from beside, while an ioctl runs on the same processor. */
#ifndef BACKUP_PROBE_H
#define BACKUP_PROBE_H

#include "faultlab.h"
#include "memory.h"

#include <pthread.h>

/*
 * A thread that wants to run every `period` ns. What it sees from begin to end: the longest that it had to wait
 * for the processor, and the least memory that was free.
 */
struct probe {
	long period;	  /* ns */
	bool real_time;	  /* SCHED_FIFO; otherwise as ordinary as any other task */
	char *others;	  /* memory of others: a page more each 20th time, as a busy system has it. NULL: none */
	size_t room;	  /* pages of it */
	pthread_t thread;
	volatile bool end;
	volatile uint64_t longest; /* ns of the guest's clock, which are instructions on the virtual one */
	volatile uint64_t least;   /* pages */
	volatile uint64_t wakeups;
};

static inline uint64_t nanoseconds(const struct timespec *time)
{
	return time->tv_sec * 1000000000ULL + time->tv_nsec;
}

static inline struct timespec later(struct timespec from, uint64_t by)
{
	uint64_t sum = nanoseconds(&from) + by;

	return (struct timespec){ .tv_sec = sum / 1000000000, .tv_nsec = sum % 1000000000 };
}

static inline void *probe_run(void *arg)
{
	struct probe *probe = arg;
	struct sched_param priority = { .sched_priority = 2 };
	struct timespec wanted, now;

	if (probe->real_time)
		pthread_setschedparam(pthread_self(), SCHED_FIFO, &priority);
	clock_gettime(CLOCK_MONOTONIC, &wanted);
	while (!probe->end) {
		uint64_t free, late;

		wanted = later(wanted, probe->period);
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &wanted, NULL);
		clock_gettime(CLOCK_MONOTONIC, &now);
		late = nanoseconds(&now) - nanoseconds(&wanted);
		free = free_pages();
		probe->wakeups++;
		if (late > probe->longest)
			probe->longest = late;
		if (free < probe->least)
			probe->least = free;
		if (probe->others && probe->wakeups % 20 == 0 && probe->wakeups / 20 < probe->room)
			probe->others[probe->wakeups / 20 * LAB_PAGE] = 1;
		if (late > (uint64_t)probe->period)
			wanted = now; /* one long wait is one, not many */
	}
	return NULL;
}

static inline void probe_clear(struct probe *probe)
{
	probe->longest = 0;
	probe->wakeups = 0;
	probe->least = UINT64_MAX;
}

static inline void probe_begin(struct probe *probe)
{
	probe_clear(probe);
	if (pthread_create(&probe->thread, NULL, probe_run, probe)) {
		fprintf(stderr, "no thread\n");
		exit(LAB_FAIL);
	}
}

static inline void probe_end(struct probe *probe)
{
	probe->end = true;
	pthread_join(probe->thread, NULL);
}

#endif
