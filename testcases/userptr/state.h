/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The states of an area that `move` and `compact` compare, what brings one about, and options and checks. */
#ifndef USERPTR_STATE_H
#define USERPTR_STATE_H

#include "mirror.h"
#include "options.h"
#include "pin.h"

#include <getopt.h>

enum defect { NONE, FORGET_PIN, FORGET_MIRROR, DEAF };

static const char *const defects[] = { "none", "forget-pin", "forget-mirror", "deaf", NULL };

struct options {
	size_t pages;
	enum pin_kind pin;
	enum mirror_kind mirror;
	enum defect defect;
};

static const char options_help[] =
	"  --pages N                 how many are looked at\n"
	"  --pin io_uring|pin|get    who pins: fixed buffers; gup_pin by pin_user_pages() or get_user_pages()\n"
	"  --mirror hmm|kvm          who mirrors: hmm_mirror; a KVM guest\n"
	"  --defect DEFECT           break something to see a check fail: forget-pin, forget-mirror,\n"
	"                            deaf (hmm: the mirror does not heed the notifier)\n";

static inline struct options parse_options(int argc, char **argv, size_t pages, const char *what)
{
	static const struct option table[] = {
		{ "pages", required_argument, NULL, 'n' }, { "pin", required_argument, NULL, 'p' },
		{ "mirror", required_argument, NULL, 'm' }, { "defect", required_argument, NULL, 'd' },
		{ "help", no_argument, NULL, 'h' }, { 0 },
	};
	struct options o = { .pages = pages };
	int key;

	while ((key = getopt_long(argc, argv, "", table, NULL)) != -1) {
		switch (key) {
		case 'n': o.pages = lab_number("--pages", optarg, 1, 1 << 16); break;
		case 'p': o.pin = lab_choice("--pin", optarg, pin_kinds); break;
		case 'm': o.mirror = lab_choice("--mirror", optarg, mirror_kinds); break;
		case 'd': o.defect = lab_choice("--defect", optarg, defects); break;
		case 'h': printf("%s\n%s", what, options_help); exit(LAB_PASS);
		default: lab_usage("--help lists the options");
		}
	}
	if (optind < argc)
		lab_usage("%s: not an option; --help lists them", argv[optind]);
	if (o.defect == DEAF && o.mirror != MIRROR_HMM)
		lab_usage("--defect deaf: only hmm_mirror can be told not to heed its notifier");
	return o;
}

static inline uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

struct state {
	const char *name;
	bool pinned, unpinned, mirrored;
};

static const struct state states[] = {
	{ .name = "plain" },
	{ .name = "pinned", .pinned = true },
	{ .name = "unpinned", .pinned = true, .unpinned = true },
	{ .name = "mirrored", .mirrored = true },
	{ .name = "both", .pinned = true, .mirrored = true },
};

enum { STATES = sizeof(states) / sizeof(*states) };

/* Held at the time of the event. */
static inline bool is_held(const struct state *state)
{
	return state->pinned && !state->unpinned;
}

/* Is there a mirror in this state? A planted defect leaves it out. */
static inline bool has_mirror(const struct options *o, const struct state *state)
{
	return state->mirrored && o->defect != FORGET_MIRROR;
}

/* STATE-WHAT, the name of a check; good until the fourth call after this one. */
static inline char *in_state(const struct state *state, const char *what)
{
	static char name[4][64];
	static int next;

	next = (next + 1) % 4;
	snprintf(name[next], sizeof(name[next]), "%s-%s", state->name, what);
	return name[next];
}

static inline void state_metric(const struct state *state, const char *what, uint64_t seen)
{
	char prefix[32];

	snprintf(prefix, sizeof(prefix), "%s_", state->name);
	lab_metric(prefix, what, seen, "count");
}

/* A check STATE-WHAT: the number is exactly `wanted`. */
static inline void check_count(const struct state *state, const char *what, uint64_t seen, uint64_t wanted)
{
	lab_check(seen == wanted, in_state(state, what), "%llu, %llu expected", (unsigned long long)seen,
		  (unsigned long long)wanted);
}

/* ... and a metric STATE_WHAT. */
static inline void tell_count(const struct state *state, const char *what, uint64_t seen, uint64_t wanted)
{
	state_metric(state, what, seen);
	check_count(state, what, seen, wanted);
}

/* Pin, and let go again where the state is `unpinned`: false if that failed, which is reported. */
static inline bool take_pin(const struct options *o, const struct state *state, const struct area *area, int *fd)
{
	uint64_t before = pins_held(), took, wanted = o->pin == PIN_GET ? 0 : area->pages;

	*fd = -1;
	if (!state->pinned || o->defect == FORGET_PIN)
		return true;
	*fd = pin(o->pin, area);
	if (*fd < 0)
		return lab_check(false, in_state(state, "pin"), "%s: %s", pin_kinds[o->pin], strerror(errno));
	took = pins_held() - before;
	lab_check(took == wanted, in_state(state, "pin"), "%s: nr_foll_pin %llu, %llu expected", pin_kinds[o->pin],
		  (unsigned long long)took, (unsigned long long)wanted);
	if (!state->unpinned)
		return true;
	unpin(o->pin, *fd, before);
	*fd = -1;
	took = pins_held() - before;
	return lab_check(!took, in_state(state, "unpin"), "%llu pins left", (unsigned long long)took);
}

/* Mirror all pages for writing where the state asks for it: false if that failed, which is reported. */
static inline bool take_mirror(const struct options *o, const struct state *state, const struct area *area,
			       struct mirror *mirror)
{
	struct mirror_counts counts;

	if (!has_mirror(o, state))
		return true;
	if (!mirror_open(o->mirror, area, true, o->defect == DEAF ? HMM_MIRROR_DEAF : 0, mirror) ||
	    !mirror_fault(mirror))
		return lab_check(false, in_state(state, "mirror"), "%s: %s", mirror->failed, strerror(errno));
	counts = mirror_now(mirror);
	return lab_check(counts.present == area->pages, in_state(state, "mirror"), "%s: %llu entries, %zu expected",
			 mirror_kinds[o->mirror], (unsigned long long)counts.present, area->pages);
}

/*
 * What happened to the mirror since `before`, and what it costs to go on with it. One call of the notifier
 * takes each entry of the `gone` pages that are elsewhere now; of pages that are held there may be up to `most`
 * calls for nothing, and none is better. No entry may be stale.
 */
static inline void report_mirror(const struct options *o, const struct state *state, struct mirror *mirror,
				 const struct mirror_counts *before, uint64_t gone, uint64_t most)
{
	struct mirror_counts after = { 0 }, refault = { 0 };
	uint64_t stale = 0, taken = gone;

	if (has_mirror(o, state)) {
		after = mirror_since(mirror, before);
		stale = mirror_stale(mirror);
		refault = mirror_now(mirror);
		if (!mirror_fault(mirror))
			lab_check(false, in_state(state, "refault"), "%s", strerror(errno));
		refault = mirror_since(mirror, &refault);
	}
	state_metric(state, "callbacks", after.callbacks);
	lab_check(after.callbacks >= gone && after.callbacks <= most, in_state(state, "callbacks"),
		  "%llu calls, %llu to %llu expected", (unsigned long long)after.callbacks, (unsigned long long)gone,
		  (unsigned long long)most);
	if (is_held(state) && after.callbacks)
		taken = least(after.callbacks, o->pages);
	tell_count(state, "invalidated", after.invalidated, taken);
	tell_count(state, "refaulted", refault.faulted, taken);
	check_count(state, "stale", stale, 0);
}

/* The end of a state: nothing may be left for the next one, nor the pages' contents have suffered. */
static inline void leave_state(const struct options *o, const struct state *state, struct area *area, int pin_fd,
			       uint64_t held_before, struct mirror *mirror)
{
	size_t corrupt = area_corrupt(area);

	lab_check(!corrupt, in_state(state, "content"), "%zu of %zu pages changed", corrupt, area->pages);
	if (has_mirror(o, state))
		mirror_close(mirror);
	unpin(o->pin, pin_fd, held_before);
	munmap(area->base, area_bytes(area));
}

#endif
