/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guest's half of `lab run --timeline`: the page faults of a span as tracefs tells them, by the TSC.
 *
 * Only where the lab asks for it (LAB_TIMELINE in the environment). The host's events are recorded by its own
 * TSC, and KVM knows the difference: so all lie on one axis. What is traced is not what is measured: a trial
 * with a timeline has other times than one without.
 */
#ifndef FAULTLAB_TIMELINE_H
#define FAULTLAB_TIMELINE_H

#include "faultlab.h"

#include <fcntl.h>
#include <sys/stat.h>

#define LAB_TRACER "/sys/kernel/tracing/instances/faultlab"
#define LAB_TRACE_FILE "guest.trace"

static struct {
	int tracing_on; /* of our instance of tracefs, open; -1: there is none */
	bool wanted;
	bool running; /* we are in a span */
} lab_timeline = { .tracing_on = -1 };

static inline bool lab_timeline_wanted(void)
{
	return getenv("LAB_TIMELINE");
}

static inline bool lab_tracer_set(const char *file, const char *text)
{
	char path[128];
	bool ok;
	int fd;

	snprintf(path, sizeof(path), LAB_TRACER "/%s", file);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	if (!ok)
		lab_line("# note: timeline: no guest faults: %s: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
	return ok;
}

/* What was traced, as a sample file. Runs when the workload exits; the instance goes with it. */
static inline void lab_timeline_keep(void)
{
	int from = open(LAB_TRACER "/trace", O_RDONLY | O_CLOEXEC);
	FILE *to = from < 0 ? NULL : lab_samples(LAB_TRACE_FILE);
	char piece[4096];
	ssize_t got;

	while (to && (got = read(from, piece, sizeof(piece))) > 0)
		fwrite(piece, 1, (size_t)got, to);
	if (to)
		fclose(to);
	if (from >= 0)
		close(from);
	close(lab_timeline.tracing_on);
	rmdir(LAB_TRACER);
}

/* Once, before the first span, with all memory that it needs in place. */
static inline void lab_timeline_open(void)
{
	char pid[16];

	lab_timeline.wanted = lab_timeline_wanted();
	if (!lab_timeline.wanted)
		return;
	snprintf(pid, sizeof(pid), "%d", getpid());
	if (mkdir(LAB_TRACER, 0700) && errno != EEXIST) {
		lab_line("# note: timeline: no guest faults: %s: %s", LAB_TRACER, strerror(errno));
		return;
	}
	/* The event last: with it on, writing to the other files could fault into the trace. */
	if (!lab_tracer_set("tracing_on", "0") || !lab_tracer_set("trace_clock", "x86-tsc") ||
	    !lab_tracer_set("set_event_pid", pid) || !lab_tracer_set("events/exceptions/page_fault_user/enable", "1"))
		return;
	lab_timeline.tracing_on = open(LAB_TRACER "/tracing_on", O_WRONLY | O_CLOEXEC);
	if (lab_timeline.tracing_on >= 0)
		atexit(lab_timeline_keep);
}

/* `on`: a span begins; else it ends. */
static inline void lab_timeline_span(bool on)
{
	if (!lab_timeline.wanted)
		return;
	lab_timeline.running = on;
	if (lab_timeline.tracing_on >= 0 && write(lab_timeline.tracing_on, on ? "1" : "0", 1) != 1)
		lab_line("# note: timeline: tracing_on: %s", strerror(errno));
}

#endif
