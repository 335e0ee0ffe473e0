/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What every workload of the lab uses: KTAP results and metrics, the clock, page-fault counts, samples.
 *
 * A workload measures a span of its own work, so nothing of this file may disturb one: results are kept
 * in memory and written by lab_finish(), arrays come from lab_array() already touched, and lab_quiet()
 * lets the guest come to rest first.
 *
 * Exit status of a workload: 0 all checks ok, 1 a check failed, 2 wrong arguments, 4 skipped.
 */
#ifndef FAULTLAB_H
#define FAULTLAB_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define LAB_PAGE 4096UL
#define LAB_PRINTF(at) __attribute__((format(printf, at, at + 1)))

enum lab_status { LAB_PASS = 0, LAB_FAIL = 1, LAB_USAGE = 2, LAB_SKIP = 4 };

/* ---- results -------------------------------------------------------------------------------------- */

static struct {
	char text[64 << 10];
	size_t length;
	unsigned int checks, failed, skipped;
} lab_report;

static inline void lab_append(const char *format, va_list args)
{
	size_t room = sizeof(lab_report.text) - lab_report.length;
	int wanted = vsnprintf(lab_report.text + lab_report.length, room, format, args);

	if (wanted < 0 || (size_t)wanted >= room) {
		fprintf(stderr, "the report is longer than %zu bytes\n", sizeof(lab_report.text));
		_exit(LAB_FAIL);
	}
	lab_report.length += wanted;
}

static inline LAB_PRINTF(1) void lab_line(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	lab_append(format, args);
	va_end(args);
	lab_report.text[lab_report.length++] = '\n';
	lab_report.text[lab_report.length] = '\0';
}

/* One KTAP result: a stable name, and after the # what was seen. Returns `ok`. */
static inline LAB_PRINTF(3) bool lab_check(bool ok, const char *name, const char *format, ...)
{
	char seen[256];
	va_list args;

	va_start(args, format);
	vsnprintf(seen, sizeof(seen), format, args);
	va_end(args);
	lab_report.checks++;
	lab_report.failed += !ok;
	lab_line("%s %u %s # %s", ok ? "ok" : "not ok", lab_report.checks, name, seen);
	return ok;
}

/* A check that cannot be made here, with the reason. */
static inline LAB_PRINTF(2) void lab_skip(const char *name, const char *format, ...)
{
	char reason[256];
	va_list args;

	va_start(args, format);
	vsnprintf(reason, sizeof(reason), format, args);
	va_end(args);
	lab_report.checks++;
	lab_report.skipped++;
	lab_line("ok %u %s # SKIP %s", lab_report.checks, name, reason);
}

/* `unit`: lab_unit(), "count" or "bytes". */
static inline void lab_metric(const char *prefix, const char *name, uint64_t value, const char *unit)
{
	lab_line("# metric %s%s %llu %s", prefix, name, (unsigned long long)value, unit);
}

/* Write the report and return the exit status. */
static inline int lab_finish(void)
{
	printf("KTAP version 1\n1..%u\n%s", lab_report.checks, lab_report.text);
	if (fflush(stdout))
		return LAB_FAIL;
	if (lab_report.failed || !lab_report.checks)
		return LAB_FAIL;
	return lab_report.skipped == lab_report.checks ? LAB_SKIP : LAB_PASS;
}

/* The kernel refused an access: a check that failed, not the end of the report. */
static inline void lab_on_bad_access(int number, siginfo_t *info, void *context)
{
	(void)context;
	lab_check(false, "access", "%s at address %p", number == SIGBUS ? "SIGBUS" : "SIGSEGV", info->si_addr);
	_exit(lab_finish());
}

/* Report SIGBUS and SIGSEGV. The handler may print, for it only interrupts the workload's own touches. */
static inline void lab_catch_bad_access(void)
{
	struct sigaction action = { .sa_sigaction = lab_on_bad_access, .sa_flags = SA_SIGINFO | SA_RESETHAND };

	sigaction(SIGBUS, &action, NULL);
	sigaction(SIGSEGV, &action, NULL);
}

/* ---- clock and counters --------------------------------------------------------------------------- */

static inline bool lab_is_virtual(void)
{
	const char *clock = getenv("LAB_CLOCK");

	return clock && !strcmp(clock, "virtual");
}

static bool lab_reads_tsc; /* set by lab_start(), so that reading the clock costs no getenv() */

/*
 * Virtual clock: instructions that the guest has executed, for QEMU's TSC counts them under
 * `-icount shift=0`. Elsewhere: nanoseconds.
 */
static inline uint64_t lab_now(void)
{
	struct timespec now;

	if (lab_reads_tsc)
		return __builtin_ia32_rdtsc();
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ULL + now.tv_nsec;
}

static inline const char *lab_unit(void)
{
	return lab_reads_tsc ? "insn" : "ns";
}

/* Page faults of this process so far, minor and major. */
static inline uint64_t lab_faults(void)
{
	struct rusage use;

	getrusage(RUSAGE_SELF, &use);
	return use.ru_minflt + use.ru_majflt;
}

/* ---- memory and rest ------------------------------------------------------------------------------ */

/* A zeroed array whose pages are all there; ends the workload if there is no memory for it. */
static inline void *lab_array(size_t count, size_t size)
{
	void *array = calloc(count ? count : 1, size);

	if (!array) {
		fprintf(stderr, "no memory for %zu x %zu bytes\n", count, size);
		exit(LAB_FAIL);
	}
	/* calloc() may leave fresh pages untouched, and the compiler may drop a memset() of zeroes. */
	for (size_t at = 0; at < count * size; at += LAB_PAGE)
		((volatile char *)array)[at] = 0;
	return array;
}

/*
 * Call first, with all arrays allocated and before the mapping under test is made: from here on the
 * workload's own code, data and stack do not fault. (MCL_CURRENT: a later mapping must fault.)
 */
static inline void lab_start(void)
{
	volatile char stack[64 << 10];

	for (size_t at = 0; at < sizeof(stack); at += LAB_PAGE)
		stack[at] = 0;
	lab_reads_tsc = lab_is_virtual();
	lab_catch_bad_access();
	if (mlockall(MCL_CURRENT))
		lab_line("# note: mlockall: %s; faults may include the workload's own", strerror(errno));
	lab_now(); /* the vDSO's data page is special memory that mlockall() leaves out */
}

/* Spin until an interrupt was handled, at most `limit` ticks of the clock. */
static inline void lab_await_tick(uint64_t limit)
{
	uint64_t start = lab_now(), before = start, now;

	while ((now = lab_now()) - start < limit && now - before < 1000)
		before = now;
}

/*
 * Make 64 page-table pages and give them back, so that the span's own come from the CPU's free list and
 * none pays for its refill: some 3,000 instructions in whichever touch it happens to hit.
 */
static inline void lab_stock_page_tables(void)
{
	const size_t step = 2UL << 20, length = 64 * step;
	volatile char *area = mmap(NULL, length, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (area == MAP_FAILED)
		return;
	madvise((void *)area, length, MADV_NOHUGEPAGE);
	for (size_t at = 0; at < length; at += step)
		(void)area[at]; /* reading maps the zero page: a table each, and no memory beside */
	munmap((void *)area, length);
}

/*
 * Let the guest come to rest: deferred work of the setup ends while we sleep, SCHED_FIFO keeps kernel
 * threads out of the span. On the virtual clock the span then begins right behind a timer tick, so that
 * its first 4 ms (HZ=250) have none: otherwise any change of the boot would move a tick into a touch.
 */
static inline void lab_quiet(void)
{
	struct sched_param priority = { .sched_priority = 1 };
	struct timespec rest = { .tv_nsec = 50 * 1000 * 1000 };

	lab_stock_page_tables();
	/* Before the sleep: the first real-time task arms a timer that fires at once, and is no tick. */
	if (sched_setscheduler(0, SCHED_FIFO, &priority))
		lab_line("# note: SCHED_FIFO: %s; other tasks may run in the span", strerror(errno));
	nanosleep(&rest, NULL); /* also for RCU, which gives the tables back */
	if (lab_reads_tsc)
		lab_await_tick(20 * 1000 * 1000);
}

/* ---- distributions and samples -------------------------------------------------------------------- */

static inline int lab_ascending(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* PREFIXtotal, PREFIXmax, PREFIXp50, PREFIXp90, PREFIXp99 (nearest rank) of `count` latencies. */
static inline void lab_distribution(const char *prefix, const uint64_t *latency, size_t count)
{
	static const struct { const char *name; unsigned int percent; } ranks[] = {
		{ "max", 100 }, { "p50", 50 }, { "p90", 90 }, { "p99", 99 },
	};
	uint64_t *sorted = lab_array(count, sizeof(*sorted)), total = 0;

	memcpy(sorted, latency, count * sizeof(*sorted));
	qsort(sorted, count, sizeof(*sorted), lab_ascending);
	for (size_t i = 0; i < count; i++)
		total += sorted[i];
	lab_metric(prefix, "total", total, lab_unit());
	for (size_t i = 0; count && i < sizeof(ranks) / sizeof(*ranks); i++)
		lab_metric(prefix, ranks[i].name, sorted[(count * ranks[i].percent + 99) / 100 - 1], lab_unit());
	free(sorted);
}

/* A sample file that the lab collects, open for writing; NULL where nobody collects (no LAB_OUT). */
static inline FILE *lab_samples(const char *name)
{
	const char *folder = getenv("LAB_OUT");
	char path[PATH_MAX];
	FILE *file;

	if (!folder)
		return NULL;
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	file = fopen(path, "w");
	if (!file)
		lab_line("# note: %s: %s; its samples are lost", path, strerror(errno));
	return file;
}

#endif
