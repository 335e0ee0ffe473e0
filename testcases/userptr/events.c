// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * events: what does a system call on a range cost who mirrors it, and does a pin make a difference?
 *
 * Each event on the same pages with a mirror that needs to write and one that only reads, each without and with
 * a pin on all pages: calls of the notifier, entries that it takes away, entries that have to be made again,
 * and of those the needless ones, which come back as they were. A fifth run is a reader that keeps what stays
 * readable (HMM_MIRROR_KEEP). All of it is known beforehand.
 */
#include "faultlab.h"

#include "state.h"

#include <sys/wait.h>

struct run {
	const char *name;
	bool writes, pinned, keeps;
};

static const struct run runs[] = {
	{ .name = "reader" },
	{ .name = "reader_pinned", .pinned = true },
	{ .name = "writer", .writes = true },
	{ .name = "writer_pinned", .writes = true, .pinned = true },
	{ .name = "keeper", .keeps = true },
};

static bool read_only(const struct area *area)
{
	return !mprotect(area->base, area_bytes(area), PROT_READ);
}

static bool writable(const struct area *area)
{
	return !mprotect(area->base, area_bytes(area), PROT_READ | PROT_WRITE);
}

/*
 * The same, as a program does it that protects page by page. Each call splits the mapping, and a split inside
 * of 2 MiB that lay in one mapping clears all of them (split_huge_pmd_address()), huge page or not.
 */
static bool piecewise(const struct area *area)
{
	for (size_t i = 0; i < area->pages; i++)
		if (mprotect(area_page(area, i), LAB_PAGE, PROT_READ))
			return false;
	return true;
}

/* The child ends at once. Pages become copy-on-write; of pinned ones the child gets a copy instead. */
static bool fork_child(const struct area *area)
{
	pid_t child = fork();
	int status = 1;

	(void)area;
	if (!child)
		_exit(0);
	return child > 0 && waitpid(child, &status, 0) == child && !status;
}

static bool unreadable(const struct area *area)
{
	return !mprotect(area->base, area_bytes(area), PROT_NONE);
}

static bool dontneed(const struct area *area)
{
	return !madvise(area->base, area_bytes(area), MADV_DONTNEED);
}

struct event {
	const char *name;
	bool (*happen)(const struct area *area);
	bool keeps_page; /* the page stays behind its address, so a new entry is the old one */
	bool readable, writable; /* afterwards */
	bool ignorable;  /* to a keeper */
	bool by_page;    /* a call of the notifier per page, and one to clear each 2 MiB */
	bool clears;     /* the only call is to clear the range */
	bool between;    /* only leads to the next one: checked, and no metric */
};

/* In this order: each finds what the one before has left. */
static const struct event events[] = {
	{ "read_only", read_only, .keeps_page = true, .readable = true, .ignorable = true },
	{ "writable", writable, .keeps_page = true, .readable = true, .writable = true, .ignorable = true },
	{ "piecewise", piecewise, .keeps_page = true, .readable = true, .by_page = true },
	{ "writable_again", writable, .keeps_page = true, .readable = true, .writable = true, .ignorable = true,
	  .between = true },
	{ "fork", fork_child, .keeps_page = true, .readable = true, .writable = true },
	{ "unreadable", unreadable, .keeps_page = true, .between = true },
	{ "readable", writable, .keeps_page = true, .readable = true, .writable = true, .ignorable = true,
	  .between = true },
	{ "dontneed", dontneed, .readable = true, .writable = true, .clears = true },
};

enum { EVENTS = sizeof(events) / sizeof(*events) };

struct outcome {
	uint64_t callbacks;
	uint64_t clears;      /* calls that no mirror may ignore; hmm_mirror only */
	uint64_t invalidated; /* entries that were taken away */
	uint64_t refaulted;   /* entries that were made again */
	uint64_t needless;    /* of a reader: taken away, made again, and the page is the same */
	uint64_t stale;       /* left although the page tables say otherwise */
	bool allowed;         /* to make new entries */
};

/* One event: what it took from the mirror, and what comes back. */
static struct outcome watch(const struct event *event, const struct area *area, struct mirror *mirror,
			    uint64_t *frames)
{
	struct mirror_counts before = mirror_now(mirror), taken, made;
	struct outcome seen = { 0 };

	if (!area_frames(area, frames) || !event->happen(area))
		lab_check(false, event->name, "%s", strerror(errno));
	taken = mirror_since(mirror, &before);
	seen.stale = event->readable ? mirror_stale(mirror) : taken.present;
	before = mirror_now(mirror);
	seen.allowed = mirror_fault(mirror);
	made = mirror_since(mirror, &before);
	seen.callbacks = taken.callbacks;
	seen.clears = taken.clears;
	seen.invalidated = taken.invalidated;
	seen.refaulted = made.faulted;
	if (!mirror->writes && seen.allowed && event->keeps_page)
		seen.needless = least(least(taken.invalidated, made.faulted),
				      area->pages - area_moved(area, frames));
	return seen;
}

/* What has to come out of it for a mirror that has `entries`. */
static struct outcome expect(const struct options *o, const struct event *event, const struct run *run,
			     uint64_t entries)
{
	uint64_t pages = o->pages, huge = pages / 512;
	struct outcome wanted = {
		.callbacks = event->by_page ? pages + huge : 1,
		.clears = o->mirror == MIRROR_KVM ? 0 : event->by_page ? huge : event->clears,
		.invalidated = run->keeps && event->ignorable ? 0 : entries,
		.allowed = run->writes ? event->writable : event->readable,
	};

	wanted.refaulted = wanted.allowed ? pages - (entries - wanted.invalidated) : 0;
	wanted.needless = run->writes || !event->keeps_page ? 0 : least(wanted.invalidated, wanted.refaulted);
	return wanted;
}

static void report(const struct options *o, const struct event *event, const struct run *run,
		   const struct outcome *seen, const struct outcome *wanted)
{
	const struct { const char *name; uint64_t seen, wanted; bool metric; } counts[] = {
		{ "callbacks", seen->callbacks, wanted->callbacks, true },
		{ "clears", seen->clears, wanted->clears, event->by_page && o->mirror == MIRROR_HMM },
		{ "invalidated", seen->invalidated, wanted->invalidated, true },
		{ "refaulted", seen->refaulted, wanted->refaulted, false },
		{ "needless", seen->needless, wanted->needless, !run->writes },
		{ "stale", seen->stale, wanted->stale, false },
	};
	char name[64], prefix[64], words[200] = "";
	bool good = seen->allowed == wanted->allowed;

	snprintf(name, sizeof(name), "%s-%s", event->name, run->name);
	snprintf(prefix, sizeof(prefix), "%s_%s_", event->name, run->name);
	for (size_t i = 0; i < sizeof(counts) / sizeof(*counts); i++) {
		good = good && counts[i].seen == counts[i].wanted;
		if (counts[i].metric && !event->between)
			lab_metric(prefix, counts[i].name, counts[i].seen, "count");
		snprintf(words + strlen(words), sizeof(words) - strlen(words), "%s %llu/%llu, ", counts[i].name,
			 (unsigned long long)counts[i].seen, (unsigned long long)counts[i].wanted);
	}
	for (char *c = name; *c; c++)
		*c = *c == '_' ? '-' : *c;
	lab_check(good, name, "seen/expected: %snew entries %s", words, seen->allowed ? "allowed" : "refused");
}

static uint32_t mirror_flags(const struct options *o, const struct run *run)
{
	return (o->defect == DEAF ? HMM_MIRROR_DEAF : 0) | (run->keeps ? HMM_MIRROR_KEEP : 0);
}

/* After the last event: the pages that a pin holds are no longer those behind the address. */
static void report_orphans(const struct run *run, const struct area *area, const uint64_t *frames)
{
	uint64_t orphans = area_moved(area, frames);
	char prefix[64];

	snprintf(prefix, sizeof(prefix), "dontneed_%s_", run->name);
	lab_metric(prefix, "orphans", orphans, "count");
	lab_check(orphans == area->pages, run->writes ? "orphans-writer" : "orphans-reader",
		  "%llu of %zu pinned pages are not in the address space any more", (unsigned long long)orphans,
		  area->pages);
}

/* The pin of a run: a descriptor, or -1 if it has none. */
static int pin_run(const struct options *o, const struct run *run, const struct area *area)
{
	uint64_t held = pins_held(), took, wanted = run->pinned && o->pin != PIN_GET ? o->pages : 0;
	int fd = run->pinned && o->defect != FORGET_PIN ? pin(o->pin, area) : -1;

	took = pins_held() - held;
	lab_check(took == wanted, run->pinned ? "pinned" : "not-pinned", "%s: nr_foll_pin %llu, %llu expected",
		  run->name, (unsigned long long)took, (unsigned long long)wanted);
	return fd;
}

static void run_events(const struct options *o, const struct run *run)
{
	struct area area = area_make(o->pages, 1);
	uint64_t *frames = lab_array(o->pages, sizeof(*frames)), held = pins_held();
	uint64_t entries = o->pages;
	struct mirror mirror;
	int fd;

	fd = pin_run(o, run, &area);
	if (!mirror_open(o->mirror, &area, run->writes, mirror_flags(o, run), &mirror) ||
	    (o->defect != FORGET_MIRROR && !mirror_fault(&mirror))) {
		lab_check(false, "mirror", "%s: %s", mirror.failed, strerror(errno));
		return;
	}
	for (size_t i = 0; i < EVENTS; i++) {
		struct outcome wanted = expect(o, &events[i], run, entries);
		struct outcome seen = watch(&events[i], &area, &mirror, frames);

		report(o, &events[i], run, &seen, &wanted);
		entries += wanted.refaulted - wanted.invalidated;
	}
	if (run->pinned)
		report_orphans(run, &area, frames);
	mirror_close(&mirror);
	unpin(o->pin, fd, held);
	munmap(area.base, area_bytes(&area));
	free(frames);
}

int main(int argc, char **argv)
{
	struct options o = parse_options(argc, argv, 1024, "events: what system calls on a range cost its mirror");

	for (size_t i = 0; i < sizeof(runs) / sizeof(*runs); i++)
		if (!runs[i].keeps || o.mirror == MIRROR_HMM)
			run_events(&o, &runs[i]);
	return lab_finish();
}
