/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What kind of mapping the kernel says that one is: the flags of its VMA, from /proc/self/smaps. */
#ifndef FAULTLAB_VMA_H
#define FAULTLAB_VMA_H

#include "faultlab.h"

struct vma_flags {
	bool known, pfnmap, mixedmap, io;
};

static inline struct vma_flags vma_flags_at(const void *address)
{
	FILE *file = fopen("/proc/self/smaps", "re");
	struct vma_flags flags = { 0 };
	unsigned long start, end;
	bool inside = false;
	char line[512];

	while (file && !flags.known && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			inside = start <= (uintptr_t)address && (uintptr_t)address < end;
		if (!inside || strncmp(line, "VmFlags:", 8))
			continue;
		flags = (struct vma_flags){
			.known = true,
			.pfnmap = strstr(line, " pf"), .mixedmap = strstr(line, " mm"), .io = strstr(line, " io"),
		};
	}
	if (file)
		fclose(file);
	return flags;
}

/* "VM_PFNMAP VM_IO", "normal pages" */
static inline const char *vma_words(const struct vma_flags *flags, char *text, size_t room)
{
	snprintf(text, room, "%s%s%s", flags->pfnmap ? "VM_PFNMAP " : flags->mixedmap ? "VM_MIXEDMAP " : "",
		 flags->io ? "VM_IO " : "", flags->pfnmap || flags->mixedmap || flags->io ? "" : "normal pages ");
	text[strlen(text) - 1] = '\0';
	return text;
}

#endif
