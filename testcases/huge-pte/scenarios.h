/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What can be in the way of huge entries, one function each. A check `mapping` says what the page tables hold
 * when the scenario is over, the others that it took place.
 */
#ifndef HUGE_PTE_SCENARIOS_H
#define HUGE_PTE_SCENARIOS_H

#include "mapped_bo.h"

#include <sys/klog.h>
#include <sys/wait.h>

enum defect { NONE, ASTRAY, UNTOUCHED, SKIP };

struct subject {
	struct mapped_bo mapped; /* not touched yet */
	bool huge;               /* this kernel maps such a BO by 2 MiB where nothing is in the way */
	enum defect defect;
};

static inline size_t spans_of(const struct subject *subject)
{
	return subject->mapped.bo.size / HUGE_SIZE;
}

static inline size_t pages_of(const struct subject *subject)
{
	return subject->mapped.bo.size / LAB_PAGE;
}

/* Write one word every `step` bytes, and return the faults of it. */
static inline uint64_t touch(const struct subject *subject, size_t step)
{
	uint64_t before = lab_faults();

	if (subject->defect != UNTOUCHED)
		mapped_bo_touch(&subject->mapped, step, 1);
	return lab_faults() - before;
}

/* Each page still holds what touch() wrote: a check `content`. */
static inline void check_content(const struct subject *subject)
{
	size_t wrong = 0;

	for (size_t at = 0; at < subject->mapped.bo.size; at += LAB_PAGE)
		wrong += *(volatile uint64_t *)(subject->mapped.base + at) != 1 + at;
	lab_check(!wrong, "content", "%zu of %zu pages differ", wrong, pages_of(subject));
}

/* A check `mapping`: entries of 2 MiB for `spans` of the spans and, where `filled`, of 4 KiB for all the rest. */
static inline struct page_walk check_sizes(const struct subject *subject, size_t spans, bool filled)
{
	struct page_walk walk = mapped_bo_walk(&subject->mapped);
	size_t huge = subject->huge ? spans : 0, small = pages_of(subject) - huge * HUGE_PAGES;
	char text[128];

	lab_check(walk.pmd == huge && (filled ? walk.pte == small : walk.pte <= small) &&
			  (huge == spans_of(subject) || walk.pte > 0),
		  "mapping", "%s; %zu of 2 MiB expected", walk_words(&walk, text, sizeof(text)), huge);
	lab_metric("", "huge", walk.pmd, "count");
	lab_metric("", "small", walk.pte, "count");
	lab_metric("", "tables", walk.tables, "count");
	return walk;
}

/* Whether a write to that address is refused, tried in a child. */
static inline bool write_is_refused(char *address)
{
	int status = 0;
	pid_t child = fork();

	if (child == 0) {
		signal(SIGSEGV, SIG_DFL);
		signal(SIGBUS, SIG_DFL);
		*(volatile char *)address = 1;
		_exit(0);
	}
	return child > 0 && waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV;
}

/*
 * A metric `oom_faults`: faults that ended in VM_FAULT_OOM although there was memory, for the window of a fault
 * ran into a huge entry where it wanted a page table. The kernel tries such a fault again and says so.
 */
static inline void report_oom_faults(void)
{
	static char log[256 << 10];
	int got = klogctl(3 /* SYSLOG_ACTION_READ_ALL */, log, sizeof(log) - 1);
	unsigned int count = 0;

	log[got > 0 ? got : 0] = '\0';
	for (const char *at = log; (at = strstr(at, "VM_FAULT_OOM leaked")); at++)
		count++;
	lab_metric("", "oom_faults", count, "count");
}

/* One touch in each 2 MiB. */
static inline void map_aligned(struct subject *subject)
{
	uint64_t faults = touch(subject, HUGE_SIZE);
	struct page_walk walk = check_sizes(subject, spans_of(subject), false);

	lab_check(faults == spans_of(subject), "faults", "%llu, one for each 2 MiB expected",
		  (unsigned long long)faults);
	lab_check(walk.special_pmd == walk.pmd && walk.special_pte == walk.pte, "special",
		  "%llu of %llu entries of 2 MiB, %llu of %llu of 4 KiB", (unsigned long long)walk.special_pmd,
		  (unsigned long long)walk.pmd, (unsigned long long)walk.special_pte, (unsigned long long)walk.pte);
	lab_metric("", "faults", faults, "count");
}

/* Mapped one page off: no entry of 2 MiB can be right for it. */
static inline void map_misaligned(struct subject *subject)
{
	lab_metric("", "faults", touch(subject, LAB_PAGE), "count");
	check_sizes(subject, 0, true);
	check_content(subject);
}

/*
 * Some pages have entries of 4 KiB already, where a huge one could be. On any kernel: map one page off, touch
 * every 64th page, and let mremap() bring the mapping to an address that fits, entries and all.
 */
static inline void map_partly(struct subject *subject)
{
	struct mapped_bo *mapped = &subject->mapped;
	char *there = mmap(NULL, mapped->bo.size + 2 * HUGE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct page_walk before, after;

	touch(subject, 64 * LAB_PAGE);
	before = mapped_bo_walk(mapped);
	there = (char *)(((uintptr_t)there + HUGE_SIZE - 1) & ~(HUGE_SIZE - 1));
	if (subject->defect != SKIP)
		there = mremap(mapped->base, mapped->bo.size, mapped->bo.size, MREMAP_MAYMOVE | MREMAP_FIXED, there);
	if (there != MAP_FAILED && subject->defect != SKIP)
		mapped->base = there;
	after = mapped_bo_walk(mapped);
	lab_check((uintptr_t)mapped->base % HUGE_SIZE == 0 && before.pte > 0 && after.pte == before.pte &&
			  after.tables == spans_of(subject),
		  "moved", "to a multiple of 2 MiB, with %llu of %llu entries of 4 KiB in %llu tables",
		  (unsigned long long)after.pte, (unsigned long long)before.pte, (unsigned long long)after.tables);
	lab_metric("", "faults", touch(subject, LAB_PAGE), "count");
	check_sizes(subject, 0, true);
	check_content(subject);
}

/* Let TTM swap BOs out, oldest first, until the mapping is empty; the number of BOs, or -1. */
static inline int evict(const struct subject *subject)
{
	char text[32];

	for (int count = 0; count < 64; count++) {
		int fd = open("/sys/kernel/debug/ttm/tt_shrink", O_RDONLY | O_CLOEXEC);

		if (mapped_bo_walk(&subject->mapped).none == pages_of(subject)) {
			close(fd);
			return count;
		}
		if (fd < 0 || read(fd, text, sizeof(text)) <= 0)
			return -1;
		close(fd);
	}
	return -1;
}

/* Evicted, which leaves no entry, and touched again: TTM gets new memory and a fault maps it anew. */
static inline void map_evicted(struct subject *subject)
{
	struct page_walk empty;
	uint64_t faults;
	int count;

	touch(subject, LAB_PAGE);
	count = subject->defect == SKIP ? 0 : evict(subject);
	empty = mapped_bo_walk(&subject->mapped);
	lab_check(count > 0 && empty.none == pages_of(subject), "evicted", "%d BOs swapped out, %llu tables are left",
		  count, (unsigned long long)empty.tables);
	lab_metric("", "tables_left", empty.tables, "count");
	faults = lab_faults();
	check_content(subject);
	lab_metric("", "faults", lab_faults() - faults, "count");
	check_sizes(subject, spans_of(subject), true);
}

/* What a child sees, in memory that it shares with its parent. */
struct child_view {
	struct page_walk born, touched;
	uint64_t faults, wrong;
};

static inline void look_around(const struct subject *subject, struct child_view *view)
{
	view->born = mapped_bo_walk(&subject->mapped);
	view->faults = lab_faults();
	for (size_t at = 0; at < subject->mapped.bo.size; at += LAB_PAGE)
		view->wrong += *(volatile uint64_t *)(subject->mapped.base + at) != 1 + at;
	view->faults = lab_faults() - view->faults;
	view->touched = mapped_bo_walk(&subject->mapped);
	*(volatile uint64_t *)subject->mapped.base = 4711;
}

/* A child of the process: which entries it is born with, and which it gets. */
static inline void map_fork(struct subject *subject)
{
	struct child_view *view = mmap(NULL, LAB_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	size_t huge = subject->huge ? spans_of(subject) : 0;
	struct page_walk walk;
	char text[128];
	pid_t child;

	touch(subject, LAB_PAGE);
	child = subject->defect == SKIP ? -1 : fork();
	if (child == 0) {
		look_around(subject, view);
		_exit(0);
	}
	if (child > 0)
		waitpid(child, NULL, 0);
	lab_check(child > 0 && *(volatile uint64_t *)subject->mapped.base == 4711, "shared",
		  "what the child wrote is %s", child > 0 ? "here" : "not here: there was none");
	*(volatile uint64_t *)subject->mapped.base = 1;
	walk = view->born;
	lab_check(walk.pmd + walk.pte > 0 || walk.none == pages_of(subject), "born", "%s",
		  walk_words(&walk, text, sizeof(text)));
	lab_metric("", "born_huge", walk.pmd, "count");
	lab_metric("", "born_small", walk.pte, "count");
	lab_metric("", "faults", view->faults, "count");
	walk = view->touched;
	lab_check(!view->wrong && walk.pmd == huge && walk.pte == pages_of(subject) - huge * HUGE_PAGES, "child",
		  "%s, %llu faults, %llu pages differ", walk_words(&walk, text, sizeof(text)),
		  (unsigned long long)view->faults, (unsigned long long)view->wrong);
	check_sizes(subject, spans_of(subject), true);
	check_content(subject);
}

/* One page in the middle of the second 2 MiB is unmapped: the other spans keep their entries. */
static inline void map_munmap(struct subject *subject)
{
	char *hole = subject->mapped.base + HUGE_SIZE + HUGE_SIZE / 2;
	struct page_walk span;
	char text[128];

	touch(subject, LAB_PAGE);
	if (subject->defect != SKIP)
		munmap(hole, LAB_PAGE);
	span = page_walk(subject->mapped.walker, subject->mapped.base + HUGE_SIZE, HUGE_SIZE);
	lab_metric("", "small_left", span.pte, "count");
	lab_check(write_is_refused(hole), "hole", "1 page; around it: %s", walk_words(&span, text, sizeof(text)));
	for (size_t at = 0; at < subject->mapped.bo.size; at += LAB_PAGE)
		if (subject->mapped.base + at != hole)
			*(volatile uint64_t *)(subject->mapped.base + at) += 1;
	span = mapped_bo_walk(&subject->mapped);
	lab_check(span.none == 1, "refilled", "%llu pages without an entry", (unsigned long long)span.none);
	/* As check_sizes() counts it: the page that is gone would be one of 4 KiB. */
	lab_check(span.pmd == (subject->huge ? spans_of(subject) - 1 : 0) &&
			  span.pte == pages_of(subject) - 1 - span.pmd * HUGE_PAGES,
		  "mapping", "%s", walk_words(&span, text, sizeof(text)));
	report_oom_faults();
	lab_metric("", "huge", span.pmd, "count");
	lab_metric("", "small", span.pte, "count");
}

/* One page in the middle of the second 2 MiB is made read-only, and writable again. */
static inline void map_mprotect(struct subject *subject)
{
	char *page = subject->mapped.base + HUGE_SIZE + HUGE_SIZE / 2;
	struct page_walk whole;

	touch(subject, LAB_PAGE);
	mprotect(subject->mapped.base, subject->mapped.bo.size, PROT_READ);
	whole = mapped_bo_walk(&subject->mapped);
	lab_check(!whole.writable && whole.pmd + whole.pte > 0, "read-only", "%llu of %llu entries writable",
		  (unsigned long long)whole.writable, (unsigned long long)(whole.pmd + whole.pte));
	lab_metric("", "huge_read_only", whole.pmd, "count");
	mprotect(subject->mapped.base, subject->mapped.bo.size, PROT_READ | PROT_WRITE);
	touch(subject, LAB_PAGE);
	if (subject->defect != SKIP)
		mprotect(page, LAB_PAGE, PROT_READ);
	lab_check(write_is_refused(page), "one-page", "a write to the page that is read-only");
	mprotect(page, LAB_PAGE, PROT_READ | PROT_WRITE);
	touch(subject, LAB_PAGE);
	/* VMAs of PFNs never merge: the span stays in pieces, none of which holds 2 MiB. */
	check_sizes(subject, spans_of(subject) - 1, true);
	check_content(subject);
	report_oom_faults();
}

#endif
