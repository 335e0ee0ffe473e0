// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * virt_touch: what it costs a host that a virtual machine touches its memory, by what that memory is.
 *
 * The kernel under test is the host. A virtual machine of kvm_mini.h touches each page once, four times over:
 *
 *	fresh		there is no memory yet (left out where it comes before the first touch)
 *	unmapped	there is memory, and the page tables of this process have no entry for it
 *	present		they have all entries, the nested tables of KVM have none
 *	again		the nested tables have all entries as well
 *
 * Each but the last is a virtual machine of its own. What one takes more than the next is the cost of the
 * memory, of the faults of the host, and of the exits and what KVM maps behind them.
 */
#include "faultlab.h"

#include "arguments.h"
#include "backing.h"
#include "nested.h"

#define SPIN (4UL << 20) /* rounds of 4 instructions: 16 ms of the virtual clock, some of any */

struct subject {
	const struct options *o;
	struct backing backing;
	int walker; /* of page_walk.h */
};

static uint64_t pages_of(const struct subject *subject)
{
	return subject->o->size / LAB_PAGE;
}

static struct page_walk walk_of(const struct subject *subject)
{
	return page_walk(subject->walker, subject->backing.base, subject->o->size);
}

static struct kvm_counts wanted_of(const struct subject *subject, const struct page_walk *walk)
{
	return nested_wanted(walk, pages_of(subject), subject->o->off_host == subject->o->off_guest);
}

/* ---- passes -------------------------------------------------------------------------------------------- */

/*
 * How far a machine came that KVM stopped, and how many references the page has that it stopped at: up to 6.12
 * KVM takes one, which is refused where there is none.
 */
static void report_refusal(const struct subject *subject, const struct pass *pass)
{
	uint64_t done = pass->counts.small + HUGE_PAGES * pass->counts.huge;
	struct page_walk next;

	if (done >= pages_of(subject))
		done = 0;
	next = page_walk(subject->walker, subject->backing.base + done * LAB_PAGE, LAB_PAGE);
	lab_check(false, "touched", "%s after %llu of %llu pages; the next page has %llu references",
		  strerrorname_np(pass->error), (unsigned long long)done, (unsigned long long)pages_of(subject),
		  (unsigned long long)next.references);
}

/* What the machine wrote is in the mapping: a check NAME-content. */
static void check_content(const struct subject *subject, const char *name, uint32_t stamp)
{
	uint64_t right = 0;
	char check[32];

	for (size_t at = 0; at < subject->o->size; at += LAB_PAGE)
		right += *(volatile uint32_t *)(subject->backing.base + at + 8) == stamp;
	snprintf(check, sizeof(check), "%s-content", name);
	lab_check(right == pages_of(subject), check, "%llu of %llu pages as the machine wrote them",
		  (unsigned long long)right, (unsigned long long)pages_of(subject));
}

/*
 * A pass by the machine `m`, with a check NAME-nested of the entries that KVM made, or `touched` if it refused.
 * `stamp`: what the machine writes; 0: it reads, and gets what memory that was never written reads as.
 */
static bool run_pass(struct subject *subject, struct kvm_mini *m, const char *name, uint32_t stamp,
		     struct pass *pass)
{
	uint64_t pages = subject->o->defect == SKIP ? pages_of(subject) / 2 : pages_of(subject);
	struct kvm_counts wanted;
	struct page_walk walk;
	char check[32];

	if (subject->o->defect == LOG_DIRTY && !nested_log_dirty(m, subject->backing.base, subject->o->size))
		return lab_check(false, "log-dirty", "%s", strerror(errno));
	m->stamp = stamp;
	*pass = nested_touch(m, pages, stamp);
	if (pass->error) {
		report_refusal(subject, pass);
		return false;
	}
	walk = walk_of(subject);
	wanted = wanted_of(subject, &walk);
	snprintf(check, sizeof(check), "%s-nested", name);
	check_nested(check, &pass->counts, &wanted);
	if (stamp)
		check_content(subject, name, stamp);
	return true;
}

static bool run_fresh_machine(struct subject *subject, const char *name, uint32_t stamp, struct pass *pass)
{
	struct kvm_mini m;
	bool good;

	if (!nested_make(&m, subject->backing.base, subject->o->size, subject->o->off_guest))
		return false;
	good = run_pass(subject, &m, name, stamp, pass);
	kvm_mini_end(&m);
	return good;
}

/* A check NAME-empty: the page tables have no entry, or the pass would measure something else. */
static void check_empty(struct subject *subject, const char *name)
{
	struct page_walk walk;
	char check[32], text[128];

	if (subject->o->defect == EARLY)
		*(volatile char *)subject->backing.base = 1;
	walk = walk_of(subject);
	snprintf(check, sizeof(check), "%s-empty", name);
	lab_check(walk.none == pages_of(subject), check, "%s", walk_words(&walk, text, sizeof(text)));
}

/*
 * A check `interrupts`: over several ticks of the timer the machine touches nothing new, so all its exits are to
 * be accounted for by what is subtracted from `exits`.
 */
static void check_interrupts(struct kvm_mini *m)
{
	struct kvm_counts before = kvm_counts_now(m), counts;
	uint64_t start = lab_now(), took;

	kvm_mini_touch(m, SPIN, 0, true);
	took = lab_now() - start;
	counts = kvm_counts_since(m, &before);
	lab_check(counts.interrupts > 0 && !exits_by_touch(&counts) && !counts.taken, "interrupts",
		  "%llu exits in %llu %s of touching one page: %llu for interrupts, %llu for HLT",
		  (unsigned long long)counts.exits, (unsigned long long)took, lab_unit(),
		  (unsigned long long)counts.interrupts, (unsigned long long)counts.halts);
}

/* The nested tables once more, on pages that are present, and then none of it: what is left is the touching. */
static bool run_present(struct subject *subject, struct pass *present, struct pass *again)
{
	struct kvm_counts none = { 0 };
	struct kvm_mini m;
	bool good;

	if (!nested_make(&m, subject->backing.base, subject->o->size, subject->o->off_guest))
		return false;
	good = run_pass(subject, &m, "present", 3, present);
	if (good) {
		*again = nested_touch(&m, pages_of(subject), true);
		check_nested("again-nested", &again->counts, &none);
		lab_check(!present->faults && !again->faults, "present-faults",
			  "%llu of this process, none expected",
			  (unsigned long long)(present->faults + again->faults));
		check_interrupts(&m);
	}
	kvm_mini_end(&m);
	return good;
}

/* The exits of a further machine are counted by their reason as well. */
static void run_traced(struct subject *subject)
{
	const char *filter = subject->o->defect == UNTRACED ? OTHER_EXIT : NESTED_FAULT;
	uint64_t traced, touch;
	struct pass pass;
	struct kvm_mini m;

	if (!nested_make(&m, subject->backing.base, subject->o->size, subject->o->off_guest))
		return;
	if (!trace_exits(filter)) {
		lab_check(false, "reasons", TRACE_EXITS ": %s", strerror(errno));
	} else if (run_pass(subject, &m, "traced", 4, &pass)) {
		traced = traced_exits();
		touch = exits_by_touch(&pass.counts);
		lab_check(traced == touch && traced == pass.counts.taken && traced == pass.counts.fixed, "reasons",
			  "%llu exits are EPT_VIOLATION or NPF by the tracepoint, %llu by subtraction",
			  (unsigned long long)traced, (unsigned long long)touch);
	}
	kvm_mini_end(&m);
}

/* ---- what is reported ---------------------------------------------------------------------------------- */

/*
 * What `more` took beyond `less`, a page, rounded. A tick of the timer in one and not in the other may make
 * `less` the larger, by nothing a page.
 */
static void report_cost(const struct subject *subject, const char *name, uint64_t more, uint64_t less)
{
	uint64_t pages = pages_of(subject);

	if (lab_check(more + pages / 2 >= less, name, "%llu against %llu %s", (unsigned long long)more,
		      (unsigned long long)less, lab_unit()))
		lab_metric("", name, (more + pages / 2 - less) / pages, lab_unit());
}

/* In 6.1, not in 6.12, get_user_pages() faults hugetlb pages in past the counting (follow_hugetlb_page()). */
static void report_host_faults(const struct subject *subject, const struct pass *first)
{
	enum kind kind = subject->backing.kind;

	if (!first->faults && (kind == HUGETLB || kind == HUGETLB_1G)) {
		lab_skip("host-faults", "this kernel does not count faults on hugetlb pages that KVM takes");
		return;
	}
	lab_check(first->faults > 0, "host-faults", "%llu of this process", (unsigned long long)first->faults);
	lab_metric("", "host_faults", first->faults, "count");
}

static void report_counts(const struct subject *subject, const struct pass *first)
{
	const struct kvm_counts *counts = &first->counts;
	static const char *const found[] = { "4k", "2m", "1g" };
	int size = counts->giant ? 2 : counts->huge ? 1 : 0;

	lab_metric("", "exits", exits_by_touch(counts), "count");
	lab_metric("", "interrupt_exits", counts->interrupts, "count");
	lab_metric("", "nested_faults", counts->taken, "count");
	lab_metric("", "pages_4k", counts->small, "count");
	lab_metric("", "pages_2m", counts->huge, "count");
	lab_metric("", "pages_1g", counts->giant, "count");
	lab_metric("", "emulated", counts->emulated, "count");
	lab_check(exits_by_touch(counts) == counts->taken, "exits",
		  "%llu, %llu of them for faults, %llu for interrupts, %llu for HLT",
		  (unsigned long long)counts->exits, (unsigned long long)counts->taken,
		  (unsigned long long)counts->interrupts, (unsigned long long)counts->halts);
	report_host_faults(subject, first);
	if (subject->o->expected)
		lab_check(size == (int)subject->o->expected - 1, "expected",
			  "the largest entries are of %s, %s expected", found[size],
			  sizes[subject->o->expected]);
}

/*
 * Of anonymous memory there is no state with memory and without entries: there the machine reads, in an area of
 * its own, and gets the page of zeroes, which is a fault without an allocation.
 */
static bool run_private_unmapped(struct subject *subject, struct pass *unmapped)
{
	struct subject other = *subject;
	bool good;

	if (!backing_map(&other.backing))
		return false;
	if (other.backing.kind == THP) /* the huge page of zeroes is made once, for whoever reads first */
		(void)*(volatile char *)other.backing.base;
	backing_unmap(&other.backing);
	if (!backing_map(&other.backing))
		return false;
	check_empty(&other, "unmapped");
	good = run_fresh_machine(&other, "unmapped", 0, unmapped);
	backing_unmap(&other.backing);
	return good;
}

static bool run_unmapped(struct subject *subject, bool filled, struct pass *unmapped)
{
	if (is_private(&subject->backing))
		return run_private_unmapped(subject, unmapped);
	if (!filled && !backing_fill(&subject->backing))
		return false;
	backing_unmap(&subject->backing);
	if (!backing_map(&subject->backing))
		return false;
	check_empty(subject, "unmapped");
	return run_fresh_machine(subject, "unmapped", 2, unmapped);
}

static void run(struct subject *subject)
{
	bool lazy = about[subject->backing.kind].comes == BY_TOUCH;
	struct pass fresh, unmapped, present, again;
	const struct pass *first = lazy ? &fresh : &unmapped;

	if (lazy) {
		check_empty(subject, "fresh");
		if (!run_fresh_machine(subject, "fresh", 1, &fresh))
			return;
	}
	if (!run_unmapped(subject, lazy, &unmapped) || !run_present(subject, &present, &again))
		return;
	lab_check(true, "touched", "%llu pages", (unsigned long long)pages_of(subject));
	report_counts(subject, first);
	report_cost(subject, "touch_page", first->cost, 0);
	report_cost(subject, "exit_map_page", present.cost, again.cost);
	report_cost(subject, "host_fault_page", unmapped.cost, present.cost);
	if (lazy)
		report_cost(subject, "memory_page", fresh.cost, unmapped.cost);
	run_traced(subject);
}

int main(int argc, char **argv)
{
	struct options o = parse(argc, argv);
	struct subject subject = { .o = &o };

	lab_start();
	if (o.shmem_huge)
		want_shmem_huge();
	subject.walker = page_walk_open();
	if (subject.walker >= 0 && backing_make(o.kind, o.size, o.off_host, &subject.backing))
		run(&subject);
	return lab_finish();
}
