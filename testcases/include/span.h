/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Spans whose guest exits are counted from outside: the guest says where a span begins and ends.
 *
 * It says so by one write to an I/O port at which QEMU (pvpanic, `-action panic=pause`) stops the guest before
 * its next instruction. While it stands the lab reads KVM's counters, then lets it go on. So what is counted
 * is the span, the one exit of the write that ends it, and whatever the timer did; empty spans before the
 * first one show what to take off.
 *
 * Only where the lab asks for it (LAB_SPANS in the environment), never on the virtual clock: elsewhere all
 * of this is one test of a variable, outside of what the workload times.
 */
#ifndef FAULTLAB_SPAN_H
#define FAULTLAB_SPAN_H

#include "faultlab.h"
#include "timeline.h"

#include <fcntl.h>

#define LAB_SPAN_PORT 0x505 /* of QEMU's ISA device pvpanic */
#define LAB_EMPTY_SPANS 3   /* lab/instrument/exits.py knows the number */

/*
 * Where exits are counted: /dev/port. Not ioperm() and OUT: QEMU's emulation (7.2) of a guest in a guest takes
 * a TSS that is marked busy for none, and refuses every port to it.
 */
static int lab_spans = -1;

static inline void lab_span_mark(void)
{
	static const uint8_t stop = 1;

	if (lab_spans >= 0 && pwrite(lab_spans, &stop, 1, LAB_SPAN_PORT) != 1)
		_exit(LAB_FAIL);
}

/* Once, before the first span: whether the lab counts, and the empty spans. */
static inline void lab_spans_open(void)
{
	lab_timeline_open();
	if (!getenv("LAB_SPANS"))
		return;
	lab_spans = open("/dev/port", O_WRONLY | O_CLOEXEC);
	if (lab_spans < 0) {
		lab_line("# note: /dev/port: %s; no exits are counted", strerror(errno));
		return;
	}
	for (int i = 0; i < LAB_EMPTY_SPANS; i++) {
		lab_span_mark();
		lab_span_mark();
	}
}

/* `name` begins the names of the span's metrics: NAME_exits and others (docs/write-a-case.md). */
static inline void lab_span_begin(const char *name)
{
	if (lab_spans >= 0)
		lab_line("# span %s", name);
	lab_timeline_span(true);
	lab_span_mark();
}

static inline void lab_span_end(void)
{
	lab_span_mark();
	lab_timeline_span(false);
}

#endif
