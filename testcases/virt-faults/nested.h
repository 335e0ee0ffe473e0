/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One run of a virtual machine over its memory: what it cost, and what KVM counted. KVM's names for an exit that
 * a missing entry of the nested tables caused: EPT_VIOLATION (48) on Intel, NPF (0x400) on AMD.
 */
#ifndef VIRT_FAULTS_NESTED_H
#define VIRT_FAULTS_NESTED_H

#include "kvm_mini.h"
#include "mapped_bo.h"

#define TRACE_FOLDER "/sys/kernel/tracing/"
#define TRACE_EXITS TRACE_FOLDER "events/kvm/kvm_exit/"

/* isa: 1 is VMX, 2 is SVM. */
#define NESTED_FAULT "((isa == 1 && exit_reason == 48) || (isa == 2 && exit_reason == 0x400))"
#define OTHER_EXIT "((isa == 1 && exit_reason == 30) || (isa == 2 && exit_reason == 0x7b))" /* I/O */

/* Since the machine was made; pages_*: entries of the nested tables at present. */
struct kvm_counts {
	uint64_t exits, interrupts, halts; /* ... of the exits: for an interrupt of ours, and HLT */
	uint64_t taken, fixed, emulated;   /* faults; of them made an entry; did the access instead */
	uint64_t small, huge, giant;       /* pages_4k, pages_2m, pages_1g */
};

static inline struct kvm_counts kvm_counts_now(const struct kvm_mini *m)
{
	return (struct kvm_counts){
		.exits = kvm_mini_stat(m->cpu_stats, "exits"),
		.interrupts = kvm_mini_stat(m->cpu_stats, "irq_exits"),
		.halts = kvm_mini_stat(m->cpu_stats, "halt_exits"),
		.taken = kvm_mini_stat(m->cpu_stats, "pf_taken"),
		.fixed = kvm_mini_stat(m->cpu_stats, "pf_fixed"),
		.emulated = kvm_mini_stat(m->cpu_stats, "pf_emulate"),
		.small = kvm_mini_stat(m->vm_stats, "pages_4k"),
		.huge = kvm_mini_stat(m->vm_stats, "pages_2m"),
		.giant = kvm_mini_stat(m->vm_stats, "pages_1g"),
	};
}

static inline struct kvm_counts kvm_counts_since(const struct kvm_mini *m, const struct kvm_counts *before)
{
	struct kvm_counts now = kvm_counts_now(m);

	return (struct kvm_counts){
		.exits = now.exits - before->exits,
		.interrupts = now.interrupts - before->interrupts,
		.halts = now.halts - before->halts,
		.taken = now.taken - before->taken,
		.fixed = now.fixed - before->fixed,
		.emulated = now.emulated - before->emulated,
		.small = now.small - before->small,
		.huge = now.huge - before->huge,
		.giant = now.giant - before->giant,
	};
}

/* Without those that touching memory is not the cause of: interrupts of ours, a timer's mostly, and the HLT. */
static inline uint64_t exits_by_touch(const struct kvm_counts *counts)
{
	return counts->exits - counts->interrupts - counts->halts;
}

/* What a run of the machine took. */
struct pass {
	uint64_t cost;   /* by lab_now() */
	uint64_t faults; /* of this process: KVM's in its name */
	struct kvm_counts counts;
	int error;       /* why KVM_RUN refused; 0: it did not */
};

/*
 * A machine whose data is `size` bytes at `memory`, guest-physically `off` pages behind a multiple of 1 GiB. It
 * has run once, without touching its data: its program has a nested entry, and KVM's caches are full.
 */
static inline bool nested_make(struct kvm_mini *m, void *memory, uint64_t size, uint64_t off)
{
	if (kvm_mini_make_at(m, KVM_MINI_DATA + off * LAB_PAGE, memory, size)) {
		m->failed = "KVM_RUN, of nothing but HLT";
		if (!kvm_mini_touch(m, 0, 1, false))
			return true;
	}
	return lab_check(false, "machine", "%s: %s", m->failed, strerror(errno));
}

/* Have KVM note each page that is written, for which it maps by 4 KiB, as while a machine migrates. */
static inline bool nested_log_dirty(const struct kvm_mini *m, const void *memory, uint64_t size)
{
	struct kvm_userspace_memory_region region = {
		.slot = 1, .flags = KVM_MEM_LOG_DIRTY_PAGES, .guest_phys_addr = m->data, .memory_size = size,
		.userspace_addr = (uintptr_t)memory,
	};

	return !ioctl(m->vm, KVM_SET_USER_MEMORY_REGION, &region);
}

/* The measured span: one run over `pages` pages. */
static inline struct pass nested_touch(struct kvm_mini *m, uint64_t pages, bool write)
{
	struct kvm_counts before = kvm_counts_now(m);
	struct pass pass = { 0 };
	uint64_t start;

	lab_quiet();
	pass.faults = lab_faults();
	start = lab_now();
	if (kvm_mini_touch(m, pages, 1, write))
		pass.error = errno;
	pass.cost = lab_now() - start;
	pass.faults = lab_faults() - pass.faults;
	pass.counts = kvm_counts_since(m, &before);
	return pass;
}

/* ---- exits by their reason --------------------------------------------------------------------------- */

static inline bool trace_tell(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	bool good = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return good;
}

/* From here on exits of our machines that the filter lets through are counted. */
static inline bool trace_exits(const char *filter)
{
	return trace_tell(TRACE_FOLDER "buffer_size_kb", "16384") && trace_tell(TRACE_EXITS "filter", filter) &&
	       trace_tell(TRACE_FOLDER "trace", "\n") && trace_tell(TRACE_EXITS "enable", "1");
}

/* How many there were, on all CPUs; UINT64_MAX if some were lost. No longer counted. */
static inline uint64_t traced_exits(void)
{
	unsigned long long entries, lost, sum = 0;
	char path[96], line[128];

	trace_tell(TRACE_EXITS "enable", "0");
	for (int cpu = 0;; cpu++) {
		FILE *file;

		snprintf(path, sizeof(path), TRACE_FOLDER "per_cpu/cpu%d/stats", cpu);
		file = fopen(path, "re");
		if (!file)
			return sum;
		entries = lost = 0;
		while (fgets(line, sizeof(line), file))
			if (sscanf(line, "entries: %llu", &entries) != 1)
				sscanf(line, "overrun: %llu", &lost);
		fclose(file);
		if (lost)
			return UINT64_MAX;
		sum += entries;
	}
}

/* ---- sizes ------------------------------------------------------------------------------------------- */

/*
 * What the nested tables must hold for `pages` pages, all touched: as large entries as the page tables, for KVM
 * maps a page as they do, if the host's address and the guest's agree on the boundary; else single pages.
 */
static inline struct kvm_counts nested_wanted(const struct page_walk *walk, uint64_t pages, bool agree)
{
	struct kvm_counts wanted = { .giant = agree ? walk->pud : 0, .huge = agree ? walk->pmd : 0 };

	wanted.small = pages - HUGE_PAGES * (wanted.huge + HUGE_PAGES * wanted.giant);
	wanted.fixed = wanted.small + wanted.huge + wanted.giant;
	return wanted;
}

/* A check: KVM made exactly these entries. */
static inline bool check_nested(const char *name, const struct kvm_counts *counts,
				const struct kvm_counts *wanted)
{
	return lab_check(counts->small == wanted->small && counts->huge == wanted->huge &&
				 counts->giant == wanted->giant && counts->fixed == wanted->fixed,
			 name, "%llu, %llu, %llu of 4K, 2M, 1G, expected %llu, %llu, %llu; %llu emulated",
			 (unsigned long long)counts->small, (unsigned long long)counts->huge,
			 (unsigned long long)counts->giant, (unsigned long long)wanted->small,
			 (unsigned long long)wanted->huge, (unsigned long long)wanted->giant,
			 (unsigned long long)counts->emulated);
}

#endif
