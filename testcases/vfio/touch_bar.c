// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * touch_bar: the BAR of a device that VFIO gave away, touched by a program, and by a guest as its memory.
 *
 * The kernel under test is the host of that guest. Each of the two gets a mapping of its own, without an
 * entry yet. Nothing is inferred from speed: page_walk reads the page tables, KVM counts its own.
 */
#include "faultlab.h"

#include "kvm_mini.h"
#include "options.h"
#include "page_walk.h"
#include "vfio_device.h"

#include <getopt.h>

#define BAR 2 /* where ivshmem-plain has its memory */
#define HUGE_PAGES 512

enum defect { NONE, ASTRAY, UNTOUCHED, ELSEWHERE };

static const char *const defects[] = { "none", "astray", "untouched", "elsewhere", NULL };

static const char help[] =
	"touch_bar [option...]    touch the BAR of a VFIO device\n"
	"  --behind PAGES     where it is mapped: so many pages behind a multiple of 2 MiB (0)\n"
	"  --defect DEFECT    break something to see its check fail: astray (mapped one page further),\n"
	"                     untouched (the last page is left out), elsewhere (memory that is no BAR)\n";

struct options {
	uint64_t behind;
	enum defect defect;
};

struct subject {
	struct options o;
	struct vfio_device device;
	struct vfio_bar bar;
	uint64_t pages;
	int walker;
};

static struct options parse(int argc, char **argv)
{
	static const struct option table[] = {
		{ "behind", required_argument, NULL, 'b' }, { "defect", required_argument, NULL, 'x' },
		{ "help", no_argument, NULL, '?' + 1 },     { 0 },
	};
	struct options o = { 0 };
	int key;

	while ((key = getopt_long(argc, argv, "", table, NULL)) != -1) {
		switch (key) {
		case 'b': o.behind = lab_number("--behind", optarg, 0, HUGE_PAGES - 1); break;
		case 'x': o.defect = lab_choice("--defect", optarg, defects); break;
		case '?': lab_usage("touch_bar --help lists the options");
		default: fputs(help, stdout); exit(LAB_PASS);
		}
	}
	if (optind < argc)
		lab_usage("touch_bar takes no arguments but options");
	return o;
}

/* A mapping of the BAR without an entry; ends the workload if there is none. */
static char *map_bar(const struct subject *s, const char *check)
{
	uint64_t behind = s->o.behind + (s->o.defect == ASTRAY);
	char *base = vfio_map(&s->device, &s->bar, behind);

	if (s->o.defect == ELSEWHERE && base != MAP_FAILED)
		base = mmap(base, s->bar.size, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	if (base == MAP_FAILED) {
		lab_check(false, check, "mmap: %s", strerror(errno));
		exit(lab_finish());
	}
	lab_check((uintptr_t)base % (HUGE_PAGES * LAB_PAGE) == s->o.behind * LAB_PAGE, check,
		  "%llu pages behind a multiple of 2 MiB wanted, mapped %llu behind",
		  (unsigned long long)s->o.behind,
		  (unsigned long long)((uintptr_t)base / LAB_PAGE % HUGE_PAGES));
	return base;
}

/* What was written through a mapping is in the device: its descriptor is asked, page by page. */
static void check_arrived(const struct subject *s, const char *check, size_t at, uint32_t stamp,
			  uint32_t step)
{
	uint64_t arrived = 0;
	uint32_t value;

	for (uint64_t page = 0; page < s->pages; page++) {
		uint64_t where = s->bar.offset + page * LAB_PAGE + at;

		if (pread(s->device.fd, &value, sizeof(value), where) == sizeof(value) &&
		    value == (uint32_t)(stamp + page * step))
			arrived++;
	}
	lab_check(arrived == s->pages, check, "%llu of %llu pages of the device hold what was written",
		  (unsigned long long)arrived, (unsigned long long)s->pages);
}

static void touch(const struct subject *s, char *base, uint64_t from, uint64_t *latency)
{
	uint64_t end = s->pages - (s->o.defect == UNTOUCHED), before = lab_now(), now;

	for (uint64_t page = from; page < end; page++) {
		*(volatile uint32_t *)(base + page * LAB_PAGE) = 1 + page;
		now = lab_now();
		latency[page] = now - before;
		before = now;
	}
}

/* A program touches each page: how many faults, what does the first map, and what does the longest cost? */
static void by_program(const struct subject *s, uint64_t *latency)
{
	char *base = map_bar(s, "placed");
	uint64_t faults, before, in_first;
	struct page_walk walk;

	lab_quiet();
	faults = lab_faults();
	before = lab_now();
	*(volatile uint32_t *)base = 1;
	latency[0] = lab_now() - before;
	in_first = s->pages - page_walk(s->walker, base, s->bar.size).none;
	touch(s, base, 1, latency);
	faults = lab_faults() - faults;
	walk = page_walk(s->walker, base, s->bar.size);
	lab_check(!walk.none && (!walk.pte || !walk.pmd), "mapping",
		  "%llu entries of 2 MiB, %llu of 4 KiB, %llu pages without an entry",
		  (unsigned long long)walk.pmd, (unsigned long long)walk.pte, (unsigned long long)walk.none);
	lab_check(faults * in_first == s->pages, "faults", "%llu faults, the first mapped %llu of %llu pages",
		  (unsigned long long)faults, (unsigned long long)in_first, (unsigned long long)s->pages);
	check_arrived(s, "arrived", 0, 1, 1);
	lab_metric("", "faults", faults, "count");
	lab_metric("", "first_pages", in_first, "count");
	lab_metric("", "huge", walk.pmd, "count");
	lab_metric("", "first", latency[0], lab_unit());
	lab_distribution("", latency, s->pages);
	munmap(base, s->bar.size);
}

struct counts {
	uint64_t exits, interrupts, faults_taken, huge, small, host_faults, time;
};

static struct counts count(const struct kvm_mini *m)
{
	return (struct counts){
		.exits = kvm_mini_stat(m->cpu_stats, "exits"),
		.interrupts = kvm_mini_stat(m->cpu_stats, "irq_exits"),
		.faults_taken = kvm_mini_stat(m->cpu_stats, "pf_taken"),
		.huge = kvm_mini_stat(m->vm_stats, "pages_2m"),
		.small = kvm_mini_stat(m->vm_stats, "pages_4k"),
		.host_faults = lab_faults(), .time = lab_now(),
	};
}

/* A new guest touches each page of the mapping, and is gone again; ends the workload if it cannot. */
static struct counts run_guest(const struct subject *s, const char *base, uint32_t stamp, const char *check)
{
	struct kvm_mini m;
	struct counts before, after;
	int error;

	if (!kvm_mini_make(&m, base, s->bar.size)) {
		lab_check(false, check, "%s: %s", m.failed, strerror(errno));
		exit(lab_finish());
	}
	m.stamp = stamp;
	kvm_mini_touch(&m, 0, 1, true); /* its program is mapped now: that is not the BAR's cost */
	lab_quiet();
	before = count(&m);
	error = kvm_mini_touch(&m, s->pages - (s->o.defect == UNTOUCHED), 1, true) ? errno : 0;
	after = count(&m);
	kvm_mini_end(&m);
	lab_check(!error, check, "the guest's touches: %s", error ? strerror(error) : "all done");
	return (struct counts){
		.exits = after.exits - before.exits - (after.interrupts - before.interrupts),
		.interrupts = after.interrupts - before.interrupts,
		.faults_taken = after.faults_taken - before.faults_taken,
		.huge = after.huge - before.huge, .small = after.small - before.small,
		.host_faults = after.host_faults - before.host_faults, .time = after.time - before.time,
	};
}

static void report_guest(const char *prefix, const struct counts *seen)
{
	lab_metric(prefix, "exits", seen->exits, "count");
	lab_metric(prefix, "npf", seen->faults_taken, "count");
	lab_metric(prefix, "faults", seen->host_faults, "count");
	lab_metric(prefix, "huge", seen->huge, "count");
	lab_metric(prefix, "total", seen->time, lab_unit());
}

/* A guest has the BAR as its memory: first a mapping without entries, then, with a new guest, a full one. */
static void by_guest(const struct subject *s)
{
	char *base = map_bar(s, "vm-placed");
	struct counts first = run_guest(s, base, 0x5eed0001, "vm-ran"), again;
	struct page_walk walk = page_walk(s->walker, base, s->bar.size);

	check_arrived(s, "vm-arrived", 8, 0x5eed0001, 0);
	lab_check(first.huge * HUGE_PAGES + first.small == s->pages, "vm-mapping",
		  "KVM has %llu entries of 2 MiB and %llu of 4 KiB", (unsigned long long)first.huge,
		  (unsigned long long)first.small);
	lab_check(first.huge == walk.pmd, "vm-follows",
		  "KVM has %llu entries of 2 MiB, the host's page tables %llu",
		  (unsigned long long)first.huge, (unsigned long long)walk.pmd);
	lab_check(first.exits == first.huge + first.small + 1, "vm-exits",
		  "%llu exits: one for each entry and one to end; %llu more by interrupts are left out",
		  (unsigned long long)first.exits, (unsigned long long)first.interrupts);
	again = run_guest(s, base, 0x5eed0002, "vm-ran-again");
	check_arrived(s, "vm-arrived-again", 8, 0x5eed0002, 0);
	lab_check(!again.host_faults && again.huge == first.huge, "vm-again",
		  "a new guest on the full mapping: %llu faults of the host, %llu entries of 2 MiB",
		  (unsigned long long)again.host_faults, (unsigned long long)again.huge);
	report_guest("vm_", &first);
	report_guest("vm_again_", &again);
	munmap(base, s->bar.size);
}

int main(int argc, char **argv)
{
	struct subject s = { .o = parse(argc, argv) };
	uint64_t *latency;

	if (!vfio_open(&s.device)) {
		lab_check(false, "device", "%s: %s", s.device.failed, strerror(errno));
		return lab_finish();
	}
	if (!vfio_bar(&s.device, BAR, &s.bar) || !s.bar.can_mmap || s.bar.size % (HUGE_PAGES * LAB_PAGE)) {
		lab_check(false, "device", "%s: BAR %d is none of whole 2 MiB that can be mapped",
			  s.device.address, BAR);
		return lab_finish();
	}
	lab_check(true, "device", "%s, BAR %d of %llu bytes", s.device.address, BAR,
		  (unsigned long long)s.bar.size);
	s.pages = s.bar.size / LAB_PAGE;
	s.walker = page_walk_open();
	if (s.walker < 0)
		return lab_finish();
	latency = lab_array(s.pages, sizeof(*latency));
	lab_start();
	by_program(&s, latency);
	by_guest(&s);
	return lab_finish();
}
