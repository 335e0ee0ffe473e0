// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * kvm_ioeventfd: a guest writes 16 bytes across a page, and an ioeventfd waits for 8 of them.
 *
 * The write begins 4 bytes before the end of a page without memory. KVM takes it apart: 4 bytes for the first
 * page, and of the 12 others it offers 8 to whoever listens at the start of the second. These 8 lie 4 bytes
 * behind where the write's data begins, and an ioeventfd with a value to compare has to read them there.
 */
#include "kvm_mini.h"

#include <sys/eventfd.h>

#define NOWHERE 0x20000000UL /* guest-physical, without memory; the page behind it has none either */
#define BEGIN (NOWHERE + LAB_PAGE - 4)
#define OSFXSR (1UL << 9)    /* of CR4: SSE may be used */

/* movdqu [edi], xmm0; hlt */
static const uint8_t program[] = { 0xf3, 0x0f, 0x7f, 0x07, 0xf4 };

static bool listen_at(const struct kvm_mini *m, int event)
{
	struct kvm_ioeventfd wanted = {
		.addr = NOWHERE + LAB_PAGE, .len = 8, .fd = event, .datamatch = 0,
		.flags = KVM_IOEVENTFD_FLAG_DATAMATCH,
	};

	return !ioctl(m->vm, KVM_IOEVENTFD, &wanted);
}

static bool allow_sse(const struct kvm_mini *m)
{
	struct kvm_sregs sregs;

	if (ioctl(m->cpu, KVM_GET_SREGS, &sregs))
		return false;
	sregs.cr4 |= OSFXSR;
	return !ioctl(m->cpu, KVM_SET_SREGS, &sregs);
}

/* Run to the HLT; what nobody listens for comes to us, and is dropped. Bytes of it; -1 if it ended elsewhere. */
static int run(struct kvm_mini *m)
{
	struct kvm_regs regs = { .rip = KVM_MINI_CODE, .rflags = 2, .rdi = BEGIN };
	int dropped = 0;

	memcpy(m->code, program, sizeof(program));
	if (ioctl(m->cpu, KVM_SET_REGS, &regs))
		return -1;
	for (;;) {
		if (ioctl(m->cpu, KVM_RUN, 0) && errno != EINTR && errno != EAGAIN)
			return -1;
		if (m->run->exit_reason == KVM_EXIT_HLT)
			return dropped;
		if (m->run->exit_reason == KVM_EXIT_MMIO)
			dropped += (int)m->run->mmio.len;
		else if (m->run->exit_reason != KVM_EXIT_INTR)
			return -1;
	}
}

int main(void)
{
	char *memory = mmap(NULL, LAB_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), dropped;
	struct kvm_mini m;
	uint64_t times = 0;

	lab_start();
	if (!kvm_mini_make(&m, memory, LAB_PAGE)) {
		lab_check(false, "machine", "%s: %s", m.failed, strerror(errno));
		return lab_finish();
	}
	if (!lab_check(allow_sse(&m) && listen_at(&m, event), "listening", "for 8 bytes at 0x%lx", NOWHERE + LAB_PAGE))
		return lab_finish();
	/* A control, so that a kernel that dies dies of the write. */
	if (!lab_check(!kvm_mini_touch(&m, 1, 1, true), "control", "the machine writes to its memory"))
		return lab_finish();
	dropped = run(&m);
	lab_check(dropped == 8, "written", "%d of 16 bytes came to us", dropped);
	if (read(event, &times, sizeof(times)) != sizeof(times))
		times = 0;
	lab_check(times == 1, "heard", "the ioeventfd heard %llu writes", (unsigned long long)times);
	kvm_mini_end(&m);
	return lab_finish();
}
