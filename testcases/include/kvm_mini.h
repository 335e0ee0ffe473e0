/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The smallest use of KVM that makes it mirror a range of our memory: a virtual machine of one CPU, whose
 * memory from KVM_MINI_DATA on is that range, and whose program touches a page, goes on by a stride, and
 * halts at the end. No kernel, no paging, no interrupts in it.
 *
 * What KVM counts is read through KVM_GET_STATS_FD (5.14 and later). Needs kvm-amd or kvm-intel loaded.
 */
#ifndef FAULTLAB_KVM_MINI_H
#define FAULTLAB_KVM_MINI_H

#include "faultlab.h"

#include <fcntl.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>

#define KVM_MINI_CODE 0x1000UL     /* guest-physical address of the program */
#define KVM_MINI_DATA 0x40000000UL /* ... and of the range, where nothing else is asked for: a multiple of 1 GiB */

struct kvm_mini {
	int kvm, vm, cpu, vm_stats, cpu_stats;
	struct kvm_run *run;
	uint8_t *code;
	uint64_t data;      /* guest-physical address of the range */
	uint32_t stamp;     /* what a write leaves 8 bytes behind the start of each page; 0 unless set */
	const char *failed; /* what did not work; errno tells why */
};

static inline int kvm_mini_memory(struct kvm_mini *m, int slot, uint64_t where, const void *memory, uint64_t size)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot, .guest_phys_addr = where, .memory_size = size, .userspace_addr = (uintptr_t)memory,
	};

	return ioctl(m->vm, KVM_SET_USER_MEMORY_REGION, &region);
}

/* Flat 32-bit protected mode: the program's addresses are guest-physical ones. */
static inline int kvm_mini_flat(struct kvm_mini *m)
{
	struct kvm_segment flat = {
		.limit = 0xffffffff, .selector = 8, .type = 3, .present = 1, .db = 1, .s = 1, .g = 1,
	};
	struct kvm_sregs sregs;

	if (ioctl(m->cpu, KVM_GET_SREGS, &sregs))
		return -1;
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = flat;
	flat.type = 11;
	sregs.cs = flat;
	sregs.cr0 |= 1;
	return ioctl(m->cpu, KVM_SET_SREGS, &sregs);
}

/* Make the machine with `memory` as its data from `where` on: false, and `failed`, if KVM does not. */
static inline bool kvm_mini_make_at(struct kvm_mini *m, uint64_t where, const void *memory, uint64_t size)
{
	int run_size;

	*m = (struct kvm_mini){ .vm = -1, .cpu = -1, .vm_stats = -1, .cpu_stats = -1, .data = where };
	m->failed = "/dev/kvm";
	m->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (m->kvm < 0)
		return false;
	m->failed = "KVM_CREATE_VM";
	m->vm = ioctl(m->kvm, KVM_CREATE_VM, 0);
	if (m->vm < 0)
		return false;
	m->failed = "memory of the virtual machine";
	m->code = mmap(NULL, LAB_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (m->code == MAP_FAILED || kvm_mini_memory(m, 0, KVM_MINI_CODE, m->code, LAB_PAGE) ||
	    kvm_mini_memory(m, 1, where, memory, size))
		return false;
	m->failed = "KVM_CREATE_VCPU";
	m->cpu = ioctl(m->vm, KVM_CREATE_VCPU, 0);
	run_size = ioctl(m->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	m->run = mmap(NULL, run_size, PROT_READ | PROT_WRITE, MAP_SHARED, m->cpu, 0);
	if (m->cpu < 0 || m->run == MAP_FAILED || kvm_mini_flat(m))
		return false;
	m->failed = "KVM_GET_STATS_FD, which came in 5.14";
	m->vm_stats = ioctl(m->vm, KVM_GET_STATS_FD, 0);
	m->cpu_stats = ioctl(m->cpu, KVM_GET_STATS_FD, 0);
	return m->vm_stats >= 0 && m->cpu_stats >= 0;
}

static inline bool kvm_mini_make(struct kvm_mini *m, const void *memory, uint64_t size)
{
	return kvm_mini_make_at(m, KVM_MINI_DATA, memory, size);
}

/* Give all of it back; the machine goes with its last descriptor. */
static inline void kvm_mini_end(struct kvm_mini *m)
{
	int all[] = { m->cpu_stats, m->vm_stats, m->cpu, m->vm, m->kvm };

	if (m->run && m->run != MAP_FAILED)
		munmap(m->run, ioctl(m->kvm, KVM_GET_VCPU_MMAP_SIZE, 0));
	if (m->code && m->code != MAP_FAILED)
		munmap(m->code, LAB_PAGE);
	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
		if (all[i] >= 0)
			close(all[i]);
}

/*
 * Let the virtual CPU touch `count` pages (0: none, it only halts) from the start of the data, `stride` pages
 * apart: 0, or -1 and errno (EFAULT: the memory does not allow it; ENOEXEC: it ended in another way).
 */
static inline int kvm_mini_touch(struct kvm_mini *m, uint64_t count, uint64_t stride, bool write)
{
	static const uint8_t writing[] = { 0x89, 0x47, 0x08 }; /* mov [edi + 8], eax */
	static const uint8_t reading[] = { 0x8b, 0x07, 0x90 }; /* mov eax, [edi]; nop */
	static const uint8_t rest[] = { 0x01, 0xd7, 0xe2, 0xf9, 0xf4 }; /* add edi, edx; loop; hlt */
	struct kvm_regs regs = {
		.rip = KVM_MINI_CODE + (count ? 0 : 7), .rflags = 2,
		.rax = m->stamp, .rdi = m->data, .rcx = count, .rdx = stride * LAB_PAGE,
	};

	memcpy(m->code, write ? writing : reading, 3);
	memcpy(m->code + 3, rest, sizeof(rest));
	if (ioctl(m->cpu, KVM_SET_REGS, &regs))
		return -1;
	do {
		if (ioctl(m->cpu, KVM_RUN, 0) && errno != EINTR && errno != EAGAIN)
			return -1;
	} while (m->run->exit_reason == KVM_EXIT_INTR);
	if (m->run->exit_reason == KVM_EXIT_HLT)
		return 0;
	errno = ENOEXEC;
	return -1;
}

/* A value of KVM_GET_STATS_FD by its name; UINT64_MAX if the kernel does not have it. */
static inline uint64_t kvm_mini_stat(int fd, const char *name)
{
	struct kvm_stats_header header;
	char buffer[sizeof(struct kvm_stats_desc) + 256];
	struct kvm_stats_desc *description = (void *)buffer;
	uint64_t value = UINT64_MAX;
	size_t size;

	if (pread(fd, &header, sizeof(header), 0) != sizeof(header) || header.name_size > 256)
		return UINT64_MAX;
	size = sizeof(*description) + header.name_size;
	for (uint32_t i = 0; i < header.num_desc; i++) {
		if (pread(fd, buffer, size, header.desc_offset + i * size) != (ssize_t)size)
			return UINT64_MAX;
		if (strncmp(description->name, name, header.name_size))
			continue;
		if (pread(fd, &value, sizeof(value), header.data_offset + description->offset) != sizeof(value))
			return UINT64_MAX;
		return value;
	}
	return UINT64_MAX;
}

#endif
