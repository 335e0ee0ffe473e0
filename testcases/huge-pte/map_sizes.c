// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * map_sizes: which entries the page tables really hold for a mapped BO, in the cases that make huge ones hard.
 *
 * Nothing is inferred from speed: page_walk reads the page tables. What is right depends on whether this
 * kernel maps this driver's BOs by 2 MiB at all. A probe finds that out, on a BO for which nothing is in the
 * way, and each scenario (scenarios.h) is held to it.
 */
#include "faultlab.h"

#include "mapped_bo.h"
#include "options.h"
#include "scenarios.h"
#include "update.h"

#include <getopt.h>

static const char *const scenario_names[] = {
	"aligned", "misaligned", "partly", "evicted", "small-update", "fork", "munmap", "mprotect", NULL
};

static void (*const scenarios[])(struct subject *) = {
	map_aligned, map_misaligned, map_partly, map_evicted, map_small_update, map_fork, map_munmap, map_mprotect,
};

static const char *const expectations[] = { "probe", "small", "huge", NULL };
static const char *const defects[] = { "none", "astray", "untouched", "skip", NULL };

struct options {
	const char *driver;
	uint64_t size;
	int scenario, expected;
	enum defect defect;
	bool shmem_huge;
};

static const char help[] =
	"map_sizes --driver NAME --scenario NAME [option...]    the sizes of a mapped BO's entries\n"
	"  --driver NAME        of the DRM driver: qxl, lab_gpu, vgem\n"
	"  --scenario NAME      aligned, misaligned, partly, evicted, small-update, fork, munmap, mprotect\n"
	"  --size SIZE          of the BO, a multiple of 4 MiB (8M)\n"
	"  --expect WHAT        of a BO that nothing is in the way of: small or huge entries, or what a probe\n"
	"                       finds (probe)\n"
	"  --shmem-huge         let shmem use huge pages (what vgem's BOs are made of)\n"
	"  --defect DEFECT      break something to see its check fail: astray (mapped one page off), untouched,\n"
	"                       skip (what the scenario is about is left out)\n";

static struct options parse(int argc, char **argv)
{
	static const struct option table[] = {
		{ "driver", required_argument, NULL, 'd' }, { "scenario", required_argument, NULL, 's' },
		{ "size", required_argument, NULL, 'z' },   { "expect", required_argument, NULL, 'e' },
		{ "shmem-huge", no_argument, NULL, 'h' },   { "defect", required_argument, NULL, 'x' },
		{ "help", no_argument, NULL, '?' + 1 },     { 0 },
	};
	struct options o = { .size = 8 << 20, .scenario = -1 };
	int key;

	while ((key = getopt_long(argc, argv, "", table, NULL)) != -1) {
		switch (key) {
		case 'd': o.driver = optarg; break;
		case 's': o.scenario = lab_choice("--scenario", optarg, scenario_names); break;
		case 'z': o.size = lab_size("--size", optarg); break;
		case 'e': o.expected = lab_choice("--expect", optarg, expectations); break;
		case 'h': o.shmem_huge = true; break;
		case 'x': o.defect = lab_choice("--defect", optarg, defects); break;
		case '?': lab_usage("map_sizes --help lists the options");
		default: fputs(help, stdout); exit(LAB_PASS);
		}
	}
	if (optind < argc || !o.driver || o.scenario < 0)
		lab_usage("--driver NAME and --scenario NAME are needed; map_sizes --help lists the options");
	if (o.size % (2 * HUGE_SIZE))
		lab_usage("--size: a multiple of 4 MiB is needed");
	return o;
}

/* Whether one touch of a BO of 2 MiB, aligned and untouched, is mapped by one entry of 2 MiB. */
static bool probe(const struct mapped_bo *beside)
{
	struct mapped_bo fresh = { .walker = beside->walker };
	struct page_walk walk;
	char text[128];

	if (bo_make(BO_DUMB, beside->bo.fd, HUGE_SIZE, &fresh.bo) ||
	    (fresh.base = bo_map_at(&fresh.bo, HUGE_SIZE, 0)) == MAP_FAILED)
		return lab_check(false, "probe", "a BO of 2 MiB: %s", strerror(errno));
	*(volatile char *)fresh.base = 1;
	walk = mapped_bo_walk(&fresh);
	lab_check(walk.pmd + walk.pte > 0, "probe", "2 MiB, one touch: %s", walk_words(&walk, text, sizeof(text)));
	munmap(fresh.base, fresh.bo.size);
	bo_free(&fresh.bo);
	return walk.pmd == 1;
}

int main(int argc, char **argv)
{
	struct options o = parse(argc, argv);
	struct subject subject = { .defect = o.defect };
	bool off = scenarios[o.scenario] == map_misaligned || scenarios[o.scenario] == map_partly, huge;

	lab_start();
	if (o.shmem_huge)
		want_shmem_huge();
	if (!mapped_bo_make(o.driver, o.size, off ^ (o.defect == ASTRAY), &subject.mapped))
		return lab_finish();
	lab_check((uintptr_t)subject.mapped.base % HUGE_SIZE == off * LAB_PAGE, "placed",
		  "%d pages behind a multiple of 2 MiB wanted", off);
	huge = probe(&subject.mapped);
	subject.huge = o.expected ? o.expected == 2 : huge;
	lab_metric("", "maps_huge", huge, "count");
	if (o.expected)
		lab_check(huge == subject.huge, "expected", "%s entries, found %s", expectations[o.expected],
			  huge ? "huge" : "small");
	scenarios[o.scenario](&subject);
	return lab_finish();
}
