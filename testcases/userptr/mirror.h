/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Mirroring the pages of an area through the MMU notifier: with the module hmm_mirror, or by a KVM guest. */
#ifndef USERPTR_MIRROR_H
#define USERPTR_MIRROR_H

#include "counters.h"
#include "hmm_mirror.h"
#include "kvm_mini.h"

enum mirror_kind { MIRROR_HMM, MIRROR_KVM };

static const char *const mirror_kinds[] = { "hmm", "kvm", NULL };

struct mirror {
	enum mirror_kind kind;
	struct area area;
	bool writes;
	int fd; /* of hmm_mirror */
	struct kvm_mini kvm;
	const char *failed; /* what did not work; errno tells why */
};

/* So far, but for `present`. */
struct mirror_counts {
	uint64_t callbacks;   /* calls of the notifier for the area */
	uint64_t clears;      /* ... of them for MMU_NOTIFY_CLEAR; hmm_mirror only */
	uint64_t invalidated; /* entries that they took away; KVM does not count them */
	uint64_t faulted;     /* entries made */
	uint64_t present;     /* entries now */
};

/* ---- KVM: the tracepoint counts the calls ---------------------------------------------------------- */

#define MIRROR_TRACE "/sys/kernel/tracing/"
#define MIRROR_EVENT MIRROR_TRACE "events/kvm/kvm_unmap_hva_range/"

static inline bool mirror_tell(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	bool good = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return good;
}

/* Entries in the trace buffer of the only CPU; UINT64_MAX if some were lost. */
static inline uint64_t mirror_traced(void)
{
	FILE *file = fopen(MIRROR_TRACE "per_cpu/cpu0/stats", "re");
	unsigned long long entries = UINT64_MAX, lost = 0;
	char line[128];

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "entries: %llu", &entries) != 1)
			sscanf(line, "overrun: %llu", &lost);
	if (file)
		fclose(file);
	return lost ? UINT64_MAX : entries;
}

static inline bool mirror_trace(const struct area *area)
{
	unsigned long start = (uintptr_t)area->base, end = start + area_bytes(area);
	char filter[96];

	/* A call for other memory of this process is none of the area's. */
	snprintf(filter, sizeof(filter), "start < %lu && end > %lu", end, start);
	return mirror_tell(MIRROR_TRACE "buffer_size_kb", "16384") && mirror_tell(MIRROR_TRACE "trace", "\n") &&
	       mirror_tell(MIRROR_EVENT "filter", filter) && mirror_tell(MIRROR_EVENT "enable", "1");
}

/* ---- both ------------------------------------------------------------------------------------------- */

static inline bool mirror_open_hmm(struct mirror *mirror, uint32_t flags)
{
	struct hmm_mirror_attach attach = {
		.start = (uintptr_t)mirror->area.base, .length = area_bytes(&mirror->area),
		.flags = flags | (mirror->writes ? HMM_MIRROR_WRITE : 0) |
			 (mirror->area.stride > 1 ? HMM_MIRROR_PRESENT : 0),
	};

	mirror->failed = "/dev/hmm_mirror";
	mirror->fd = open("/dev/hmm_mirror", O_RDWR | O_CLOEXEC);
	return mirror->fd >= 0 && !ioctl(mirror->fd, HMM_MIRROR_IOC_ATTACH, &attach);
}

static inline bool mirror_open_kvm(struct mirror *mirror)
{
	bool made = kvm_mini_make(&mirror->kvm, mirror->area.base, area_bytes(&mirror->area));

	mirror->failed = mirror->kvm.failed;
	if (!made)
		return false;
	mirror->failed = MIRROR_EVENT;
	return mirror_trace(&mirror->area);
}

/*
 * A mirror of the area, without entries. `flags`: of hmm_mirror (HMM_MIRROR_*).
 * False, and `failed`, if there is none.
 */
static inline bool mirror_open(enum mirror_kind kind, const struct area *area, bool writes, uint32_t flags,
			       struct mirror *mirror)
{
	*mirror = (struct mirror){ .kind = kind, .area = *area, .writes = writes, .fd = -1 };
	return kind == MIRROR_HMM ? mirror_open_hmm(mirror, flags) : mirror_open_kvm(mirror);
}

static inline void mirror_close(struct mirror *mirror)
{
	if (mirror->kind == MIRROR_HMM) {
		close(mirror->fd);
		return;
	}
	mirror_tell(MIRROR_EVENT "enable", "0");
	mirror_tell(MIRROR_EVENT "filter", "0");
	kvm_mini_end(&mirror->kvm);
}

/* Make the entries that are missing, as the GPU's next job would need: false and errno if that is refused. */
static inline bool mirror_fault(struct mirror *mirror)
{
	if (mirror->kind == MIRROR_HMM)
		return ioctl(mirror->fd, HMM_MIRROR_IOC_FAULT) >= 0;
	return !kvm_mini_touch(&mirror->kvm, mirror->area.pages, mirror->area.stride, mirror->writes);
}

static inline struct mirror_counts mirror_now(struct mirror *mirror)
{
	struct hmm_mirror_counters hmm = { 0 };

	if (mirror->kind == MIRROR_HMM) {
		if (ioctl(mirror->fd, HMM_MIRROR_IOC_COUNTERS, &hmm))
			lab_check(false, "counters", "hmm_mirror: %s", strerror(errno));
		return (struct mirror_counts){ hmm.callbacks, hmm.events[HMM_MIRROR_CLEAR], hmm.invalidated,
					       hmm.faulted, hmm.present };
	}
	/* The page of the guest's program is none of the area's, and moves as any other: bring it in first. */
	if (kvm_mini_touch(&mirror->kvm, 0, 1, false))
		lab_check(false, "counters", "KVM_RUN: %s", strerror(errno));
	return (struct mirror_counts){
		.callbacks = mirror_traced(),
		.faulted = kvm_mini_stat(mirror->kvm.cpu_stats, "pf_fixed"),
		.present = kvm_mini_stat(mirror->kvm.vm_stats, "pages_4k") - 1,
	};
}

/* What happened since `before`; `present` is what it is now. Nothing may have faulted in meanwhile. */
static inline struct mirror_counts mirror_since(struct mirror *mirror, const struct mirror_counts *before)
{
	struct mirror_counts now = mirror_now(mirror);

	now.callbacks -= before->callbacks;
	now.clears -= before->clears;
	now.faulted -= before->faulted;
	if (mirror->kind == MIRROR_KVM)
		now.invalidated = before->present - now.present;
	else
		now.invalidated -= before->invalidated;
	return now;
}

/* Entries that are not what the page tables say; KVM has none that we could look at. */
static inline uint64_t mirror_stale(struct mirror *mirror)
{
	struct hmm_mirror_compare found = { 0 };

	if (mirror->kind == MIRROR_HMM && ioctl(mirror->fd, HMM_MIRROR_IOC_COMPARE, &found))
		lab_check(false, "compare", "hmm_mirror: %s", strerror(errno));
	return found.stale;
}

#endif
