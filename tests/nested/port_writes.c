// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Spans whose exits are known by construction: each write to port 0x80, where nothing is, is one; what
 * computes for some ticks of the timer has none but the timer's.
 */
#include "span.h"

#include <fcntl.h>

#define NOWHERE 0x80

static void write_port(int port, int times)
{
	static const uint8_t nothing;

	while (times--)
		if (pwrite(port, &nothing, 1, NOWHERE) != 1)
			lab_check(false, "write", "%s", strerror(errno));
}

static void span(const char *name, int port, int times)
{
	lab_span_begin(name);
	write_port(port, times);
	lab_span_end();
	lab_metric(name, "_written", times, "count");
}

int main(void)
{
	int port = open("/dev/port", O_WRONLY | O_CLOEXEC);
	uint64_t start;

	lab_start();
	lab_spans_open();
	lab_check(port >= 0, "port", "errno %d", errno);
	write_port(port, 1); /* its pages are there */
	span("none", port, 0);
	span("some", port, 137);
	span("many", port, 2000);
	lab_span_begin("ticks");
	for (start = lab_now(); lab_now() - start < 50 * 1000 * 1000;)
		;
	lab_span_end();
	return lab_finish();
}
