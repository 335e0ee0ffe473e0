/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The values of command-line options, read strictly: what is wrong ends the workload with status 2. */
#ifndef FAULTLAB_OPTIONS_H
#define FAULTLAB_OPTIONS_H

#include "faultlab.h"

static inline _Noreturn LAB_PRINTF(1) void lab_usage(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(LAB_USAGE);
}

/* A whole number in [low, high], in C notation. */
static inline uint64_t lab_number(const char *option, const char *text, uint64_t low, uint64_t high)
{
	char *end;
	unsigned long long value;

	errno = 0;
	value = strtoull(text, &end, 0);
	if (errno || end == text || *end || *text == '-' || value < low || value > high)
		lab_usage("%s %s: a number from %llu to %llu is needed", option, text,
			  (unsigned long long)low, (unsigned long long)high);
	return value;
}

/* Bytes from "4K", "8M" or "1G": whole pages, at most 64 GiB. */
static inline uint64_t lab_size(const char *option, const char *text)
{
	static const char units[] = "KMG";
	char *end;
	unsigned long long value;
	const char *unit;

	errno = 0;
	value = strtoull(text, &end, 10);
	unit = *end ? strchr(units, *end) : NULL;
	if (!errno && *text != '-' && value && value <= 1 << 26 && unit && !end[1])
		value <<= 10 * (unit - units + 1);
	else
		value = 0;
	if (!value || value % LAB_PAGE || value > 64ULL << 30)
		lab_usage("%s %s: whole pages are needed, such as 4K, 8M or 1G", option, text);
	return value;
}

/* The index of `text` in the NULL-terminated list `names`; ends the workload with status 2. */
static inline int lab_choice(const char *option, const char *text, const char *const *names)
{
	for (int i = 0; names[i]; i++)
		if (!strcmp(text, names[i]))
			return i;
	fprintf(stderr, "%s %s: one of these is needed:", option, text);
	for (int i = 0; names[i]; i++)
		fprintf(stderr, " %s", names[i]);
	lab_usage("%s", "");
}

#endif
