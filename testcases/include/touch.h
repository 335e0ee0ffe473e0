/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Touching the pages of a mapping in a pattern, what each touch took, and the proof that it happened. */
#ifndef FAULTLAB_TOUCH_H
#define FAULTLAB_TOUCH_H

#include "faultlab.h"
#include "timeline.h"

#define PMD_SIZE (2UL << 20) /* x86-64 with 4 KiB pages, the lab's guests */

enum pattern { SEQUENTIAL, REVERSE, RANDOM, STRIDE, PMD };

static const char *const patterns[] = { "sequential", "reverse", "random", "stride", "pmd", NULL };

/* Pages to touch in this order, and what came of it. */
struct span {
	uint32_t *page;
	uint64_t *stamp; /* planned + 1: the clock before the first touch and after each */
	uint64_t *value; /* what a read touch saw */
	uint64_t *tick;	 /* for a timeline: the TSC before the first touch and after each; else NULL */
	size_t planned, done;
	uint64_t faults;
	bool traced; /* it has ticks */
};

static inline struct span span_of(size_t room)
{
	return (struct span){
		.page = lab_array(room, sizeof(uint32_t)),
		.stamp = lab_array(room + 1, sizeof(uint64_t)),
		.value = lab_array(room, sizeof(uint64_t)),
		.tick = lab_timeline_wanted() ? lab_array(room + 1, sizeof(uint64_t)) : NULL,
	};
}

/* splitmix64: the whole sequence follows from the seed, on every C library. */
static inline uint64_t next_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static inline void shuffle(uint32_t *page, size_t count, uint64_t seed)
{
	for (size_t i = count; i > 1; i--) {
		size_t with = next_random(&seed) % i;
		uint32_t held = page[i - 1];

		page[i - 1] = page[with];
		page[with] = held;
	}
}

/* Of `pages` pages, those of the pattern go to `touched` in its order, all others to `rest`. */
static inline void plan_touches(enum pattern pattern, uint64_t stride, uint64_t seed, size_t pages,
				struct span *touched, struct span *rest)
{
	if (pattern == PMD)
		stride = PMD_SIZE / LAB_PAGE;
	else if (pattern != STRIDE)
		stride = 1;
	*touched = span_of(pages);
	*rest = span_of(pages);
	for (size_t page = 0; page < pages; page++) {
		struct span *span = page % stride == 0 ? touched : rest;

		span->page[span->planned++] = pattern == REVERSE ? pages - 1 - page : page;
	}
	if (pattern == RANDOM)
		shuffle(touched->page, touched->planned, seed);
	touched->done = touched->planned;
	rest->done = rest->planned;
}

/* What a page holds after pass `pass` wrote it: never 0, differs from page to page and pass to pass. */
static inline uint64_t token(uint32_t page, uint64_t pass)
{
	return (page + 1ULL) * 0x100000001b3 + pass;
}

static inline volatile uint64_t *word(char *base, uint32_t page)
{
	return (volatile uint64_t *)(base + page * LAB_PAGE);
}

/*
 * The touches of a span with a timeline: by the TSC alone, from which the clock's readings follow. Apart, and not
 * inlined, so that the loop below costs what it costs without.
 */
static __attribute__((noinline)) void touch_traced(struct span *span, char *base, bool read, uint64_t pass)
{
	uint64_t begin = lab_now(), ticks;

	span->tick[0] = __builtin_ia32_rdtsc();
	for (size_t i = 0; i < span->done; i++) {
		volatile uint64_t *at = word(base, span->page[i]);

		if (read)
			span->value[i] = *at;
		else
			*at = token(span->page[i], pass);
		span->tick[i + 1] = __builtin_ia32_rdtsc();
	}
	ticks = span->tick[span->done] - span->tick[0];
	double scale = lab_reads_tsc || !ticks ? 1.0 : (double)(lab_now() - begin) / ticks;

	for (size_t i = 0; i <= span->done; i++)
		span->stamp[i] = begin + (uint64_t)((span->tick[i] - span->tick[0]) * scale);
}

/* The measured span: touch `done` pages, by reading or by writing. One reading of the clock a touch. */
static inline void touch_pages(struct span *span, char *base, bool read, uint64_t pass)
{
	uint64_t faults = lab_faults();

	span->traced = span->tick && lab_timeline.running;
	if (span->traced) {
		touch_traced(span, base, read, pass);
	} else {
		span->stamp[0] = lab_now();
		for (size_t i = 0; i < span->done; i++) {
			volatile uint64_t *at = word(base, span->page[i]);

			if (read)
				span->value[i] = *at;
			else
				*at = token(span->page[i], pass);
			span->stamp[i + 1] = lab_now();
		}
	}
	span->faults = lab_faults() - faults;
}

/*
 * Checks `NAMEpages`, each planned page touched once, and `NAMEcontent`, where `content` is what a page
 * holds as seen through the mapping `view`, or what the touch read.
 */
static inline void check_touches(const struct span *span, const char *name, char *view, bool read, uint64_t pass)
{
	uint32_t last = 0;
	size_t once = 0, right = 0;
	uint8_t *times;
	char check[32];

	for (size_t i = 0; i < span->planned; i++)
		last = span->page[i] > last ? span->page[i] : last;
	times = lab_array(last + 1UL, 1);
	for (size_t i = 0; i < span->done; i++) {
		times[span->page[i]]++;
		right += (read ? span->value[i] : *word(view, span->page[i])) == token(span->page[i], pass);
	}
	for (size_t page = 0; page <= last; page++)
		once += times[page] == 1;
	free(times);
	snprintf(check, sizeof(check), "%spages", name);
	lab_check(once == span->planned, check, "%zu of %zu touched, each once", once, span->planned);
	snprintf(check, sizeof(check), "%scontent", name);
	lab_check(right == span->done, check, "%zu of %zu as written", right, span->done);
}

/* For a timeline: `FILE.ticks`, when each touch began and ended (docs/read-a-result.md), beside `FILE.txt`. */
static inline void report_ticks(const struct span *span, const char *file)
{
	char name[64];
	FILE *ticks;

	snprintf(name, sizeof(name), "%.*s.ticks", (int)strcspn(file, "."), file);
	ticks = lab_samples(name);
	if (!ticks)
		return;
	fprintf(ticks, "touches 1 %s\nfaults %llu\nlength %llu\nbegin %llu\n", lab_unit(),
		(unsigned long long)span->faults, (unsigned long long)(span->stamp[span->done] - span->stamp[0]),
		(unsigned long long)span->tick[0]);
	for (size_t i = 0; i < span->done; i++)
		fprintf(ticks, "%u %llu\n", span->page[i], (unsigned long long)(span->tick[i + 1] - span->tick[i]));
	fclose(ticks);
}

/* Metrics PREFIXtotal and the like, and the samples: a line `page latency` for each touch, in order. */
static inline void report_touches(const struct span *span, const char *prefix, const char *file)
{
	uint64_t *latency = lab_array(span->done, sizeof(*latency));
	FILE *samples = lab_samples(file);

	for (size_t i = 0; i < span->done; i++)
		latency[i] = span->stamp[i + 1] - span->stamp[i];
	lab_distribution(prefix, latency, span->done);
	if (samples) {
		fprintf(samples, "page %s\n", lab_unit());
		for (size_t i = 0; i < span->done; i++)
			fprintf(samples, "%u %llu\n", span->page[i], (unsigned long long)latency[i]);
		if (fclose(samples))
			lab_line("# note: %s: %s; its samples are lost", file, strerror(errno));
	}
	if (span->traced)
		report_ticks(span, file);
	free(latency);
}

#endif
