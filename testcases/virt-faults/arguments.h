/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What virt_touch is asked to do. */
#ifndef VIRT_FAULTS_ARGUMENTS_H
#define VIRT_FAULTS_ARGUMENTS_H

#include "backing.h"
#include "options.h"

#include <getopt.h>

enum defect { NONE, SKIP, EARLY, LOG_DIRTY, UNTRACED };
enum size { ANY, SMALL, HUGE, GIANT };

static const char *const defects[] = { "none", "skip", "early", "log-dirty", "untraced", NULL };
static const char *const sizes[] = { "any", "4k", "2m", "1g", NULL };

struct options {
	enum kind kind;
	uint64_t size;                /* bytes */
	uint64_t off_host, off_guest; /* pages behind a boundary */
	enum size expected;
	enum defect defect;
	bool shmem_huge;
};

static const char help[] =
	"virt_touch --backing KIND [option...]    a virtual machine touches its memory\n"
	"  --backing KIND       anonymous, thp, hugetlb, hugetlb-1g, memfd, vgem, vfio-bar, qxl-vram,\n"
	"                       qxl-system, gpu-vram, gpu-system (blocks as large as there are), gpu-pages\n"
	"                       (single pages)\n"
	"  --size SIZE          of the memory, a multiple of 2 MiB (4M)\n"
	"  --off-host PAGES     map it so many pages behind a multiple of 2 MiB (0)\n"
	"  --off-guest PAGES    put it so many pages behind a multiple of 1 GiB in the virtual machine (0)\n"
	"  --expect SIZE        of the nested entries: 4k, 2m, 1g, or what the page tables have (any)\n"
	"  --shmem-huge         let shmem use huge pages (what vgem's BOs are made of)\n"
	"  --defect DEFECT      break something to see its check fail: skip (half of the pages are not\n"
	"                       touched), early (mapped before the machine touches it), log-dirty (KVM may\n"
	"                       not map by 2 MiB), untraced (another exit reason is counted)\n";

static inline struct options parse(int argc, char **argv)
{
	static const struct option table[] = {
		{ "backing", required_argument, NULL, 'b' },   { "size", required_argument, NULL, 's' },
		{ "off-host", required_argument, NULL, 'h' },  { "off-guest", required_argument, NULL, 'g' },
		{ "expect", required_argument, NULL, 'e' },    { "shmem-huge", no_argument, NULL, 'm' },
		{ "defect", required_argument, NULL, 'x' },    { "help", no_argument, NULL, '?' + 1 },
		{ 0 },
	};
	struct options o = { .size = 4 << 20 };
	bool chosen = false;
	int key;

	while ((key = getopt_long(argc, argv, "", table, NULL)) != -1) {
		switch (key) {
		case 'b': o.kind = lab_choice("--backing", optarg, kinds); chosen = true; break;
		case 's': o.size = lab_size("--size", optarg); break;
		case 'h': o.off_host = lab_number("--off-host", optarg, 0, HUGE_PAGES - 1); break;
		case 'g': o.off_guest = lab_number("--off-guest", optarg, 0, HUGE_PAGES - 1); break;
		case 'e': o.expected = lab_choice("--expect", optarg, sizes); break;
		case 'm': o.shmem_huge = true; break;
		case 'x': o.defect = lab_choice("--defect", optarg, defects); break;
		case '?': lab_usage("virt_touch --help lists the options");
		default: fputs(help, stdout); exit(LAB_PASS);
		}
	}
	if (optind < argc || !chosen)
		lab_usage("--backing KIND is needed; virt_touch --help lists the options");
	if (o.size % HUGE_SIZE || o.size > GIANT_SIZE)
		lab_usage("--size: a multiple of 2 MiB, at most 1 GiB, is needed");
	return o;
}

#endif
